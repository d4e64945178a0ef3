"""The way an answer's bytes take to the network, with all that can be wrong about it.

A Line is opened once with a status, is given bytes, and ends in one of three ways: well (`finish`),
by a close in mid-answer (`hang_up`, a FIN) or by a reset (`reset`, an RST).
"""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib
from functools import lru_cache

from aiohttp import web

from agentwatch.standin.script import Script

_EOLS = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}
#: so much goes out in one write of a long line
_SLICE = 1 << 20
_BOMB_BYTES = 256 << 20


class Line:
    """One answer on one connection."""

    def __init__(self, request: web.BaseRequest, script: Script) -> None:
        self._request = request
        self._script = script
        self._response: web.StreamResponse | None = None
        self._eol = _EOLS.get(script.eol, b"\n")
        self._zip = zlib.compressobj(wbits=31) if script.gzip in ("on", "truncated") else None

    @property
    def response(self) -> web.StreamResponse:
        """What the server is to be handed; one that was never sent where nothing was."""
        return self._response or web.StreamResponse(status=500)

    async def stream(self, headers: dict[str, str]) -> None:
        """Send the head of server-sent events."""
        await self._open({"Content-Type": "text/event-stream; charset=utf-8", **headers}, None)

    async def events(self, data: bytes) -> None:
        """Send events that were written with LF."""
        if data:
            await self._write(data if self._eol == b"\n" else data.replace(b"\n", self._eol))

    async def whole(self, headers: dict[str, str], body: bytes, share: float = 1.0) -> None:
        """Send an unstreamed answer, or only the first `share` of its bytes."""
        if self._script.gzip:
            body = self._packed(body)
        await self._open({"Content-Type": "application/json", **headers}, len(body))
        await self._put(body[: int(len(body) * share)])

    async def finish(self) -> None:
        """End the answer well."""
        if self._zip is not None and self._script.gzip == "on" and self._response is not None:
            await self._put(self._zip.flush())
        if self._response is not None:
            await self._response.write_eof()

    def hang_up(self) -> None:
        """Close in mid-answer, once what was written has gone out."""
        transport = self._request.transport
        if transport is not None:
            transport.close()

    def reset(self) -> None:
        """Reset the connection: the other end gets an RST, unsent bytes are lost."""
        transport = self._request.transport
        if transport is None:
            return
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    async def _open(self, headers: dict[str, str], length: int | None) -> None:
        if self._script.gzip:
            headers["Content-Encoding"] = "gzip"
        response = web.StreamResponse(status=200, headers=headers)
        if length is None:
            response.enable_chunked_encoding()
            self._zip = None if self._script.gzip == "bomb" else self._zip
        else:
            response.content_length = length
            self._zip = None
        await response.prepare(self._request)
        self._response = response
        if length is None and self._script.gzip == "bomb":
            await self._put(_bomb())

    def _packed(self, body: bytes) -> bytes:
        if self._script.gzip == "bomb":
            return _bomb()
        packed = zlib.compressobj(wbits=31)
        data = packed.compress(body) + packed.flush()
        return data[: len(data) // 2] if self._script.gzip == "truncated" else data

    async def _write(self, data: bytes) -> None:
        if self._zip is not None:
            data = self._zip.compress(data) + self._zip.flush(zlib.Z_SYNC_FLUSH)
        await self._put(data)

    async def _put(self, data: bytes) -> None:
        assert self._response is not None
        if len(data) <= _SLICE and not self._script.write:
            await self._response.write(data)
            return
        step = self._script.write or _SLICE
        for at in range(0, len(data), step):
            await self._response.write(data[at : at + step])
            await asyncio.sleep(0)


@lru_cache(maxsize=1)
def _bomb() -> bytes:
    """Some hundred kilobytes of gzip that unpack into a quarter of a gigabyte of blanks."""
    packed = zlib.compressobj(wbits=31)
    blanks = b" " * _SLICE
    parts = [packed.compress(blanks) for _ in range(_BOMB_BYTES // _SLICE)]
    return b"".join(parts) + packed.flush()
