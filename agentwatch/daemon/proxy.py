"""The agents' door: who calls, in which dialect, and the answer's way to the client."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import NamedTuple

from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from agentwatch.core.money import usd_text
from agentwatch.daemon.access import identify
from agentwatch.daemon.bases import BASE_HEADER, Bases
from agentwatch.daemon.doors import check_origin, connection_of, read_body
from agentwatch.daemon.governor import Call, Governor
from agentwatch.daemon.keys import Keys
from agentwatch.daemon.large_bodies import LargeBodies
from agentwatch.daemon.log import scrub
from agentwatch.daemon.refusals import refusal_for
from agentwatch.daemon.relay import ClientGone, refusal_headers
from agentwatch.errors import Refusal
from agentwatch.settings import Settings
from agentwatch.upstreams import Place
from agentwatch.wire.dialect import Ask, Dialect, Request
from agentwatch.wire.unmetered import UnmeteredRequest

_TOKEN_PATH = re.compile(r"/s/(aws_[A-Za-z0-9_-]{20,100})(/.*)", re.DOTALL)


class Target(NamedTuple):
    """A request's path taken apart: whose wire, below which prefix, with which query."""

    provider: str
    path: str
    query: str
    token: str | None


class Proxy:
    """Takes agents' requests on the port and on the socket alike."""

    def __init__(
        self,
        governor: Governor,
        dialects: Mapping[str, Dialect],
        keys: Keys,
        settings: Settings,
    ) -> None:
        self._governor = governor
        self._dialects = dialects
        self._keys = keys
        self._settings = settings
        self._large = LargeBodies()
        self.bases = Bases(settings, self._at_home)

    def target(self, raw_path: str) -> Target | None:
        """The provider that a path as it came on the wire leads to; None: it leads to none."""
        token = None
        if found := _TOKEN_PATH.fullmatch(raw_path):
            token, raw_path = found.groups()
        path, _, query = raw_path.partition("?")
        provider, slash, rest = path.removeprefix("/").partition("/")
        if not path.startswith("/") or provider not in self._dialects or not slash:
            return None
        return Target(provider, "/" + rest, query, token)

    async def handle(
        self, request: web.BaseRequest, target: Target, port: int | None
    ) -> web.StreamResponse:
        """Answer one request of an agent."""
        dialect = self._dialects[target.provider].at(target.path)
        client = HttpClient(request, self._settings.doors.write_timeout_s)
        session = call = None
        try:
            check_origin(request, port)
            session, slot = identify(
                self._governor.store,
                self._keys,
                request.headers,
                target.query,
                target.token,
                target.provider,
            )
            target = self._meant(target, request.headers.get(BASE_HEADER))
            dialect = self._dialects[target.provider].at(target.path)
            call = await self._read(request, target, dialect, session.name, slot)
            await self._governor.serve(call, client)
        except Refusal as refusal:
            if session is not None:
                self._governor.refused(session, refusal, call.ask if call else None)
            return _refused(request.headers, dialect, refusal, session.name if session else None)
        except asyncio.CancelledError:
            # the call's own task was ended, as its client has gone
            if not client.is_gone:
                raise
        finally:
            connection_of(request).forget()
        return client.response or web.Response(status=499)

    def _at_home(self, path: str) -> Place | None:
        found = self.target(path)
        return None if found is None else Place(found.provider, found.path.rstrip("/"))

    def _meant(self, target: Target, base: str | None) -> Target:
        """The target that a client with a base URL of its own means. Raises Refusal."""
        if base is None:
            return target
        place = self.bases.place(target.provider, base)
        return target._replace(provider=place.provider, path=place.path(target.path))

    async def _read(
        self,
        request: web.BaseRequest,
        target: Target,
        dialect: Dialect,
        session_id: str,
        slot: tuple[str, str],
    ) -> Call:
        headers: Mapping[str, str] = request.headers
        # any other protocol may be offered (h2c is, by Java's client), and need not be taken
        if headers.get("Upgrade", "h2c").strip().lower() != "h2c":
            raise Refusal(
                "websocket_not_governed",
                "AgentWatch: WebSockets can't be metered yet: use HTTP (streaming works)",
            )
        query = "&".join(part for part in target.query.split("&") if part[:4] != "key=")
        with self._large.place() as place:
            body = await read_body(request, self._settings.doors, place)
            scan = partial(dialect.read, request.method, target.path, query, headers, body)
            try:
                ask, read = await self._large.scanned(len(body), scan)
            except Refusal as refusal:
                if refusal.reason != "path_not_governed" or not self._is_open(target):
                    raise
                ask, read = _unmetered(target, query, body)
            else:
                headers = _as_read(request.headers, body, ask.content_type)
        return Call(session_id, dialect, ask, read, request.method, headers, slot)

    def _is_open(self, target: Target) -> bool:
        """Whether the user opened this path knowingly ([providers.NAME] passthrough)."""
        opened = self._settings.provider(target.provider).passthrough
        plain = re.fullmatch(r"[A-Za-z0-9/_.:-]+", target.path) and ".." not in target.path
        return bool(plain) and any(
            target.path == path or target.path.startswith(path.rstrip("/") + "/") for path in opened
        )


