"""Requests on Gemini's own wire: read into an Ask, and written again.

What a reader does not look at is sent on as it came. The two objects in which a limit stands
(generationConfig, and thinkingConfig in it) are written anew where one is put in, each of their
values byte for byte as it came.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Raw

from agentwatch.wire.dialect import Ask, Meter, Request
from agentwatch.wire.fingerprint import input_marks
from agentwatch.wire.gemini_answer import GeminiArray, GeminiBody, GeminiEmbeddings, GeminiStream
from agentwatch.wire.gemini_input import Weight, has_reference
from agentwatch.wire.gemini_names import Names
from agentwatch.wire.gemini_thinking import NONE, Thinking, thinking
from agentwatch.wire.gemini_usage import Expected
from agentwatch.wire.json_object import LARGEST, Fields, bad, given, strict, text
from agentwatch.wire.openai_input import unpriced
from agentwatch.wire.unmetered import UnmeteredRequest

#: what a request's template adds once
REQUEST_OVERHEAD = 64
_TOP = Names(
    "the request",
    "model",
    "contents",
    "systemInstruction",
    "tools",
    "toolConfig",
    "generationConfig",
    "cachedContent",
    "continuationToken",
    "serviceTier",
)
_CONFIG = Names(
    "generationConfig",
    "maxOutputTokens",
    "candidateCount",
    "thinkingConfig",
    "responseModalities",
    "responseSchema",
    "responseJsonSchema",
)
_THINKING = Names("thinkingConfig", "thinkingBudget", "thinkingLevel")
_EMBEDDING = Names("the request", "model", "content", "requests")
#: kept at the provider
_REFERENCES = ("cachedContent", "continuationToken")
_MODALITIES = ("TEXT", "IMAGE", "AUDIO", "MODALITY_UNSPECIFIED")
_MAKES_IMAGES = re.compile(r".*(-image|banana|omni)", re.IGNORECASE)
_SPEAKS = re.compile(r".*-tts\b", re.IGNORECASE)
_STANDARD = "standard"
#: the name of a stream that is no server-sent events
ARRAY = "streamGenerateContent array"


class GeminiRequest:
    """A request that was read: its fields, and where its limits stand."""

    def __init__(self, fields: Fields, config_key: str, form: type[Answering]) -> None:
        self._fields = fields
        self._config_key = config_key
        self._form = form
        self.expected = Expected()
        self.thinking = NONE
        self.limit: int | None = None

    def body(self, output_limit: int | None = None) -> bytes:
        """The request to send upstream, `output_limit` put in as what answer and thinking may
        have together, where thinking is not limited by itself."""
        if output_limit is None:
            return msgspec.json.encode(self._fields)
        limit, budget = self.thinking.within(output_limit, self.limit)
        config = _opened(self._fields.get(self._config_key))
        _put(config, _CONFIG, "maxOutputTokens", limit)
        if budget is not None:
            key = _CONFIG.found(config).get("thinkingConfig", "thinkingConfig")
            inner = _opened(config.get(key))
            _put(inner, _THINKING, "thinkingBudget", budget)
            config[key] = Raw(msgspec.json.encode(inner))
        encoded = Raw(msgspec.json.encode(config))
        return msgspec.json.encode({**self._fields, self._config_key: encoded})

    def text(self) -> str | None:
        """No tokenizer of these models is here."""
        return None

    def meter(self, streamed: bool) -> Meter:
        """A new meter for this request's answer."""
        return self._form.meter(streamed, self.expected)


class Answering:
    """A method whose answer comes in one piece."""

    @staticmethod
    def meter(streamed: bool, expected: Expected) -> Meter:
        """A meter for one answer; an answer may come in events though nobody asked for them."""
        return GeminiStream(expected) if streamed else GeminiBody(expected)


class Streaming(Answering):
    """A method whose answer is streamed: events, or one array."""

    @staticmethod
    def meter(streamed: bool, expected: Expected) -> Meter:
        """A meter for one answer."""
        return GeminiStream(expected) if streamed else GeminiArray(expected)


