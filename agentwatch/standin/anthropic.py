"""Anthropic's wire at the stand-in: what is read from a request, and which voice answers it.

Strict where Anthropic is known to be, as a proxy that writes requests must not be let off
lightly: `max_tokens` is required and within the model's own limit, and a budget for thinking is
at least 1,024 and below it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from agentwatch.standin import anthropic_prices as prices
from agentwatch.standin import tokens
from agentwatch.standin.anthropic_messages import MessageVoice, lines_of
from agentwatch.standin.bill import Entry
from agentwatch.standin.openai_chat import ChatVoice
from agentwatch.standin.provider import BadRequestError, Call, Plan, Voice
from agentwatch.standin.script import Script, directive

_KINDS = {
    400: ("Invalid request.", "invalid_request_error"),
    401: ("invalid x-api-key", "authentication_error"),
    402: ("Your credit balance is too low.", "billing_error"),
    403: ("You are not allowed to do that.", "permission_error"),
    404: ("Not Found", "not_found_error"),
    413: ("Request exceeds the maximum size", "request_too_large"),
    429: ("This request would exceed your rate limit.", "rate_limit_error"),
    529: ("Overloaded", "overloaded_error"),
}
_MESSAGES, _CHAT, _COUNT = "/v1/messages", "/v1/chat/completions", "/v1/messages/count_tokens"
#: what one image, and one page of a document, is billed as
_IMAGE_TOKENS, _DOCUMENT_TOKENS = 1_600, 3_000
_TOOLS_TOKENS = 346


class Anthropic:
    """The provider."""

    name = "anthropic"
    prefixes: tuple[str, ...] = ("/anthropic",)

    def credential(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        """The key, from one slot alone: two that differ are none."""
        scheme, _, bearer = headers.get("Authorization", "").partition(" ")
        shown = {headers.get("x-api-key", ""), bearer.strip() if scheme == "Bearer" else ""}
        shown.discard("")
        return shown.pop() if len(shown) == 1 else None

    def plain(self, method: str, path: str) -> bytes | None:
        """The models, and a count of tokens."""
        if method == "POST" and path == _COUNT:
            return b'{"input_tokens":14}'
        if method != "GET":
            return None
        if path == "/v1/models":
            rows = [_model_row(name) for name in prices.MODELS]
            ends = {"has_more": False, "first_id": rows[0]["id"], "last_id": rows[-1]["id"]}
            return msgspec.json.encode({"data": rows, **ends})
        name = path.removeprefix("/v1/models/")
        return msgspec.json.encode(_model_row(name)) if name in prices.MODELS else None

    def read(self, method: str, path: str, body: bytes) -> Call:
        """The call that a request is.

        Raises BadRequestError where Anthropic would refuse it, ScriptError for a bad directive.
        """
        if method != "POST" or path not in (_MESSAGES, _CHAT):
            raise BadRequestError(404, self.error(404))
        fields = _fields(body)
        model = fields.get("model")
        if model not in prices.MODELS:
            raise BadRequestError(404, _error(f"model: {model}", "not_found_error"))
        call = Call(
            api="chat" if path == _CHAT else "messages",
            model=model,
            body=fields,
            stream=fields.get("stream") is True,
            tier="fast" if fields.get("speed") == "fast" else None,
        )
        (_read_chat if path == _CHAT else _read_messages)(call)
        return call

    def weigh(self, call: Call, density: int) -> int:
        """Tokens of the prompt, whether fresh or cached."""
        fields = call.body
        total = tokens.PRIMING_TOKENS + _weigh(fields.get("system"), density)
        for message in fields["messages"]:
            total += tokens.MESSAGE_TOKENS + _weigh(message.get("content"), density)
        if fields.get("tools"):
            total += _TOOLS_TOKENS + tokens.weigh_json(fields["tools"], density)
        return total

    def knows(self, model: str) -> bool:
        """Whether it is sold, under this name."""
        return model in prices.MODELS

    def most_output(self, model: str) -> int:
        """The model's own limit."""
        return prices.MODELS[model].max_output

    def tier(self, model: str, asked: str | None) -> str:
        """Fast where that was asked for and is sold; else what the script says, or standard."""
        if asked == "fast":
            return "fast" if prices.MODELS[model].fast else "standard"
        return asked if asked == "priority" else "standard"

    def note(self, entry: Entry, call: Call, script: Script) -> None:
        """Long cache writes, searches, the place, and what other models do for the call."""
        left = entry.prompt_tokens - entry.cached - entry.written
        place = script.geo or call.body.get("inference_geo") or "global"
        placed = prices.MODELS[entry.model or call.model].placed
        entry.extra = {
            "long": min(script.write_long, left),
            "us": int(placed and place == "us"),
            "placed": int(placed),
        }
        entry.searches = script.web_search
        for at, line in enumerate(lines_of(script, entry.model or "")):
            entry.extra[f"{at} {line.model} in"] = line.given
            entry.extra[f"{at} {line.model} out"] = line.made

    def cost(self, entry: Entry) -> int:
        """By Anthropic's price page: each model's part of the call is a line of the bill."""
        assert entry.model is not None
        us, long = bool(entry.extra.get("us")), entry.extra.get("long", 0)
        nanos = prices.cost(
            entry.model,
            fresh=entry.prompt_tokens - entry.cached - entry.written - long,
            written=entry.written,
            written_long=long,
            read=entry.cached,
            output=entry.completion_tokens,
            fast=entry.tier == "fast",
            us=us,
        )
        for key, given in entry.extra.items():
            if key.endswith(" in"):
                made = entry.extra[key.removesuffix("in") + "out"]
                model = key.split()[1]
                nanos += prices.cost(
                    model, fresh=given, output=made, fast=entry.tier == "fast", us=us
                )
        return nanos + entry.searches * prices.WEB_SEARCH_NANOS

    def voice(self, call: Call, plan: Plan, entry: Entry) -> Voice:
        """The voice of the API that was called."""
        return (
            ChatVoice(call, plan, entry) if call.api == "chat" else MessageVoice(call, plan, entry)
        )

    def error(self, status: int, message: str | None = None) -> bytes:
        """An error body with what Anthropic says at this status."""
        usual, kind = _KINDS.get(status, ("Internal server error", "api_error"))
        return _error(message or usual, kind)


