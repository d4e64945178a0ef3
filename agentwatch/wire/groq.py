"""Groq's wire: OpenAI's, with usage and errors of its own in `x_groq`, and systems of models.

A stream tells its usage in `x_groq.usage` of its last frame, unasked. A compound system calls
models and tools by itself: its usage tells each model's part, and the answer which tools were
called. What of it is billed by the hour has no bound, so it has to be left out by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from agentwatch.core.usage import Share, Usage
from agentwatch.wire.answer import Answer
from agentwatch.wire.dialect import Ask, Meter, Request
from agentwatch.wire.json_object import Fields, bad, read_json, read_object, strict_object
from agentwatch.wire.openai import OpenAI
from agentwatch.wire.openai_chat import ChatBody, ChatStream
from agentwatch.wire.openai_input import unpriced
from agentwatch.wire.openai_request import CHAT, EMBEDDINGS, RESPONSES, Answering, Api
from agentwatch.wire.openai_usage import read_usage

_TARGET = "/openai/v1"
_CHAT = CHAT._replace(priced=(*CHAT.priced, "compound_custom"), tells_usage=True)
#: how many tools a system calls before it answers, at most
_SYSTEMS = {
    "groq/compound": 10,
    "compound-beta": 10,
    "groq/compound-mini": 1,
    "compound-beta-mini": 1,
}
#: tools that cost so much a call; of Wolfram the user has a key of their own
_BY_CALL = ("web_search", "visit_website")
_BOUNDED = (*_BY_CALL, "wolfram_alpha")
#: our fee for a tool by the beginning of what the answer calls it
_FEES = {
    "search": "web_search",
    "web_search": "web_search",
    "visit": "visit_website",
    "wolfram": None,
}
#: more parts than this are no report
_MOST_PARTS = 1_000
_ABSENT = (b"", b"null")


class Groq(OpenAI):
    """The dialect of Groq."""

    name = "groq"
    versions: tuple[str, ...] = (
        "/openai/v1/openai/v1/",
        "/openai/v1/",
        "/v1/openai/v1/",
        "/v1/v1/",
        "/v1/",
    )
    apis: Mapping[str, Api] = {
        "/chat/completions": _CHAT,
        "/responses": RESPONSES,
        "/embeddings": EMBEDDINGS,
    }
    media: tuple[str, ...] = ("/audio/transcriptions", "/audio/translations", "/audio/speech")
    #: nothing is stored
    stored = re.compile(r"(?!)(?P<items>)")
    least_audio_ms = 10_000
    speech_by_character = True

    def read(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Ask, Request]:
        """Read a request; raises Refusal."""
        ask, request = super().read(method, path, query, headers, body)
        ask.upstream_path = _TARGET + ask.upstream_path
        if ask.api == CHAT.name:
            if ask.choices > 1:
                bad("n must be 1 at Groq")
            _read_system(ask, read_object(body))
        return ask, request

    def meter(self, answering: Answering) -> Meter:
        """A meter for one answer."""
        if answering.api == CHAT.name:
            return GroqStream(answering.strip) if answering.streamed else GroqBody()
        return super().meter(answering)


def _read_system(ask: Ask, fields: Fields) -> None:
    """What a system of models may do beside its answer. Raises Refusal for what has no bound."""
    calls = _SYSTEMS.get(ask.model.lower())
    custom = strict_object(fields, "compound_custom")
    if calls is None:
        if custom:
            bad(f"compound_custom is for {', '.join(_SYSTEMS)}")
        return
    tools = _enabled(custom)
    ask.also_models = _models(custom)
    ask.rounds = calls if tools else 0
    # each round is an answer of its own, with a prompt that has grown by what was found
    ask.choices = 1 + ask.rounds
    ask.pieces = {**ask.pieces, **{tool: calls for tool in _BY_CALL if tool in tools}}


def _enabled(custom: dict[str, Any]) -> list[str]:
    inner = custom.get("tools")
    tools = inner.get("enabled_tools") if isinstance(inner, dict) else None
    if not isinstance(tools, list) or not all(isinstance(tool, str) for tool in tools):
        raise unpriced(
            "a compound system with all its tools, of which some are billed by the hour,",
            f'send "compound_custom": {{"tools": {{"enabled_tools": {list(_BOUNDED)}}}}} '
            "or fewer of them".replace("'", '"'),
        )
    for tool in tools:
        if tool not in _BOUNDED:
            raise unpriced(f"the tool {tool[:40]!a}", f"enable only {', '.join(_BOUNDED)}")
    return tools


def _models(custom: dict[str, Any]) -> tuple[str, ...]:
    """Models that were chosen to do a part of the work."""
    named = custom.get("models") or {}
    if not isinstance(named, dict):
        bad("compound_custom.models must be an object")
    found = [model for model in named.values() if model is not None]
    if not all(isinstance(model, str) and model for model in found):
        bad("a model of compound_custom.models must be a text")
    return tuple(dict.fromkeys(found))


class _Tool(Struct):
    index: int = 0
    type: str = ""


class _Said(Struct):
    executed_tools: list[_Tool] | None = None


class _Choice(Struct):
    index: int = 0
    delta: _Said | None = None
    message: _Said | None = None


class _XGroq(Struct):
    usage: Raw = Raw()
    usage_breakdown: Raw = Raw()
    error: Raw = Raw()


class _Told(Struct):
    x_groq: _XGroq | None = None
    usage_breakdown: Raw = Raw()
    choices: list[_Choice] | None = None


_TOLD = msgspec.json.Decoder(_Told)
#: without one of these a frame is OpenAI's
_MARKS = (b'"x_groq"', b'"usage_breakdown"', b'"executed_tools"')


class _Heard(Answer):
    """What Groq tells beside an OpenAI answer: usage, each model's part, tools, an error."""

    def __init__(self, *how: Any) -> None:
        super().__init__(*how)
        self._total: Usage | None = None
        self._parts: tuple[Share, ...] = ()
        self._tools: dict[tuple[int, int], str] = {}

    def _hear(self, data: bytes) -> None:
        if not any(mark in data for mark in _MARKS):
            return
        told = _TOLD.decode(data)
        for choice in told.choices or ():
            said = choice.delta or choice.message
            for tool in (said and said.executed_tools) or ():
                self._tools[choice.index, tool.index] = tool.type
        self._parts = _shares(told.usage_breakdown) or self._parts
        if told.x_groq is not None:
            self._parts = _shares(told.x_groq.usage_breakdown) or self._parts
            self._total = read_usage(told.x_groq.usage) or self._total
            if bytes(told.x_groq.error) not in _ABSENT:
                self._failed(told.x_groq.error)
        self.usage = self._sum()

    def _usage(self, raw: Raw) -> Usage | None:
        self._total = read_usage(raw) or self._total
        return self._sum()

    def _sum(self) -> Usage | None:
        """The whole of it: the models' parts, what no part accounts for, and the tools."""
        if self._total is None and not self._parts:
            return None
        rest = _less(self._total or Usage(), self._parts)
        pieces: dict[str, int] = {}
        for kind in self._tools.values():
            name = _fee_of(kind)
            if name is not None:
                pieces[name] = pieces.get(name, 0) + 1
        return replace(rest, shares=self._parts, pieces=pieces)


