"""The doors' own checks, before anything is read of a request: time, size, version, who calls.

aiohttp gives a connection all the time in the world to send its head, takes HTTP/0.9 and any
Host, and repeats what it could not parse, secrets included, in its answer and its log. Here a head
has a time limit, what can't be parsed is answered without its words, and a browser is kept out.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import select
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from agentwatch.daemon import frames
from agentwatch.daemon.encodings import KNOWN, GrowsTooLong, Undecodable, decode_whole
from agentwatch.daemon.large_bodies import LARGE_BYTES, Place
from agentwatch.errors import Refusal
from agentwatch.mark import is_marked
from agentwatch.sections import DoorsSettings

logger = logging.getLogger(__name__)

MAX_LINE_BYTES = 16_384
_VERSIONS = ((1, 0), (1, 1))
#: of <asm-generic/socket.h>, since Linux 6.5; Python's `socket` does not name it
_SO_PEERPIDFD = 77
_BAD_REQUEST = (
    '{"error":{"message":"AgentWatch: the request is not valid HTTP/1.1",'
    '"type":"invalid_request_error","param":null,"code":"bad_request"}}'
)


class Connection(RequestHandler):
    """One client's connection."""

    def __init__(
        self, *args: Any, head_timeout_s: float, speak_frames: SpeakFrames | None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        #: None: frames are not spoken here, or not on this connection
        self._speak_frames = speak_frames
        self._frames: frames.Frames | None = None
        self._head_timeout_s = head_timeout_s
        self._head_timer: asyncio.TimerHandle | None = None
        self._when_gone: list[Callable[[], None]] = []
        #: it is an event stream, which ends when it is told to
        self.follows = False
        #: the process at the other end of a Unix socket
        self.pid: int | None = None
        #: whether that process came out of a wrapped session
        self.peer_is_marked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._expect_head()
        self.pid = _peer(transport)
        if self.pid is not None:
            self.peer_is_marked = is_marked(self.pid) or not _peer_lives(transport)

    def data_received(self, data: bytes) -> None:
        if self._speak_frames is not None:
            if data[:1] == frames.FIRST:
                self._frames = self._speak_frames(self)
            self._speak_frames = None
        if self._frames is not None:
            self._feed(self._frames, data)
            return
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._head_is_there()
        elif self._awaits_head and self._head_timer is None:
            self._expect_head()

    def _feed(self, spoken: frames.Frames, data: bytes) -> None:
        spoken.feed(data)
        if not spoken.is_within:
            self._head_is_there()
        elif self._head_timer is None:
            self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)
        waiting, self._when_gone = self._when_gone, []
        for do in waiting:
            do()

    def when_gone(self, do: Callable[[], None]) -> None:
        """Call `do` when the connection is lost; at once where it is already."""
        if self.transport is None:
            do()
        else:
            self._when_gone.append(do)

    def is_busy(self, *, spare_new: bool) -> bool:
        """Whether a request is being read or answered on it; with `spare_new` also whether it has
        not had one yet: it was just opened, and its request is on its way."""
        if self.follows:
            return False
        if self._frames is not None:
            return self._frames.is_busy or self._frames.is_within
        if self._request_count == 0:
            return spare_new
        return not self._awaits_head

    @property
    def _awaits_head(self) -> bool:
        """Whether a request has been answered, and the next one has not come. `_current_request`
        is set a tick after a head was read, in which its body may come, or the daemon end."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def is_closing(self) -> bool:
        """Whether nothing more can be sent on it, or the daemon is about to end."""
        return self.transport is None or self.transport.is_closing() or self._close

    def forget(self) -> None:
        """The request that wanted to know when the client is gone has ended."""
        self._when_gone.clear()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= 500:
            logger.error("a request failed", exc_info=exc)
        else:
            logger.info("a request could not be read (%s)", type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        text = _BAD_REQUEST if status < 500 else '{"error":{"message":"AgentWatch failed"}}'
        answer = web.Response(status=status, text=text, content_type="application/json")
        answer.force_close()
        return answer

    def _expect_head(self) -> None:
        loop = asyncio.get_running_loop()
        self._head_timer = loop.call_later(self._head_timeout_s, self._head_is_late)

    def _head_is_there(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        self.force_close()


#: what a connection is given that speaks frames
SpeakFrames = Callable[[Connection], frames.Frames]


class Door(web.Server):
    """A server whose connections keep the rules above."""

    def __init__(
        self,
        handler: Any,
        settings: DoorsSettings,
        most: int = 1 << 20,
        speak_frames: SpeakFrames | None = None,
    ) -> None:
        """With more than `most` connections, the oldest on which nothing goes on give way.
        `speak_frames`: frames are spoken as well."""
        super().__init__(
            handler,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=75.0,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            tcp_keepalive=False,
            lingering_time=1.0,
        )
        self._settings = settings
        self._speak_frames = speak_frames
        self._most = most
        #: in the order in which they came
        self._open: dict[Connection, None] = {}

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        assert isinstance(handler, Connection)
        self._open[handler] = None
        if len(self._open) > self._most:
            self._make_room(handler)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        assert isinstance(handler, Connection)
        self._open.pop(handler, None)

    def _make_room(self, newest: Connection) -> None:
        """Let the oldest idle connection go, so that descriptors are left for calls."""
        for connection in self._open:
            if connection is newest:
                return
            if connection.transport is not None and not connection.is_busy(spare_new=False):
                connection.force_close()
                return

    def close_idle(self, *, spare_new: bool) -> bool:
        """Close the connections on which nothing goes on; True while something does on others.

        aiohttp's own way closes all of them to what is still to come, bodies half read included.
        """
        busy = False
        for connection in list(self._open):
            if connection.is_busy(spare_new=spare_new):
                busy = True
            else:
                # at once: what comes from now on is not read, and the kernel says so to who sent it
                connection.force_close()
        return busy

    def __call__(self) -> Connection:
        return Connection(
            self,
            loop=self._loop,
            head_timeout_s=self._settings.head_timeout_s,
            speak_frames=self._speak_frames,
            **self._kwargs,
        )


def connection_of(request: web.BaseRequest) -> Connection:
    """The connection that a request came on."""
    assert isinstance(request.protocol, Connection)
    return request.protocol


def check_origin(request: web.BaseRequest, port: int | None) -> None:
    """Refuse what a browser sends, and hosts that are not this loopback address (DNS rebinding).

    `port` is None on the Unix socket, where no browser comes. Raises Refusal(bad_request, 403).
    """
    if request.version not in _VERSIONS:
        raise Refusal("bad_request", "AgentWatch: this is no HTTP/1.1 request", status=400)
    headers = request.headers
    codings = headers.getall("Transfer-Encoding", ["chunked"])
    if [coding.strip().lower() for coding in codings] != ["chunked"]:
        raise Refusal("bad_request", "AgentWatch: the only transfer coding taken is chunked")
    sites = headers.getall("Sec-Fetch-Site", [])
    if "Origin" in headers or any(site != "none" for site in sites):
        raise Refusal("bad_request", "AgentWatch: browsers are not served", status=403)
    if port is None:
        return
    hosts = headers.getall("Host", [])
    allowed = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
    if len(hosts) != 1 or hosts[0].lower() not in allowed:
        raise Refusal("bad_request", f"AgentWatch: the Host must be 127.0.0.1:{port}", status=403)


async def read_body(
    request: web.BaseRequest, settings: DoorsSettings, place: Place | None = None
) -> bytes:
    """The body, decoded, within its limits of size and time; a large one when it has its `place`.
    A client that waits to be asked for it is asked.

    Raises Refusal(bad_request) with 400, 408, 413, 415 or 417.
    """
    limit = settings.max_body_mb << 20
    encodings = request.headers.getall("Content-Encoding", [])
    encoding = encodings[0].strip().lower() if len(encodings) == 1 else ""
    if len(encodings) > 1 or (encodings and encoding not in KNOWN):
        raise Refusal(
            "bad_request",
            "AgentWatch: bodies are taken plain, in gzip, deflate or zstd",
            status=415,
        )
    if (request.content_length or 0) > limit:
        raise _too_long(settings)
    await _ask_for_body(request)
    body = await _read(request, limit, settings, place)
    if encoding in ("", "identity"):
        return body
    try:
        return await asyncio.to_thread(decode_whole, encoding, body, limit)
    except Undecodable as error:
        raise Refusal(
            "bad_request",
            f"AgentWatch: the {encoding} body can't be decoded: {error}",
            status=413 if isinstance(error, GrowsTooLong) else 400,
        ) from error


async def _ask_for_body(request: web.BaseRequest) -> None:
    expected = request.headers.get("Expect")
    if expected is None or request.version < (1, 1):
        return
    if expected.strip().lower() != "100-continue":
        raise Refusal("bad_request", "AgentWatch: only 100-continue can be expected", status=417)
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    # else the answer would count as begun
    request.writer.output_size = 0


async def _read(
    request: web.BaseRequest, limit: int, settings: DoorsSettings, place: Place | None
) -> bytes:
    pieces: list[bytes] = []
    size = 0
    content = request.content
    if content.is_eof() and content.exception() is None and content.total_bytes < LARGE_BYTES:
        whole = content.read_nowait()
        if len(whole) > limit:
            raise _too_long(settings)
        return whole
    try:
        async with asyncio.timeout(settings.body_timeout_s) as time_left:
            async for piece in content.iter_any():
                size += len(piece)
                if size > limit:
                    raise _too_long(settings)
                pieces.append(piece)
                if place is not None:
                    await place.came(size, time_left)
            if place is not None:
                await place.came(size, time_left, whole=True)
    except TimeoutError:
        raise Refusal(
            "bad_request", "AgentWatch: the body did not come in time", status=408
        ) from None
    except (web.RequestPayloadError, web.HTTPException) as error:
        raise Refusal("bad_request", "AgentWatch: the body is not valid HTTP/1.1") from error
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _too_long(settings: DoorsSettings) -> Refusal:
    return Refusal(
        "bad_request",
        f"AgentWatch: the body is over {settings.max_body_mb} MB ([doors] max_body_mb)",
        status=413,
    )


def _peer(transport: asyncio.BaseTransport) -> int | None:
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_UNIX or sys.platform != "linux":
        return None
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", raw)[0])


def _peer_lives(transport: asyncio.BaseTransport) -> bool:
    """Whether the process that connected is still there, so that it is the one that its number
    was looked up by: who connects and ends may leave its connection, and its number, to others.

    True where the kernel can't tell.
    """
    sock = transport.get_extra_info("socket")
    try:
        descriptor = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError as error:
        return error.errno == errno.ENOPROTOOPT
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return not poll.poll(0)
    finally:
        os.close(descriptor)
