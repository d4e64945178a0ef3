"""Server-sent events, fed in any chunks.

Each event keeps the bytes it came in, its closing blank line included, so that the events of a
stream joined are the stream, and one of them can be left out. Lines end at CR, LF or CRLF and at
nothing else (a string of JSON may hold U+2028). An event longer than the limit is handed on in
pieces without being read: memory stays flat whatever an upstream sends.
"""

from __future__ import annotations

import re

from msgspec import Struct

#: bytes of one event above which it is not read
LIMIT = 1 << 20

_LINE_END = rb"(?:\r\n|\n|\r(?!\n))"
_BLANK = re.compile(_LINE_END + _LINE_END)
_LINES = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
#: the longest end of an event: CR LF CR LF
_END = 4


class Event(Struct, frozen=True):
    """One event, or a piece of one that is too long to be read.

    `raw` is what came, `data` the payload; None where the event has none (a comment, a keepalive)
    or was not read, which `unread` tells apart.
    """

    raw: bytes
    data: bytes | None = None
    unread: bool = False


class EventStream:
    """Cuts a stream into events; the same ones however its bytes were chunked."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._kept = bytearray()
        self._skipping = False
        self._has_cr = False

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes."""
        self._has_cr = self._has_cr or b"\r" in chunk
        events = [self._event(*block) for block in self._cut(chunk)]
        if self._skipping or len(self._kept) > self._limit + _END:
            self._release(events)
        return events

    def close(self) -> list[Event]:
        """The stream is at its end: what has no blank line after it, as an event."""
        rest = bytes(self._kept)
        self._kept.clear()
        return [self._event(rest, rest)] if rest else []

    def _cut(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        """The events that are whole, with and without their ends; the rest is kept."""
        kept = self._kept
        seen = max(0, len(kept) - _END + 1)
        if self._has_cr:
            kept += chunk
            return self._cut_anywhere(seen)
        if kept:
            kept += chunk
            if kept.find(b"\n\n", seen) < 0:
                return []
            chunk = bytes(kept)
        *blocks, rest = chunk.split(b"\n\n")
        kept[:] = rest
        return [(block + b"\n\n", block) for block in blocks]

    def _cut_anywhere(self, seen: int) -> list[tuple[bytes, bytes]]:
        kept, blocks, start = self._kept, [], 0
        for end in _BLANK.finditer(kept, seen):
            if end.end() == len(kept) and kept.endswith(b"\r"):
                break  # the LF that belongs to this CR may be in the next chunk
            blocks.append((bytes(kept[start : end.end()]), bytes(kept[start : end.start()])))
            start = end.end()
        del kept[:start]
        return blocks

    def _event(self, raw: bytes, block: bytes) -> Event:
        if self._skipping or len(block) > self._limit:
            self._skipping = False
            return Event(raw, None, True)
        return Event(raw, _data(block))

    def _release(self, events: list[Event]) -> None:
        """Hand on what there is of an event that is too long, but for what may be half its end."""
        self._skipping = True
        cut = len(self._kept) - _END
        if cut > 0:
            events.append(Event(bytes(self._kept[:cut]), None, True))
            del self._kept[:cut]


def _data(block: bytes) -> bytes | None:
    """The payload of one event: the values of its data lines, joined by a newline."""
    if block.startswith(b"data: ") and b"\n" not in block and b"\r" not in block:
        return block[6:]
    block = block.removeprefix(_BOM)
    lines = _LINES.split(block) if b"\r" in block else block.split(b"\n")
    values = [_value(line) for line in lines if line.startswith(b"data:") or line == b"data"]
    return b"\n".join(values) if values else None


def _value(line: bytes) -> bytes:
    return line[5:].removeprefix(b" ")
