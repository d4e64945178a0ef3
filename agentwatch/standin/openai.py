"""OpenAI's wire at the stand-in: what is read from a request, and which voice answers it.

Strict where OpenAI is known to be, as a proxy that writes requests must not be let off lightly:
`stream_options` only beside `stream`, no `include_usage` in responses, no `max_tokens` for
reasoning models or beside `max_completion_tokens`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from agentwatch.standin import openai_hosted, openai_media, prices, tokens
from agentwatch.standin.bill import Entry
from agentwatch.standin.openai_chat import ChatVoice, EmbeddingsVoice, TextVoice
from agentwatch.standin.openai_media_voice import ImagesVoice, SpeechVoice, TranscriptionVoice
from agentwatch.standin.openai_responses import ResponsesVoice
from agentwatch.standin.provider import BadRequestError, Call, Plan, Voice
from agentwatch.standin.script import Script, directive

_KINDS = {
    401: ("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    402: ("Billing hard limit has been reached.", "billing_error", "billing_hard_limit_reached"),
    403: ("You are not allowed to do that.", "invalid_request_error", "permission_denied"),
    404: ("Invalid URL", "invalid_request_error", None),
    429: ("Rate limit reached.", "requests", "rate_limit_exceeded"),
    500: ("The server had an error.", "server_error", None),
    503: ("The engine is currently overloaded.", "server_error", "service_unavailable"),
    529: ("Overloaded.", "server_error", "overloaded"),
}
_APIS = {
    "/chat/completions": "chat",
    "/responses": "responses",
    "/completions": "completions",
    "/embeddings": "embeddings",
}
#: OpenAI's own limit for /completions where none is given
_COMPLETIONS_LIMIT = 16
_MODERATED = {
    "id": "modr-1",
    "model": "omni-moderation-latest",
    "results": [{"flagged": False, "categories": {}, "category_scores": {}}],
}
#: earlier responses that are remembered, so that they can be gone on from
_REMEMBERED = 10_000


class Context(Struct):
    """What `previous_response_id` brings along unseen."""

    tokens: int
    directive: dict[str, Any] | None
    tool_results: int


class OpenAI:
    """The provider. Remembers responses, as `previous_response_id` bills them as input."""

    name = "openai"
    prefixes: tuple[str, ...] = ("/v1", "/openai/v1")
    #: what is sold, and where
    models: Mapping[str, Any] = prices.MODELS
    apis: Mapping[str, str] = _APIS
    media: Collection[str] = openai_media.PATHS

    def __init__(self) -> None:
        self._contexts: dict[str, Context] = {}

    def credential(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        """The bearer token."""
        scheme, _, key = headers.get("Authorization", "").partition(" ")
        return key.strip() if scheme.lower() == "bearer" else None

    def plain(self, method: str, path: str) -> bytes | None:
        """What is free: the list of models, one of them, or at OpenAI itself, a moderation."""
        if (method, path) == ("POST", "/moderations") and self.name == OpenAI.name:
            return msgspec.json.encode(_MODERATED)
        if method != "GET":
            return None
        if path == "/models":
            rows = [_model_row(name) for name in self.models]
            return msgspec.json.encode({"object": "list", "data": rows})
        name = path.removeprefix("/models/")
        return msgspec.json.encode(_model_row(name)) if name in self.models else None

    def read(self, method: str, path: str, body: bytes) -> Call:
        """The call that a request is.

        Raises BadRequestError where OpenAI would refuse it, ScriptError for a bad directive.
        """
        if method == "POST" and path in self.media:
            return openai_media.read(path, body)
        api = self.apis.get(path)
        if api is None or method != "POST":
            raise BadRequestError(404, self.error(404, f"Invalid URL ({method} {path})"))
        fields = self._fields(body)
        model = str(fields.get("model"))
        if model not in self.models:
            raise BadRequestError(
                404, _error(f"The model `{model}` does not exist.", code="model_not_found")
            )
        call = Call(api=api, model=model, body=fields, tier=fields.get("service_tier"))
        call.stream = fields.get("stream") is True
        self._usage_asked(call)
        self.check_limit(call)
        _READERS[api](call)
        self._recall(call)
        return call

    def weigh(self, call: Call, density: int) -> int:
        """Tokens of the prompt, what is only referred to included."""
        if call.api in openai_media.APIS:
            return openai_media.weigh(call, density)
        return _WEIGHERS[call.api](call.body, density) + call.hidden_tokens

    def knows(self, model: str) -> bool:
        """Whether it is sold, under this name."""
        return model in self.models or (bool(self.media) and model in openai_media.MODELS)

    def most_output(self, model: str) -> int:
        """The model's own limit."""
        known = self.models.get(model)
        return openai_media.MOST_OUTPUT if known is None else int(known.max_output)

    def tier(self, model: str, asked: str | None) -> str:
        """The tier asked for where the model has it, else "default"."""
        return prices.tier_of(model, asked) if model in prices.MODELS else "default"

    def note(self, entry: Entry, call: Call, script: Script) -> None:
        """Hosted tools, which only responses have; sound and images."""
        if call.api in openai_media.APIS:
            openai_media.note(entry, call)
            return
        openai_media.note_chat(entry, call)
        if call.api == "responses":
            openai_hosted.note(entry, call, script)

    def cost(self, entry: Entry) -> int:
        """By OpenAI's price page."""
        assert entry.model is not None
        if entry.api in openai_media.APIS:
            return openai_media.cost(entry)
        return prices.cost(
            entry.model,
            entry.tier,
            prompt=entry.prompt_tokens - entry.extra.get("sound_in", 0),
            cached=entry.cached,
            written=entry.written,
            output=entry.completion_tokens - openai_media.chat_sound_out(entry),
            fees=openai_hosted.fees(entry),
            more_picos=openai_media.chat_sound(entry),
        )

    def voice(self, call: Call, plan: Plan, entry: Entry) -> Voice:
        """The voice of the API that was called."""
        if call.api in _MEDIA_VOICES:
            return _MEDIA_VOICES[call.api](call, plan, entry)
        if call.api == "chat":
            return ChatVoice(call, plan, entry)
        if call.api == "completions":
            return TextVoice(call, plan, entry)
        if call.api == "embeddings":
            return EmbeddingsVoice(call, plan, entry)
        voice = ResponsesVoice(call, plan, entry)
        self._remember(voice.id, call, entry.prompt_tokens + plan.made)
        return voice

    def error(self, status: int, message: str | None = None) -> bytes:
        """An error body with what OpenAI says at this status."""
        usual, kind, code = _KINDS.get(status, ("Invalid request.", "invalid_request_error", None))
        return _error(message or usual, kind=kind, code=code)

    def _fields(self, body: bytes) -> dict[str, Any]:
        try:
            fields = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            fields = None
        if not isinstance(fields, dict):
            raise BadRequestError(400, _error("We could not parse the JSON body of your request."))
        return fields

    def check_limit(self, call: Call) -> None:
        """Raises BadRequestError for `max_tokens` where it is no longer taken."""
        if call.api != "chat" or call.body.get("max_tokens") is None:
            return
        if call.body.get("max_completion_tokens") is not None:
            message = "Set 'max_tokens' or 'max_completion_tokens', not both."
            raise BadRequestError(400, _error(message))
        if self.models[call.model].reasons:
            message = "Unsupported parameter: 'max_tokens' is not supported with this model. "
            message += "Use 'max_completion_tokens' instead."
            raise BadRequestError(
                400, _error(message, param="max_tokens", code="unsupported_parameter")
            )

    def _usage_asked(self, call: Call) -> None:
        options = call.body.get("stream_options")
        if not isinstance(options, dict):
            return
        if not call.stream:
            message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
            raise BadRequestError(400, _error(message, param="stream_options"))
        if call.api == "responses" and "include_usage" in options:
            message = "Unknown parameter: 'stream_options.include_usage'."
            raise BadRequestError(
                400, _error(message, param="stream_options", code="unknown_parameter")
            )
        call.include_usage = options.get("include_usage") is True

    def _recall(self, call: Call) -> None:
        earlier = call.body.get("previous_response_id")
        if call.api != "responses" or earlier is None:
            return
        context = self._contexts.get(str(earlier))
        if context is None:
            message = f"Previous response with id '{earlier}' not found."
            raise BadRequestError(400, _error(message, code="previous_response_not_found"))
        call.hidden_tokens = context.tokens
        if call.directive is None:
            call.directive = context.directive
            call.tool_results += context.tool_results

    def _remember(self, response_id: str, call: Call, size: int) -> None:
        context = Context(size, call.directive, call.tool_results)
        self._contexts[response_id] = context
        if len(self._contexts) > _REMEMBERED:
            self._contexts.pop(next(iter(self._contexts)))