class GroqStream(_Heard, ChatStream):
    """A streamed chat."""

    def _read(self, data: bytes) -> bool:
        kept = ChatStream._read(self, data)
        self._hear(data)
        return kept


class GroqBody(_Heard, ChatBody):
    """A chat in one piece."""

    def _read(self, body: bytes) -> None:
        ChatBody._read(self, body)
        self._hear(body)


def _shares(raw: Raw) -> tuple[Share, ...]:
    """Each model's part of a usage_breakdown; none where it can't be believed."""
    found = read_json(raw) if bytes(raw) not in _ABSENT else None
    models = found.get("models") if isinstance(found, dict) else None
    if not isinstance(models, list) or len(models) > _MOST_PARTS:
        return ()
    shares = [_share(each) for each in models]
    return tuple(share for share in shares if share) if all(shares) else ()


def _share(part: object) -> Share | None:
    if not isinstance(part, dict) or not isinstance(part.get("model"), str):
        return None
    usage = read_usage(msgspec.json.encode(part.get("usage")))
    return Share(model=part["model"][:256], usage=usage) if usage else None


def _less(total: Usage, parts: tuple[Share, ...]) -> Usage:
    """What of the total no part accounts for: nothing, where the report agrees with itself."""
    if not parts:
        return total
    given = sum(part.usage.input_tokens for part in parts)
    made = sum(part.usage.output_tokens for part in parts)
    return Usage(
        input_tokens=max(0, total.input_tokens - given),
        output_tokens=max(0, total.output_tokens - made),
    )


def _fee_of(kind: str) -> str | None:
    """Our fee for a tool; one that is not known has none, and is not priced."""
    start = next((start for start in _FEES if kind.startswith(start)), None)
    return kind[:64] if start is None else _FEES[start]