def _error(message: str, kind: str = "invalid_request_error") -> bytes:
    error = {"type": kind, "message": message}
    return msgspec.json.encode({"type": "error", "error": error, "request_id": "req_standin"})


def _bad(message: str) -> BadRequestError:
    return BadRequestError(400, _error(message))


def _model_row(name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}


def _fields(body: bytes) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        fields = None
    if not isinstance(fields, dict):
        raise _bad("The request body is not valid JSON")
    return fields


def _read_messages(call: Call) -> None:
    fields = call.body
    call.limit = _limit(fields, "max_tokens", call.model)
    _check_thinking(fields, call.limit)
    for tool in fields.get("tools") or []:
        if tool.get("type") in (None, "custom"):
            call.tools[str(tool.get("name"))] = tool.get("input_schema")
    call.schema = ((fields.get("output_config") or {}).get("format") or {}).get("schema")
    follow(call)


def _read_chat(call: Call) -> None:
    name = (
        "max_tokens" if call.body.get("max_completion_tokens") is None else "max_completion_tokens"
    )
    if call.body.get(name) is not None:
        call.limit = _limit(call.body, name, call.model)
    options = call.body.get("stream_options") or {}
    call.include_usage = options.get("include_usage") is True
    for tool in call.body.get("tools") or []:
        function = tool.get("function") or {}
        call.tools[str(function.get("name"))] = function.get("parameters")
    follow(call)


def _limit(fields: dict[str, Any], name: str, model: str) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _bad(f"{name}: Field required")
    most = prices.MODELS[model].max_output
    if value > most:
        raise _bad(f"{name}: {value} > {most}, which is the maximum for {model}")
    return value


def _check_thinking(fields: dict[str, Any], limit: int) -> None:
    thinking = fields.get("thinking") or {}
    if thinking.get("type") != "enabled":
        return
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int) or budget < 1024:
        raise _bad("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    if budget >= limit:
        raise _bad("`max_tokens` must be greater than `thinking.budget_tokens`")


def follow(call: Call) -> None:
    """Read the directives and tool results of a conversation into its call."""
    messages = call.body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _bad("messages: at least one message is required")
    for message in messages:
        content = message.get("content")
        blocks = content if isinstance(content, list) else []
        answers = [b for b in blocks if isinstance(b, dict) and b.get("type") == "tool_result"]
        call.tool_results += len(answers) + (message.get("role") == "tool")
        found = directive(_text_of(content)) if message.get("role") == "user" else None
        if found is not None:
            call.directive, call.tool_results = found, 0


def _text_of(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _weigh(content: Any, density: int) -> int:
    """Tokens of a message's content or of the system prompt."""
    if content is None:
        return 0
    if isinstance(content, str):
        return tokens.weigh(content, density)
    return sum(_weigh_block(block, density) for block in content)


def _weigh_block(block: Any, density: int) -> int:
    kind = block.get("type")
    if kind == "image":
        return _IMAGE_TOKENS
    if kind == "document":
        return _DOCUMENT_TOKENS
    if kind == "tool_result":
        return _weigh(block.get("content"), density)
    text = block.get("text", block.get("thinking"))
    return (
        tokens.weigh(text, density) if isinstance(text, str) else tokens.weigh_json(block, density)
    )