def _error(
    message: str,
    kind: str = "invalid_request_error",
    code: str | None = None,
    param: str | None = None,
) -> bytes:
    error = {"message": message, "type": kind, "param": param, "code": code}
    return msgspec.json.encode({"error": error})


def _model_row(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "standin"}


def _limit(fields: dict[str, Any], *names: str) -> int | None:
    for name in names:
        value = fields.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            message = f"Invalid '{name}': expected an integer of at least 1."
            raise BadRequestError(400, _error(message, param=name))
        return value
    return None


def _read_chat(call: Call) -> None:
    fields = call.body
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequestError(
            400, _error("Invalid 'messages': expected a non-empty array.", param="messages")
        )
    call.limit = _limit(fields, "max_completion_tokens", "max_tokens")
    call.choices = call.made_choices = _limit(fields, "n") or 1
    for tool in fields.get("tools") or []:
        function = tool.get("function") or {}
        call.tools[str(function.get("name"))] = function.get("parameters")
    wanted = (fields.get("response_format") or {}).get("json_schema") or {}
    call.schema = wanted.get("schema")
    for message in messages:
        _follow(call, message.get("role"), message.get("content"), message.get("role") == "tool")


def _read_responses(call: Call) -> None:
    fields = call.body
    call.limit = _limit(fields, "max_output_tokens")
    for tool in fields.get("tools") or []:
        if tool.get("type") == "function":
            call.tools[str(tool.get("name"))] = tool.get("parameters")
    call.schema = ((fields.get("text") or {}).get("format") or {}).get("schema")
    for item in _items(fields.get("input")):
        answered = str(item.get("type")).endswith("_call_output")
        _follow(call, item.get("role"), item.get("content"), answered)