class Embedding(Answering):
    """A method that embeds."""

    @staticmethod
    def meter(streamed: bool, expected: Expected) -> Meter:
        """A meter for one answer."""
        return GeminiEmbeddings(expected)


def read_generation(
    provider: str, model: str, path: str, fields: Fields, *, stream: bool, json_array: bool
) -> tuple[Ask, GeminiRequest]:
    """Read a request to generateContent or streamGenerateContent. Raises Refusal."""
    found = _TOP.found(fields)
    _check_model(fields, found, model)
    config_key = found.get("generationConfig", "generationConfig")
    config = _config(fields, config_key)
    named = _CONFIG.found(config)
    request = GeminiRequest(fields, config_key, Streaming if stream else Answering)
    request.limit = _whole(config, named, "maxOutputTokens", "generationConfig.maxOutputTokens")
    request.thinking = _thinking(model, config.get(named.get("thinkingConfig", "")))
    choices = _whole(config, named, "candidateCount", "generationConfig.candidateCount") or 1
    modalities = _modalities(config.get(named.get("responseModalities", "")))
    weight = _weigh(model, fields, found)
    for name in ("responseSchema", "responseJsonSchema"):
        if name in named and has_reference(config[named[name]]):
            weight.weigh_schema(config[named[name]])
    images = "IMAGE" in modalities or bool(_MAKES_IMAGES.match(model))
    speech = "AUDIO" in modalities or bool(_SPEAKS.match(model))
    request.expected = Expected(
        choices=choices,
        text_in=not (weight.media or weight.audio or weight.by_reference),
        audio_in=weight.audio,
        audio_out=speech,
        media_out=images,
        searches=weight.searches,
    )
    ask = Ask(
        provider=provider,
        api=ARRAY if json_array else "streamGenerateContent" if stream else "generateContent",
        upstream_path=path,
        model=model,
        input_bound=_bound(request, weight),
        input_overhead=REQUEST_OVERHEAD + weight.overhead + weight.media_tokens,
        input_by_reference=weight.by_reference,
        thinks=request.thinking is not NONE,
        output_limit=request.limit,
        choices=choices,
        extra_output=(request.thinking.budget or 0) * choices,
        thinks_beside_limit=request.thinking.budget is None,
        audio_in=weight.audio,
        audio_out=speech,
        media=weight.media or images,
        service_tier=_tier(fields, found),
        pieces={"web_search": 1} if weight.searches else {},
        stream=stream,
        json_array=json_array,
        marks=input_marks(fields[found["contents"]] if "contents" in found else None, bare=True),
    )
    return ask, request


def read_embedding(
    provider: str, model: str, path: str, fields: Fields
) -> tuple[Ask, GeminiRequest]:
    """Read a request to embedContent or batchEmbedContents. Raises Refusal."""
    found = _EMBEDDING.found(fields)
    _check_model(fields, found, model)
    weight = Weight(model)
    if "content" in found:
        weight.weigh_contents(fields[found["content"]], "content")
    if "requests" in found:
        _weigh_batch(model, strict(fields[found["requests"]], "requests"), weight)
    if weight.media_tokens or weight.by_reference:
        raise unpriced("an embedding of anything but text")
    request = GeminiRequest(fields, "generationConfig", Embedding)
    request.expected = Expected(has_output=False, text_in=True)
    ask = Ask(
        provider=provider,
        api="embedContent",
        upstream_path=path,
        model=model,
        input_bound=_bound(request, weight),
        has_output=False,
        thinks=False,
        media=False,
        service_tier=_STANDARD,
    )
    return ask, request


def read_free(provider: str, path: str, fields: Fields | None) -> tuple[Ask, Request]:
    """A request that costs nothing (countTokens; the models, with no body); sent on as read."""
    ask = Ask(
        provider=provider,
        api="free",
        upstream_path=path,
        model="",
        input_bound=0,
        has_output=False,
        free=True,
    )
    if fields is None:
        return ask, UnmeteredRequest(b"")
    return ask, GeminiRequest(fields, "generationConfig", Embedding)


