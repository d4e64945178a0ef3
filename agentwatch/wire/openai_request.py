"""Requests on OpenAI's wire: read into an Ask, and written again.

One reader per API. What a reader does not look at is sent on as it came: what does not bear on
the price is the provider's to refuse. A field that can cost money in a way that has no bound yet
is refused by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from agentwatch.errors import Refusal
from agentwatch.wire.dialect import Ask, Meter
from agentwatch.wire.fingerprint import InputMarks, input_marks
from agentwatch.wire.json_object import (
    Fields,
    bad,
    boolean,
    given,
    has,
    has_escape,
    refuse_look_alikes,
    strict,
    strict_object,
    text,
    unescaped,
    whole,
)
from agentwatch.wire.openai_input import (
    REQUEST_OVERHEAD,
    TOOLS_OVERHEAD,
    Weight,
    image_bound,
    items_weight,
    messages_weight,
    tools_weight,
    unpriced,
)


class Answering(NamedTuple):
    """What a meter must know of the request. `strip`: the usage chunk was asked for by us, and
    is to be taken out. `search_fee`: the fee of a web search, where one may be made; `fees`: of
    the other hosted tools."""

    api: str
    streamed: bool
    strip: bool
    search_fee: str | None
    fees: frozenset[str] = frozenset()


MeterMaker = Callable[[Answering], Meter]

#: what the legacy API makes when no limit is set
COMPLETIONS_DEFAULT = 16
_MODEL_LENGTH = 256
_THREAD_LENGTH = 128
_THREAD_HEADERS = ("thread-id", "session-id", "x-session-id")
#: fields that carry no input
_UNBILLED = frozenset(
    [
        "model",
        "metadata",
        "client_metadata",
        "prompt_cache_key",
        "safety_identifier",
        "user",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "include",
        "logit_bias",
    ]
)
_TTL = re.compile(b'"ttl"')
#: a letter of "ttl", escaped
_HIDDEN_TTL = re.compile(rb"\\u00(?:74|6[cC])")
#: models that show all that they make; of any other it is not known
_NEVER_THINKS = re.compile(r"(ft:)?(chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-4|gpt-3\.5)(?![\w.])")
_PROMPT = msgspec.json.Decoder(str | list[str | int | list[int]])


class Api(NamedTuple):
    """One API: which fields bear on its price, and where its input and its limit stand.

    `limits` are the fields a limit may stand in; the first is the one that is put in.
    `closed` are fields that cost what has no bound. `tells_usage`: its streams tell their usage
    unasked. A provider that speaks this wire has its own with other fields, under the same name.
    """

    name: str
    input: str
    limits: tuple[str, ...]
    priced: tuple[str, ...]
    closed: tuple[str, ...] = ()
    tells_usage: bool = False

    def look_alikes(self) -> frozenset[str]:
        """Every field whose name must be written exactly."""
        return frozenset((*_ALWAYS_PRICED, self.input, *self.limits, *self.priced, *self.closed))


#: streams that tell their usage where they are asked to
_ASKED = ("chat", "completions")
_ALWAYS_PRICED = ("model", "stream", "stream_options", "service_tier")

CHAT = Api(
    "chat",
    "messages",
    ("max_completion_tokens", "max_tokens"),
    ("n", "tools", "functions", "prediction", "modalities", "prompt_cache_options", "audio"),
    ("web_search_options",),
)
RESPONSES = Api(
    "responses",
    "input",
    ("max_output_tokens",),
    (
        "tools",
        "background",
        "max_tool_calls",
        "previous_response_id",
        "conversation",
        "reasoning",
        "modalities",
        "prompt_cache_options",
    ),
    ("prompt", "context_management", "access_programs", "audio"),
)
COMPLETIONS = Api("completions", "prompt", ("max_tokens",), ("n", "best_of"))
EMBEDDINGS = Api("embeddings", "input", (), ())
FREE = Api("free", "input", (), ())


class OpenAIRequest:
    """A request that was read: its fields, and what is to be changed when it is written."""

    def __init__(self, fields: Fields, api: Api, limits: tuple[str, ...], meter: MeterMaker):
        self._fields = fields
        self._api = api
        self._limits = limits
        self._meter = meter
        self._asks_usage = False
        self._has_media = False
        self._fees: frozenset[str] = frozenset()
        self._as_read: bytes | None = None

    def body(self, output_limit: int | None = None) -> bytes:
        """The request to send upstream; `output_limit` goes where the client's own limit stood,
        else into the field that this API knows."""
        if output_limit is None:
            if self._as_read is None:
                self._as_read = msgspec.json.encode(self._fields) if self._fields else b""
            return self._as_read
        limit = Raw(str(output_limit).encode())
        return msgspec.json.encode({**self._fields, **dict.fromkeys(self._limits, limit)})

    def text(self) -> str | None:
        """The billed part of the body, as JSON whose escapes are undone: framing only adds tokens,
        but an escape can have fewer than what it stands for ("\\ucfaf": 2, the letter: 3)."""
        if self._has_media:
            return None
        parts = (bytes(raw) for key, raw in self._fields.items() if key not in _UNBILLED)
        text = b"\n".join(parts).decode(errors="replace")
        return unescaped(text) if "\\" in text else text

    def meter(self, streamed: bool) -> Meter:
        """A new meter for this request's answer."""
        searches = min((fee for fee in self._fees if fee.startswith("web_search")), default=None)
        return self._meter(
            Answering(self._api.name, streamed, self._asks_usage, searches, self._fees)
        )

    def put_in_usage(self) -> None:
        """Ask for the usage chunk of a stream, unless the client has asked for it itself."""
        options = strict_object(self._fields, "stream_options")
        if any(key != "include_usage" and key.casefold() == "include_usage" for key in options):
            bad("the field of stream_options must be written 'include_usage'")
        wanted = options.get("include_usage")
        if wanted is not None and not isinstance(wanted, bool):
            bad("stream_options.include_usage must be true or false")
        if not wanted:
            options["include_usage"] = True
            self._fields["stream_options"] = Raw(json.dumps(options).encode())
            self._asks_usage = True

    def note(self, weight: Weight) -> None:
        """Keep what the text and the meter depend on."""
        self._has_media = weight.images > 0 or weight.sound
        self._fees = weight.fees | weight.rents


