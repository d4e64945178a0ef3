"""Control calls in frames: what a program asks before and after each call, without what HTTP costs.

A connection on the Unix socket whose first byte is 0 speaks frames and nothing else; no request of
HTTP begins so. Numbers are big-endian:

    question   length (4 bytes), JSON: [method, path and query, body or null, credential or null]
    answer     length (4 bytes), status (2 bytes), JSON: as the same call is answered over HTTP

The length is that of what follows it. A question's first byte is 0, so it is below 16 MB. There is
one question at a time on a connection: who asks before the last one was answered is cut off, and
so is who sends what is no frame.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import msgspec

#: the first byte of a connection that speaks frames
FIRST = b"\0"
_LENGTH = struct.Struct("!I")
_HEAD = struct.Struct("!IH")
_LONGEST = (1 << 24) - 1


class Question(msgspec.Struct, array_like=True, frozen=True):
    """A control call, as it came in a frame."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    credential: str | None = None


_decode = msgspec.json.Decoder(Question).decode


class Framed(NamedTuple):
    """An answer: its status and its JSON."""

    status: int
    body: bytes


#: what has to wait for something is a coroutine
Do = Callable[[Question], Framed | Coroutine[Any, Any, Framed]]


class Frames:
    """One connection's questions, and their answers. `spawn` runs a coroutine on its own."""

    def __init__(
        self,
        transport: asyncio.Transport,
        do: Do,
        spawn: Callable[[Any, str], object],
    ) -> None:
        self._transport = transport
        self._do = do
        self._spawn = spawn
        self._came = bytearray()
        #: a question is being answered
        self.is_busy = False

    @property
    def is_within(self) -> bool:
        """Whether a frame has begun, and not ended."""
        return bool(self._came)

    def feed(self, data: bytes) -> None:
        """Take what came, in any pieces."""
        came = self._came
        came += data
        # who does not take an answer can't have asked again for want of one
        if self.is_busy or came[:1] != FIRST or self._transport.get_write_buffer_size():
            self._cut_off()
            return
        length = _LENGTH.unpack_from(came)[0] if len(came) >= _LENGTH.size else _LONGEST
        missing = _LENGTH.size + length - len(came)
        if missing > 0:
            return
        self._came = bytearray()
        try:
            question = _decode(memoryview(came)[_LENGTH.size :])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._cut_off()
            return
        answer = self._do(question)
        if isinstance(answer, Framed):
            self._send(answer)
        else:
            self.is_busy = True
            self._spawn(self._send_later(answer), "frame")

    async def _send_later(self, answer: Coroutine[Any, Any, Framed]) -> None:
        try:
            framed = await answer
        except BaseException:
            self._cut_off()
            raise
        self.is_busy = False
        if not self._transport.is_closing():
            self._send(framed)

    def _send(self, framed: Framed) -> None:
        self._transport.write(_HEAD.pack(len(framed.body) + 2, framed.status) + framed.body)

    def _cut_off(self) -> None:
        self._came = bytearray()
        self._transport.close()