def _bound(request: GeminiRequest, weight: Weight) -> int:
    size = len(request.body()) - weight.media_bytes
    return size + weight.media_tokens + weight.overhead + REQUEST_OVERHEAD


def _check_model(fields: Fields, found: dict[str, str], model: str) -> None:
    """The model stands in the path; a body that names another is not sent on."""
    named = text(fields, found["model"]) if "model" in found else None
    if named is not None and named.removeprefix("models/") != model:
        bad(f"the body names the model {named[:80]!a}, the path {model[:80]!a}: send one of them")


def _weigh_batch(model: str, requests: Any, weight: Weight) -> None:
    if not isinstance(requests, list) or not all(isinstance(each, dict) for each in requests):
        bad("requests must be a list of objects")
    for each in requests:
        found = _EMBEDDING.found(each)
        for name in ("model", "content"):
            if each.get(found.get(name, "")) is None:
                continue
            raw = Raw(msgspec.json.encode(each[found[name]]))
            if name == "content":
                weight.weigh_contents(raw, "content")
            else:
                _check_model({"model": raw}, {"model": "model"}, model)


def _weigh(model: str, fields: Fields, found: dict[str, str]) -> Weight:
    weight = Weight(model)
    for name in ("contents", "systemInstruction"):
        if name in found and given(fields, found[name]) is not None:
            weight.weigh_contents(fields[found[name]], name)
    if "tools" in found and given(fields, found["tools"]) is not None:
        weight.weigh_tools(fields[found["tools"]])
    if any(name in found and given(fields, found[name]) is not None for name in _REFERENCES):
        weight.by_reference = weight.audio = weight.media = True
    return weight


def _config(fields: Fields, key: str) -> dict[str, Any]:
    raw = given(fields, key)
    value = {} if raw is None else strict(raw, "generationConfig")
    if not isinstance(value, dict):
        bad("generationConfig must be an object")
    return value


def _thinking(model: str, config: Any) -> Thinking:
    if config is None:
        return thinking(model, None, False)
    if not isinstance(config, dict):
        bad("thinkingConfig must be an object")
    found = _THINKING.found(config)
    budget = config.get(found.get("thinkingBudget", ""))
    whole = isinstance(budget, int) and not isinstance(budget, bool) and -1 <= budget <= LARGEST
    if budget is not None and not whole:
        bad("thinkingConfig.thinkingBudget must be a whole number of at least -1")
    return thinking(model, budget, config.get(found.get("thinkingLevel", "")) is not None)


def _whole(config: dict[str, Any], found: dict[str, str], name: str, shown: str) -> int | None:
    value = config.get(found.get(name, ""))
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST:
        bad(f"{shown} must be a whole number of at least 1 (and at most 2^53)")
    return value


def _modalities(value: Any) -> set[str]:
    asked = value if isinstance(value, list) else [] if value is None else [value]
    for each in asked:
        if not isinstance(each, str) or each.upper() not in _MODALITIES:
            raise unpriced(f"output of the kind {str(each)[:40]!a}", "ask for TEXT")
    return {each.upper() for each in asked}


def _tier(fields: Fields, found: dict[str, str]) -> str:
    """The service tier asked for; standard where it is not said (ai.google.dev, Priority)."""
    named = text(fields, found["serviceTier"]) if "serviceTier" in found else None
    tier = (named or _STANDARD).lower().removeprefix("service_tier_")
    return _STANDARD if tier == "unspecified" else tier


def _opened(raw: Raw | None) -> Fields:
    """An object's values as they came; empty where it is not there or null."""
    if raw is None or bytes(raw) == b"null":
        return {}
    return msgspec.json.decode(raw, type=Fields)


def _put(fields: Fields, names: Names, name: str, value: int) -> None:
    fields[names.found(fields).get(name, name)] = Raw(str(value).encode())
