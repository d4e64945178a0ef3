"""Meters for Gemini: server-sent events, one JSON array, a body in one piece, embeddings.

Usage comes in every chunk of a stream and counts from the start, so that the last one that can be
believed is the whole. The model that answered stands beside it, the service tier in a header.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from agentwatch.core.usage import Usage
from agentwatch.wire.answer import FRAME_TOKENS, Answer, StreamedAnswer, WholeAnswer
from agentwatch.wire.gemini_input import SEARCH_FEE
from agentwatch.wire.gemini_usage import Expected, read_usage
from agentwatch.wire.json_array import ArrayStream
from agentwatch.wire.json_object import read_json

#: an event may hold a picture in base64
EVENT_LIMIT = 8 << 20
_TIER_HEADER = "x-gemini-service-tier"
_ABSENT = (b"", b"null")


class _Part(Struct):
    text: Any = None
    thought: Any = None
    functionCall: Raw = Raw()  # noqa: N815 - the wire's names
    executableCode: Raw = Raw()  # noqa: N815
    codeExecutionResult: Raw = Raw()  # noqa: N815
    inlineData: Raw = Raw()  # noqa: N815

    def shown(self) -> int:
        """Bytes of text that is billed as it stands; thoughts are summed up for the reader."""
        return _size(self.text) if not self.thought else 0

    def other(self) -> int:
        """Bytes that may stand for billed output."""
        raws = (self.functionCall, self.executableCode, self.codeExecutionResult, self.inlineData)
        size = sum(len(bytes(raw)) for raw in raws) + (_size(self.text) if self.thought else 0)
        return size + FRAME_TOKENS if size else 0

    def note(self, meter: Answer) -> None:
        """Tell a meter what is said and called."""
        if not self.thought:
            meter.note_text(self.text)
        called = read_json(self.functionCall) if bytes(self.functionCall) not in _ABSENT else None
        if isinstance(called, dict):
            meter.note_call(called.get("name"), msgspec.json.encode(called.get("args")).decode())


class _Content(Struct):
    parts: list[_Part] | None = None


class _Grounding(Struct):
    webSearchQueries: Any = None  # noqa: N815
    groundingChunks: Any = None  # noqa: N815
    searchEntryPoint: Any = None  # noqa: N815


class _Candidate(Struct):
    content: _Content | None = None
    index: Any = None
    finishReason: Any = None  # noqa: N815
    groundingMetadata: _Grounding | None = None  # noqa: N815


class _Feedback(Struct):
    blockReason: Any = None  # noqa: N815


class _Chunk(Struct):
    candidates: list[_Candidate] | None = None
    promptFeedback: _Feedback | None = None  # noqa: N815
    usageMetadata: Raw = Raw()  # noqa: N815
    modelVersion: Any = None  # noqa: N815
    error: Raw = Raw()


class _LooseChunk(Struct):
    """The same with nothing taken for granted."""

    candidates: Raw = Raw()
    usageMetadata: Raw = Raw()  # noqa: N815
    modelVersion: Any = None  # noqa: N815
    error: Raw = Raw()


class _Tier(Struct):
    serviceTier: Any = None  # noqa: N815


_CHUNK = msgspec.json.Decoder(_Chunk)
_LOOSE = msgspec.json.Decoder(_LooseChunk)
_TIER = msgspec.json.Decoder(_Tier)


def _size(text: object) -> int:
    return len(text.encode(errors="replace")) if isinstance(text, str) else 0


class _Reading(Answer):
    """Reads one response, or one chunk of it."""

    notes = True
    _expected: Expected
    _most_told = 0
    _searched = False

    def _expect(self, expected: Expected) -> None:
        self._expected = expected
        self._finished: set[object] = set()

    @property
    def output_floor(self) -> int:
        """What was seen, or what was reported at any time: counts only grow."""
        return max(super().output_floor, self._most_told)

    def head(self, headers: Mapping[str, str]) -> None:
        self._name(None, headers.get(_TIER_HEADER, "").lower())

    def _read_chunk(self, data: bytes) -> None:
        try:
            chunk = _CHUNK.decode(data)
        except msgspec.ValidationError:
            loose = _LOOSE.decode(data)
            self._saw_other(len(bytes(loose.candidates)))
            self._report(loose)
            return
        for candidate in chunk.candidates or ():
            self._saw_candidate(candidate)
        if chunk.promptFeedback and chunk.promptFeedback.blockReason is not None:
            self.complete = True
        self._report(chunk)

    def _saw_candidate(self, candidate: _Candidate) -> None:
        parts = (candidate.content.parts if candidate.content else None) or ()
        self._saw_text(sum(part.shown() for part in parts))
        self._saw_other(sum(part.other() for part in parts))
        for part in parts:
            part.note(self)
        grounding = candidate.groundingMetadata
        self._searched = self._searched or (
            grounding is not None and bool(grounding.webSearchQueries or grounding.groundingChunks)
        )
        if isinstance(candidate.finishReason, str):
            self._finished.add(str(candidate.index))
            self.complete = self.complete or len(self._finished) >= self._expected.choices

    def _report(self, chunk: _Chunk | _LooseChunk) -> None:
        self._name(chunk.modelVersion, None)
        if bytes(chunk.usageMetadata) not in _ABSENT:
            self._told(chunk.usageMetadata)
        elif self.usage is not None:
            self.usage = self._with_search(self.usage)
        if bytes(chunk.error) not in _ABSENT:
            self._failed(chunk.error)

    def _told(self, raw: Raw) -> None:
        usage = read_usage(raw, self._expected)
        if usage is None:
            return
        self.usage = self._with_search(usage)
        self._most_told = max(self._most_told, usage.output_tokens)
        tier = _TIER.decode(raw).serviceTier
        if isinstance(tier, str):
            self._name(None, plain_tier(tier))

    def _with_search(self, usage: Usage) -> Usage:
        if not (self._searched and self._expected.searches):
            return usage
        return replace(usage, pieces={SEARCH_FEE: 1})


def plain_tier(told: str) -> str:
    """A service tier as the price list calls it."""
    return told.lower().removeprefix("service_tier_")


class GeminiStream(_Reading, StreamedAnswer):
    """A streamed answer of server-sent events."""

    def __init__(self, expected: Expected) -> None:
        super().__init__(EVENT_LIMIT)
        self._expect(expected)

    def _read(self, data: bytes) -> bool:
        self._read_chunk(data)
        return True


class GeminiArray(GeminiStream):
    """A streamed answer that is one JSON array."""

    def __init__(self, expected: Expected) -> None:
        super().__init__(expected)
        self._stream: ArrayStream = ArrayStream(EVENT_LIMIT)

    def last_word(self, event: bytes) -> bytes:
        """One more element, and the end of the array."""
        if self._stream.closed:
            return b""
        return (b"," if self._stream.opened else b"[") + event + b"]"


class GeminiBody(_Reading, WholeAnswer):
    """An answer in one piece."""

    def __init__(self, expected: Expected) -> None:
        super().__init__()
        self._expect(expected)

    def _read(self, body: bytes) -> None:
        self._read_chunk(body)
        self.complete = True


class GeminiEmbeddings(GeminiBody):
    """Embeddings: there is input, and no output that is billed."""

    notes = False

    @property
    def output_floor(self) -> int:
        return 0

    @property
    def output_ceiling(self) -> int:
        return 0