def read_request(
    provider: str,
    api: Api,
    path: str,
    fields: Fields,
    headers: Mapping[str, str],
    meter: MeterMaker,
) -> tuple[Ask, OpenAIRequest]:
    """Read the fields of one request. Raises Refusal."""
    _check_fields(api, fields)
    limits, limit = _output_limit(api, fields)
    request = OpenAIRequest(fields, api, limits, meter)
    stream = boolean(fields, "stream")
    if stream and api.name in _ASKED and not api.tells_usage:
        request.put_in_usage()
    model = _model(fields)
    weight = _weight(api, fields)
    request.note(weight)
    pieces = _tool_calls(api, fields, weight)
    overhead = REQUEST_OVERHEAD + weight.overhead + weight.images * image_bound(model)
    ask = Ask(
        provider=provider,
        api=api.name,
        upstream_path=path,
        model=model,
        input_bound=len(request.body()) - weight.media_bytes + overhead,
        input_overhead=overhead,
        input_by_reference=weight.by_reference,
        has_output=api.name != EMBEDDINGS.name,
        thinks=not _NEVER_THINKS.match(model),
        output_limit=limit,
        choices=_choices(api, fields),
        service_tier=text(fields, "service_tier"),
        pieces=pieces,
        rounds=_rounds(fields, weight),
        audio_in=weight.sound,
        audio_out=_speaks(api, fields),
        stream=stream,
        thread=_thread(fields, headers),
        cache_write_long=_keeps_long(api, fields),
        marks=_marks(api, fields),
    )
    prediction = given(fields, "prediction")
    if prediction is not None and api.name == CHAT.name:
        ask.extra_output = len(bytes(prediction)) * ask.choices
    return ask, request


def read_free(
    provider: str, path: str, fields: Fields, meter: MeterMaker
) -> tuple[Ask, OpenAIRequest]:
    """A request that costs nothing; it is sent on as it was read."""
    ask = Ask(
        provider=provider,
        api=FREE.name,
        upstream_path=path,
        model="",
        input_bound=0,
        has_output=False,
        free=True,
    )
    return ask, OpenAIRequest(fields, FREE, (), meter)


def _check_fields(api: Api, fields: Fields) -> None:
    refuse_look_alikes(fields, _look_alikes(api))
    for key in api.closed:
        if given(fields, key) is not None:
            raise unpriced(f"the field {key!r}", "take it out of the request")
    if "background" in api.priced and boolean(fields, "background"):
        raise Refusal("path_not_governed", "background responses can't be governed yet")
    _speaks(api, fields)
    if strict_object(fields, "reasoning").get("mode") not in (None, "standard"):
        raise unpriced("a reasoning.mode other than 'standard'")


_look_alikes = lru_cache(Api.look_alikes)


def _speaks(api: Api, fields: Fields) -> bool:
    """Whether the answer may be sound, which a chat's alone may be."""
    raw = given(fields, "modalities")
    wanted = [] if raw is None else strict(raw, "modalities")
    known = ("text", "audio") if api.name == CHAT.name else ("text",)
    if not isinstance(wanted, list) or any(each not in known for each in wanted):
        raise unpriced("output that is not text", 'send "modalities": ["text"]')
    return "audio" in wanted or (api.name == CHAT.name and given(fields, "audio") is not None)


