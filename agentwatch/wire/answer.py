"""What all meters have in common: how much output was seen, and that they never raise.

A streamed answer is handed on in whole events, so that a stream that has to be ended can be ended
between two of them. A body that comes in one piece is handed on as it comes, and read at its end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol
from zlib import crc32

from msgspec import Raw

from agentwatch.core.anomaly import Step
from agentwatch.core.usage import Usage
from agentwatch.wire.fingerprint import SAID, sketch
from agentwatch.wire.json_object import read_json
from agentwatch.wire.sse import LIMIT, Event, EventStream

#: bytes of the longest token of any vocabulary we know of (o200k: 128 blanks)
LONGEST_TOKEN = 128
#: tokens that end an answer, or stand around a message or a call in it
FRAME_TOKENS = 32
#: bytes of an answer above which it is not read
BODY_LIMIT = 64 << 20
_ERROR_LENGTH = 500
#: tool calls of one answer that are told apart
_MOST_CALLS = 64


class Answer:
    """Counts of one answer: see the protocol Meter for the meaning of its attributes."""

    #: this meter notes what is said and which tools are called
    notes = False
    #: something may be taken out of the answer, so that it has to be handed on decoded
    rewrites = False

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.begun: Usage | None = None
        self.model: str | None = None
        self.service_tier: str | None = None
        self.error: str | None = None
        self.complete = False
        self._pieces = 0
        self._text_bytes = 0
        self._other_bytes = 0
        self._said: list[str] = []
        self._said_left = SAID
        self._called: list[int] = []

    @property
    def step(self) -> Step | None:
        """What the answer did, as fingerprints; None where it did not come to its end, or what it
        holds is not noted."""
        if not (self.notes and self.complete) or self.error is not None:
            return None
        if self._called:
            return Step(calls=hash(tuple(sorted(self._called))))
        return Step(said=sketch("".join(self._said).encode(errors="replace")[:SAID]))

    def head(self, headers: Mapping[str, str]) -> None:
        """Most providers say nothing in their headers that bears on the price."""

    def last_word(self, event: bytes) -> bytes:
        """Events stand alone."""
        return event

    @property
    def output_floor(self) -> int:
        """Tokens that were certainly made: one for each event with text, and no more bytes to a
        token than the longest has."""
        return max(self._pieces, self._text_bytes // LONGEST_TOKEN)

    @property
    def output_ceiling(self) -> int:
        """Tokens that were seen at most: one for each byte."""
        return self._text_bytes + self._other_bytes + FRAME_TOKENS

    def _saw_text(self, size: int) -> None:
        """`size` bytes of output that is billed."""
        if size:
            self._pieces += 1
            self._text_bytes += size

    def _saw_other(self, size: int) -> None:
        """`size` bytes that may stand for billed output, or not."""
        self._other_bytes += size

    def note_text(self, text: object) -> None:
        """Some more text of the answer; its beginning is kept until the end."""
        if self._said_left > 0 and isinstance(text, str) and text:
            self._said.append(text[: self._said_left])
            self._said_left -= len(text)

    def note_call(self, name: object, arguments: object) -> None:
        """A tool that is called, or without a name, more of the last one's arguments."""
        called = self._called
        if isinstance(name, str) and name and len(called) < _MOST_CALLS:
            called.append(crc32(name.encode(errors="replace")))
        if isinstance(arguments, str) and called:
            called[-1] = crc32(arguments.encode(errors="replace"), called[-1])

    def _name(self, model: object, tier: object) -> None:
        """Keep the model and tier that answered, where they are said."""
        if isinstance(model, str) and model:
            self.model = model[:256]
        if isinstance(tier, str) and tier:
            self.service_tier = tier[:64]

    def _failed(self, raw: Raw | bytes) -> None:
        """Keep the message of an error object, or what there is in its place."""
        found = read_json(raw)
        message = found.get("message") if isinstance(found, dict) else found
        if found:
            self.error = str(message or "an error without a message")[:_ERROR_LENGTH]


class Cutter(Protocol):
    """Cuts a stream into the events that are read one by one."""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes."""
        ...

    def close(self) -> list[Event]:
        """The stream is at its end: what was no whole event."""
        ...


class StreamedAnswer(Answer, ABC):
    """An answer of server-sent events, or of what else a Cutter makes events of. A subclass reads
    one event's payload."""

    _stream: Cutter

    def __init__(self, limit: int = LIMIT) -> None:
        super().__init__()
        self._stream = EventStream(limit)

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; return the events that they complete, and that the client is to
        get."""
        return self._hand_on(self._stream.feed(chunk))

    def close(self) -> bytes:
        """The stream is at its end: what was not a whole event."""
        return self._hand_on(self._stream.close())

    def _hand_on(self, events: list[Event]) -> bytes:
        return b"".join([event.raw for event in events if self._is_kept(event)])

    def _is_kept(self, event: Event) -> bool:
        if event.data is None:
            self._saw_other(len(event.raw) if event.unread else 0)
            return True
        try:
            return self._read(event.data)
        except Exception:  # whatever an upstream sends, the client's stream goes on
            self._saw_other(len(event.data))
            return True

    @abstractmethod
    def _read(self, data: bytes) -> bool:
        """Read one event's payload; False takes the event out of the stream."""


class WholeAnswer(Answer):
    """An answer in one piece, read at its end. A subclass reads it."""

    def __init__(self, limit: int = BODY_LIMIT) -> None:
        super().__init__()
        self._limit = limit
        self._kept = bytearray()
        self._size = 0

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; they go to the client as they are."""
        self._size += len(chunk)
        if self._size <= self._limit:
            self._kept += chunk
        else:
            self._kept.clear()
        return chunk

    def close(self) -> bytes:
        """The answer is at its end: read it."""
        body, self._kept = bytes(self._kept), bytearray()
        if len(body) < self._size:
            self._saw_other(self._size)
            return b""
        try:
            self._read(body)
        except Exception:  # cut off, or no JSON: all of it may be output
            self._saw_other(self._size)
        self._size = 0
        return b""

    def _read(self, body: bytes) -> None:
        """Read a whole body; where it raises, all of the body counts as what may be output.

        One that is not understood, which is every one here, counts so, too.
        """
        self._saw_other(len(body))
