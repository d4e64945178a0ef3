"""Gemini's wire at the stand-in: what is read from a request, and what it bills.

Strict where Google is known to be: a field in both spellings, a thinking budget out of the
model's range or beside a level, more than eight candidates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from agentwatch.standin import gemini_prices as prices
from agentwatch.standin import tokens
from agentwatch.standin.bill import Entry
from agentwatch.standin.gemini_voice import CompatVoice, EmbeddingVoice, GeminiVoice
from agentwatch.standin.provider import BadRequestError, Call, Plan, Voice
from agentwatch.standin.script import Script, directive

_PATH = re.compile(r"/models/([^:/]+):(\w+)")
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_EMBEDS = ("embedContent", "batchEmbedContents")
_GENERATES = ("generateContent", "streamGenerateContent")
_MOST_CANDIDATES = 8
#: tokens of an image before 3, and from 3 on; of a second of sound and of film; of a page
IMAGE_TOKENS, FINE_IMAGE_TOKENS = 258, 1_120
AUDIO_TOKENS, VIDEO_TOKENS, PAGE_TOKENS = 32, 258, 258
#: of what is kept or fetched elsewhere
KEPT_TOKENS = 1_500
#: a sound or film that nobody says more of, and a document
_SECONDS, _PAGES = 10, 3


class Gemini:
    """The provider."""

    name = "gemini"
    prefixes: tuple[str, ...] = ("/gemini/v1beta", "/gemini/v1alpha", "/gemini/v1")

    def credential(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        """The key, from the header, the query or, as a token of another kind is, as bearer."""
        _, _, bearer = headers.get("Authorization", "").partition(" ")
        return headers.get("x-goog-api-key") or query.get("key") or bearer or None

    def plain(self, method: str, path: str) -> bytes | None:
        """The list of models, one of them, or a count of tokens."""
        if method == "POST" and path.endswith(":countTokens"):
            return msgspec.json.encode({"totalTokens": 7})
        if method != "GET":
            return None
        if path == "/models":
            return msgspec.json.encode({"models": [_model_row(name) for name in prices.MODELS]})
        name = path.removeprefix("/models/")
        return msgspec.json.encode(_model_row(name)) if name in prices.MODELS else None

    def read(self, method: str, path: str, body: bytes) -> Call:
        """The call that a request is.

        Raises BadRequestError where Google would refuse it, ScriptError for a bad directive.
        """
        if method == "POST" and path == "/openai/chat/completions":
            return self._read_chat(self._fields(body))
        found = _PATH.fullmatch(path) if method == "POST" else None
        if found is None or found[2] not in (*_EMBEDS, *_GENERATES):
            raise BadRequestError(404, self.error(404, f"Not found ({method} {path})"))
        model, verb = found.groups()
        if model not in prices.MODELS:
            raise BadRequestError(404, self.error(404, f"models/{model} is not found"))
        fields = self._plainly(self._fields(body))
        call = Call(api=verb, model=model, body=fields, tier=fields.get("serviceTier"))
        if verb in _GENERATES:
            call.stream = verb == "streamGenerateContent"
            self._read_config(call)
        for content in _contents(fields):
            _follow(call, content)
        return call

    def weigh(self, call: Call, density: int) -> int:
        """Tokens of the prompt, media included."""
        if call.api == "chat":
            contents = [message.get("content") for message in call.body["messages"]]
            return sum(tokens.weigh_content(each, density) for each in contents)
        return _text_tokens(call.body, density) + sum(_media_tokens(call).values())

    def knows(self, model: str) -> bool:
        """Whether it is sold, under this name."""
        return model in prices.MODELS

    def most_output(self, model: str) -> int:
        """The model's own limit."""
        return prices.MODELS[model].max_output

    def tier(self, model: str, asked: str | None) -> str:
        """The tier asked for where the model is sold at it, else standard."""
        named = str(asked or "standard").lower().removeprefix("service_tier_")
        return named if named in prices.MODELS[model].tiers else "standard"

    def note(self, entry: Entry, call: Call, script: Script) -> None:
        """Tokens by kind, tools' results and searches; and what the answer's head says."""
        entry.extra = {**_media_tokens(call), "tool_use": script.tool_use}
        if _offers_search(call.body):
            entry.searches = script.web_search
        kept = entry.cached - (entry.prompt_tokens - entry.extra["audio"])
        entry.extra["cached_audio"] = max(0, kept)
        entry.extra["images"] = int(_asks_images(call))
        streamed = call.stream and call.api != "chat"
        call.as_array = streamed and call.query.get("alt") != "sse"
        call.headers = {"x-gemini-service-tier": entry.tier}
        if call.as_array:
            call.headers["Content-Type"] = "application/json"

    def cost(self, entry: Entry) -> int:
        """By Google's price page."""
        assert entry.model is not None
        extra = entry.extra
        shown = entry.completion_tokens - entry.reasoning
        return prices.cost(
            entry.model,
            entry.tier,
            entry.prompt_tokens,
            entry.completion_tokens,
            cached=entry.cached,
            audio=extra.get("audio", 0),
            cached_audio=extra.get("cached_audio", 0),
            tool_use=extra.get("tool_use", 0),
            images=shown if extra.get("images") else 0,
            searches=entry.searches,
        )

    def voice(self, call: Call, plan: Plan, entry: Entry) -> Voice:
        """The voice of the method that was called."""
        if call.api == "chat":
            return CompatVoice(call, plan, entry)
        if call.api in _EMBEDS:
            return EmbeddingVoice(call, plan, entry)
        return GeminiVoice(call, plan, entry)

    def error(self, status: int, message: str | None = None) -> bytes:
        """An error body with what Google says at this status."""
        kind = _STATUS.get(status, "UNKNOWN")
        error = {"code": status, "message": message or f"Refused: {kind}.", "status": kind}
        return msgspec.json.encode({"error": error})

    def _read_chat(self, fields: dict[str, Any]) -> Call:
        model = str(fields.get("model")).removeprefix("models/")
        if model not in prices.MODELS:
            raise BadRequestError(404, self.error(404, f"models/{model} is not found"))
        call = Call(api="chat", model=model, body=fields, stream=fields.get("stream") is True)
        call.limit = self._whole(fields, "max_completion_tokens")
        call.limit = call.limit or self._whole(fields, "max_tokens")
        call.choices = call.made_choices = self._whole(fields, "n") or 1
        call.include_usage = (fields.get("stream_options") or {}).get("include_usage") is True
        google = (fields.get("extra_body") or {}).get("google") or {}
        config = self._plainly(google.get("thinking_config") or {})
        call.most_thinking = self._most_thinking(model, config)
        said = " ".join(str(message.get("content")) for message in fields["messages"])
        call.directive = directive(said)
        return call

    def _bad(self, message: str) -> BadRequestError:
        return BadRequestError(400, self.error(400, message))

    def _fields(self, body: bytes) -> dict[str, Any]:
        try:
            fields = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            fields = None
        if not isinstance(fields, dict):
            raise self._bad("Invalid JSON payload received.")
        return fields

    def _plainly(self, value: Any) -> Any:
        """The same with all names in camelCase, as both spellings are taken. What a function is
        called with is its own affair, and its names are never read here."""
        if isinstance(value, list):
            return [self._plainly(each) for each in value]
        if not isinstance(value, dict):
            return value
        plain = {_camel(key): self._plainly(each) for key, each in value.items()}
        if len(plain) != len(value) and "parts" in plain | {"parts": 0}:
            raise self._bad("Invalid JSON payload received. A field is set twice.")
        return plain

    def _read_config(self, call: Call) -> None:
        config = call.body.get("generationConfig") or {}
        call.limit = self._whole(config, "maxOutputTokens")
        call.choices = call.made_choices = self._whole(config, "candidateCount") or 1
        if call.choices > _MOST_CANDIDATES:
            raise self._bad("candidateCount must be at most 8")
        call.schema = config.get("responseJsonSchema") or config.get("responseSchema")
        for tool in call.body.get("tools") or []:
            for function in tool.get("functionDeclarations") or []:
                schema = function.get("parametersJsonSchema") or function.get("parameters")
                call.tools[str(function.get("name"))] = schema
        call.most_thinking = self._most_thinking(call.model, config.get("thinkingConfig") or {})

    def _most_thinking(self, model: str, config: dict[str, Any]) -> int | None:
        known, budget = prices.MODELS[model], config.get("thinkingBudget")
        if not known.thinks:
            return 0
        if budget is None or budget == -1:
            return None
        if known.budgets is None or config.get("thinkingLevel") is not None:
            raise self._bad("thinking_budget is not supported here; use thinking_level.")
        least, most, off = known.budgets
        if not (least <= budget <= most or (budget == 0 and off)):
            raise self._bad(f"The thinking budget {budget} is invalid: from {least} to {most}.")
        return int(budget)

    def _whole(self, config: dict[str, Any], name: str) -> int | None:
        value = config.get(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self._bad(f"{name} must be positive.")
        return value


def _model_row(name: str) -> dict[str, Any]:
    most = prices.MODELS[name].max_output
    return {"name": f"models/{name}", "displayName": name, "outputTokenLimit": most}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _contents(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """All contents that are part of the prompt, the ones that are to be embedded too."""
    found = _list(fields.get("systemInstruction")) + _list(fields.get("contents"))
    found += _list(fields.get("content"))
    found += [each.get("content") for each in _list(fields.get("requests"))]
    return [each for each in found if isinstance(each, dict)]


def _parts(fields: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for content in _contents(fields) for part in _list(content.get("parts"))]


def _follow(call: Call, content: dict[str, Any]) -> None:
    parts = _list(content.get("parts"))
    call.tool_results += sum("functionResponse" in part for part in parts)
    if content.get("role") in ("model", "function"):
        return
    found = directive(" ".join(str(part.get("text", "")) for part in parts))
    if found is not None:
        call.directive, call.tool_results = found, 0


def _text_tokens(fields: dict[str, Any], density: int) -> int:
    total = tokens.weigh_json(fields["tools"], density) if fields.get("tools") else 0
    for content in _contents(fields):
        total += tokens.MESSAGE_TOKENS
        for part in _list(content.get("parts")):
            plain = {name: each for name, each in part.items() if name not in _MEDIA}
            text = plain.get("text")
            if isinstance(text, str) and len(plain) == 1:
                total += tokens.weigh(text, density)
            elif plain:
                total += tokens.weigh_json(plain, density)
    return total


_MEDIA = ("inlineData", "fileData")


def _media_tokens(call: Call) -> dict[str, int]:
    """Tokens of what is no text, by kind."""
    fine = not call.model.startswith(("gemini-1", "gemini-2"))
    found = {"image": 0, "audio": 0, "video": 0, "document": 0}
    for part in _parts(call.body):
        blob = part.get("inlineData") or part.get("fileData") or {}
        kind, _, form = str(blob.get("mimeType", "")).partition("/")
        if kind == "image":
            found["image"] += FINE_IMAGE_TOKENS if fine else IMAGE_TOKENS
        elif kind == "audio":
            found["audio"] += _SECONDS * AUDIO_TOKENS
        elif kind == "video":
            found["video"] += _SECONDS * VIDEO_TOKENS
            found["audio"] += _SECONDS * AUDIO_TOKENS
        elif form == "pdf":
            found["document"] += _PAGES * PAGE_TOKENS
    if call.body.get("cachedContent"):
        found["document"] += KEPT_TOKENS
    return found


def _offers_search(fields: dict[str, Any]) -> bool:
    return any("googleSearch" in tool for tool in _list(fields.get("tools")))


def _asks_images(call: Call) -> bool:
    config = call.body.get("generationConfig") or {}
    return "IMAGE" in (config.get("responseModalities") or [])