def _model(fields: Fields) -> str:
    model = text(fields, "model")
    if not model:
        bad("model is missing")
    if len(model) > _MODEL_LENGTH:
        bad(f"model is longer than {_MODEL_LENGTH} characters")
    if "-search-preview" in model.lower() or "-search-api" in model.lower():
        raise unpriced(f"the model {model[:40]!a}, which searches the web on its own")
    return model


def _output_limit(api: Api, fields: Fields) -> tuple[tuple[str, ...], int | None]:
    """The fields that a limit is written to, and the limit that the client set."""
    values = {key: value for key in api.limits if (value := whole(fields, key)) is not None}
    if len(set(values.values())) > 1:
        bad(f"{' and '.join(values)} are two different limits: set one of them")
    if api.name == COMPLETIONS.name and not values:
        fields["max_tokens"] = Raw(str(COMPLETIONS_DEFAULT).encode())
        values["max_tokens"] = COMPLETIONS_DEFAULT
    limit = next(iter(values.values()), None)
    return tuple(values) or api.limits[:1], limit


def _weight(api: Api, fields: Fields) -> Weight:
    total = Weight(by_reference=_by_reference(api, fields))
    raw = given(fields, api.input)
    if raw is not None and api.name == CHAT.name:
        total += messages_weight(raw)
    elif raw is not None and api.name == RESPONSES.name:
        total += items_weight(raw)
    if given(fields, "functions") is not None:
        total += Weight(overhead=TOOLS_OVERHEAD)
    tools = given(fields, "tools") if "tools" in api.priced else None
    return total if tools is None else total + tools_weight(tools)


def _by_reference(api: Api, fields: Fields) -> bool:
    keys = ("previous_response_id", "conversation")
    return api.name == RESPONSES.name and any(given(fields, key) is not None for key in keys)


def _tool_calls(api: Api, fields: Fields, weight: Weight) -> dict[str, int]:
    """The most that each hosted tool can be called. Raises Refusal where that has no bound."""
    most = whole(fields, "max_tool_calls") if api.name == RESPONSES.name else None
    if weight.fees and most is None:
        raise unpriced(
            f"the hosted tool {min(weight.fees)!r} without max_tool_calls",
            'set max_tool_calls, or take the tool out (Codex: -c web_search="disabled")',
        )
    # running code costs what the container does, which one answer needs once
    called = dict.fromkeys(sorted(weight.fees - {"code_interpreter"}), most or 0)
    return called | dict.fromkeys(sorted(weight.rents), 1)


def _rounds(fields: Fields, weight: Weight) -> int:
    """How often the model goes on after a hosted tool has come back."""
    return (whole(fields, "max_tool_calls") or 0) if weight.fees else 0


def _choices(api: Api, fields: Fields) -> int:
    if api.name == CHAT.name:
        return whole(fields, "n") or 1
    if api.name == COMPLETIONS.name:
        each = max(whole(fields, "n") or 1, whole(fields, "best_of") or 1)
        return each * _prompts(fields, "prompt")
    if api.name == EMBEDDINGS.name:
        _prompts(fields, "input")
    return 1


def _prompts(fields: Fields, key: str) -> int:
    """How many prompts there are: one text, one list of token ids, or a list of either."""
    raw = given(fields, key)
    if raw is None:
        return 1
    try:
        prompts = _PROMPT.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        bad(f"{key} must be text, token ids, or a list of either")
    if isinstance(prompts, str) or all(isinstance(prompt, int) for prompt in prompts):
        return 1
    return len(prompts)


def _marks(api: Api, fields: Fields) -> InputMarks:
    if given(fields, "conversation") is not None:
        return InputMarks()  # what the server keeps may be another each time
    return input_marks(given(fields, api.input), given(fields, "previous_response_id"))


def _keeps_long(api: Api, fields: Fields) -> bool:
    """Whether what is written to the cache may be kept for the longer time: told for the whole
    request, or at a breakpoint within it. An escape may hide the name."""
    options: dict[str, Any] = strict_object(fields, "prompt_cache_options")
    if options.get("ttl") not in (None, "30m"):
        return True
    raws = (fields[key] for key in (api.input, "tools") if key in fields)
    return any(has(raw, _TTL) or has_escape(raw, _HIDDEN_TTL) for raw in raws)


def _thread(fields: Fields, headers: Mapping[str, str]) -> str | None:
    """The lane that the client names; a name that is too long or odd is none."""
    names = [headers.get(name) for name in _THREAD_HEADERS]
    key = given(fields, "prompt_cache_key")
    if key is not None and bytes(key).startswith(b'"'):
        names.insert(1, text(fields, "prompt_cache_key"))
    for name in names:
        if name and len(name) <= _THREAD_LENGTH and name.isascii() and name.isprintable():
            return name
    return None