def _unmetered(target: Target, query: str, body: bytes) -> tuple[Ask, Request]:
    path = target.path.removeprefix("/v1") if target.path.startswith("/v1/") else target.path
    ask = Ask(
        provider=target.provider,
        api="passthrough",
        upstream_path=f"{path}?{query}" if query else path,
        model="",
        input_bound=0,
        has_output=False,
        free=True,
    )
    return ask, UnmeteredRequest(body)


def _as_read(headers: CIMultiDictProxy[str], body: bytes, content_type: str) -> Mapping[str, str]:
    """The headers, saying of the body what it was read as: with another type or charset (utf-7)
    a provider might read another request out of the same bytes."""
    if not body or headers.getall("Content-Type", []) == [content_type]:
        return headers
    told = CIMultiDict(headers)
    told["Content-Type"] = content_type
    return told


def _refused(
    asked: Mapping[str, str], dialect: Dialect, refusal: Refusal, session_id: str | None
) -> web.Response:
    # what was asked for is repeated in some messages, and may hold a key
    message = scrub(refusal.message)
    status, body = refusal_for(asked, dialect, refusal.reason, message, refusal.status)
    headers = refusal_headers(refusal.reason)
    if session_id is not None:
        headers["x-agentwatch-session-id"] = session_id
    if refusal.standing is not None:
        account, spent, limit = refusal.standing
        headers["x-agentwatch-account"] = account
        headers["x-agentwatch-spent-usd"] = usd_text(spent)
        headers["x-agentwatch-limit-usd"] = usd_text(limit)
    answer = web.Response(status=status, body=body, headers=headers)
    if status in (408, 413, 415, 417, 426) or refusal.reason == "unknown_credential":
        # what is left of the body is not waited for
        answer.force_close()
    return answer


class HttpClient:
    """The client at the other end of an aiohttp request."""

    def __init__(self, request: web.BaseRequest, write_timeout_s: float) -> None:
        self._request = request
        self._write_timeout_s = write_timeout_s
        self._connection = connection_of(request)
        self.response: web.StreamResponse | None = None

    @property
    def is_gone(self) -> bool:
        """Whether the connection is lost."""
        return self._connection.transport is None

    def when_gone(self, do: Callable[[], None]) -> None:
        """Call `do` when the client has gone away."""
        self._connection.when_gone(do)

    async def whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a whole answer."""
        self.response = web.Response(status=status, headers=headers, body=body)
        await self._sent(self._prepare_whole())

    async def _prepare_whole(self) -> None:
        assert self.response is not None
        await self.response.prepare(self._request)
        await self.response.write_eof()

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Begin an answer of unknown length."""
        self.response = web.StreamResponse(status=status, headers=headers)
        await self._sent(self.response.prepare(self._request))

    async def write(self, data: bytes) -> None:
        """Send some more of it."""
        assert self.response is not None
        await self._sent(self.response.write(data))

    async def finish(self) -> None:
        """It is complete."""
        assert self.response is not None
        await self._sent(self.response.write_eof())

    def break_off(self) -> None:
        """Close the connection, so that the answer can't be taken for complete."""
        transport = self._connection.transport
        if transport is not None:
            transport.abort()  # no isinstance: uvloop's transports are none of asyncio's

    async def _sent(self, sending: Awaitable[object]) -> None:
        """A client that takes nothing for too long is one that has gone.

        A timer, as it costs a thirtieth of asyncio.timeout, and this is done for every chunk.
        """
        watch = asyncio.get_running_loop().call_later(self._write_timeout_s, self.break_off)
        try:
            await sending
        except ConnectionError as error:
            raise ClientGone from error
        finally:
            watch.cancel()