def _read_completions(call: Call) -> None:
    fields = call.body
    call.limit = _limit(fields, "max_tokens") or _COMPLETIONS_LIMIT
    prompts = len(list(_prompts(fields.get("prompt"))))
    shown = _limit(fields, "n") or 1
    call.choices = shown * prompts
    call.made_choices = max(shown, _limit(fields, "best_of") or 1) * prompts
    _follow(call, "user", str(fields.get("prompt")), False)


def _read_embeddings(call: Call) -> None:
    call.choices = call.made_choices = len(list(_prompts(call.body.get("input"))))
    _follow(call, "user", str(call.body.get("input")), False)


def _follow(call: Call, role: str | None, content: Any, answers_tool: bool) -> None:
    if answers_tool:
        call.tool_results += 1
    if role != "user":
        return
    found = directive(_text_of(content))
    if found is not None:
        call.directive, call.tool_results = found, 0


def _text_of(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _items(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    return [item for item in value or [] if isinstance(item, dict)]


def _prompts(value: Any) -> Iterator[str | list[int]]:
    """Each text, or list of tokens, of a `prompt` or `input`."""
    if isinstance(value, list) and value and not isinstance(value[0], int):
        yield from value
    else:
        yield value if isinstance(value, list) else str(value or "")


def _weigh_tools(fields: dict[str, Any], density: int) -> int:
    tools = fields.get("tools")
    return tokens.TOOLS_TOKENS + tokens.weigh_json(tools, density) if tools else 0


def _weigh_chat(fields: dict[str, Any], density: int) -> int:
    total = tokens.PRIMING_TOKENS + _weigh_tools(fields, density)
    for message in fields["messages"]:
        total += tokens.MESSAGE_TOKENS + tokens.weigh_content(message.get("content"), density)
        total += openai_media.content_tokens(message.get("content"))
        if message.get("tool_calls"):
            total += tokens.weigh_json(message["tool_calls"], density)
    schema = fields.get("response_format")
    return total + (tokens.weigh_json(schema, density) if schema else 0)


def _weigh_responses(fields: dict[str, Any], density: int) -> int:
    total = tokens.PRIMING_TOKENS + _weigh_tools(fields, density)
    total += tokens.weigh_content(fields.get("instructions"), density)
    for item in _items(fields.get("input")):
        content = item.get("content", item.get("output", item.get("arguments")))
        total += tokens.MESSAGE_TOKENS + tokens.weigh_content(content, density)
    schema = fields.get("text")
    return total + (tokens.weigh_json(schema, density) if schema else 0)


def _weigh_prompts(name: str, fields: dict[str, Any], density: int) -> int:
    return sum(
        len(prompt) if isinstance(prompt, list) else max(1, tokens.weigh(prompt, density))
        for prompt in _prompts(fields.get(name))
    )


_MEDIA_VOICES: dict[str, Callable[[Call, Plan, Entry], Voice]] = {
    "transcriptions": TranscriptionVoice,
    "speech": SpeechVoice,
    "images": ImagesVoice,
}
_READERS = {
    "chat": _read_chat,
    "responses": _read_responses,
    "completions": _read_completions,
    "embeddings": _read_embeddings,
}
_WEIGHERS: dict[str, Callable[[dict[str, Any], int], int]] = {
    "chat": _weigh_chat,
    "responses": _weigh_responses,
    "completions": partial(_weigh_prompts, "prompt"),
    "embeddings": partial(_weigh_prompts, "input"),
}
