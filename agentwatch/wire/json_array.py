"""A JSON array of objects that comes bit by bit, fed in any chunks.

Gemini streams so when nobody asks for server-sent events. Each element keeps the bytes it came in
with the bracket, comma and blanks before it, so that the elements of a stream joined are the
stream, and it can be ended behind any of them. A lone object, which is what an error is, counts as
an element. One that is longer than the limit is handed on in pieces without being read.
"""

from __future__ import annotations

import re

from agentwatch.wire.sse import LIMIT, Event

_MARK = re.compile(rb'["{}\[\]]')
#: the end of a string, or the start of an escape in it
_IN_STRING = re.compile(rb'["\\]')


class ArrayStream:
    """Cuts an array into elements; the same ones however its bytes were chunked."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._kept = bytearray()
        #: where to look on, and where the element's own bytes begin
        self._at = 0
        self._start: int | None = None
        self._depth = 0
        self._base = 0
        self._in_string = False
        self._skipping = False
        #: whether anything was handed on
        self.opened = False
        #: whether the array is closed
        self.closed = False

    def feed(self, chunk: bytes) -> list[Event]:
        """The elements that `chunk` completes."""
        self._kept += chunk
        events: list[Event] = []
        while self._step(events):
            pass
        self._forget_read(events)
        self.opened = self.opened or bool(events)
        return events

    def close(self) -> list[Event]:
        """The stream is at its end: what is no whole element."""
        rest = bytes(self._kept)
        self._kept.clear()
        self._at = 0
        return [Event(rest, None, self._depth > self._base or self._skipping)] if rest else []

    def _step(self, events: list[Event]) -> bool:
        """Go on to the next mark; False where there is none yet."""
        found = (_IN_STRING if self._in_string else _MARK).search(self._kept, self._at)
        if found is None:
            self._at = len(self._kept)
            return False
        mark, self._at = found[0], found.end()
        if mark == b"\\":
            return self._pass_escape()
        if mark == b'"':
            self._in_string = not self._in_string
        elif mark in b"{[":
            self._open(mark, found.start())
        else:
            self._close(mark, events)
        return True

    def _pass_escape(self) -> bool:
        """Pass the letter behind a backslash, which may be in the next chunk."""
        if self._at >= len(self._kept):
            self._at -= 1
            return False
        self._at += 1
        return True

    def _open(self, mark: bytes, at: int) -> None:
        if self._depth == 0 and mark == b"[":
            self._base = 1
        elif self._depth == self._base:
            self._start = at
        self._depth += 1

    def _close(self, mark: bytes, events: list[Event]) -> None:
        self._depth = max(0, self._depth - 1)
        if self._depth == self._base and self._start is not None:
            events.append(self._element())
        elif self._depth == 0:
            self.closed = True

    def _element(self) -> Event:
        raw = bytes(self._kept[: self._at])
        data = None if self._skipping else raw[self._start :]
        event = Event(raw, data, self._skipping)
        del self._kept[: self._at]
        self._at, self._start, self._skipping = 0, None, False
        return event

    def _forget_read(self, events: list[Event]) -> None:
        """Hand on what there is of an element that is too long, and what stands behind the end."""
        too_long = self._at > self._limit
        if too_long or self._skipping or self.closed:
            self._skipping = self._skipping or too_long
            if self._at:
                events.append(Event(bytes(self._kept[: self._at]), None, self._skipping))
            del self._kept[: self._at]
            self._at, self._start = 0, 0 if self._skipping else None
