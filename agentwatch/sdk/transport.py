"""The two drivers, sync and async, by which a watched client's requests travel.

Both do the same in the same order: look where the request leads, ask the session which way it may
go, carry it there, and look at what comes back. What they decide by has no I/O and stands above
them. `lib` is httpx or httpx2, whichever the client is made of: an HTTP client of one does not take
the other's answers.
"""

from __future__ import annotations

import os
import weakref
from types import ModuleType
from typing import Any

from agentwatch.sdk.again import MOST_TIMES, is_unheard, watched_body
from agentwatch.sdk.answers import AsyncEnding, AsyncTapped, Ending, Tapped, stream_class
from agentwatch.sdk.denial import Denial, denial_of
from agentwatch.sdk.door import Door
from agentwatch.sdk.forks import ForkLock
from agentwatch.sdk.loops import elsewhere, running_loop
from agentwatch.sdk.route import BASE_HEADER, SLOTS, daemon_headers, daemon_path, own_base
from agentwatch.sdk.session import Session, Straight, Through
from agentwatch.sdk.straight import Alone, prepare

#: the key of a client that has none of its own: the daemon has it
NO_KEY = "no-key-here-the-daemon-has-it"
#: the base URL of the client that made a request, kept with it
BASE = "agentwatch_base"
_OURS = ("aws_", "awk_")
_EVENT_STREAM = "text/event-stream"


class Gate:
    """What a client's requests go by; its copies share it."""

    def __init__(self, provider: str, session: Session, base: str, *, raises: bool = False) -> None:
        self.provider = provider
        self.session = session
        self.base = base
        #: this SDK hands on what a transport raises, and reads no refusal of its own out of answers
        self.raises = raises

    def path(self, request: Any) -> str | Denial:
        """The request's path at the daemon."""
        base = self.base_of(request)
        path = daemon_path(self.provider, base, str(request.url))
        if path is not None:
            return path
        return Denial(
            "path_not_governed",
            f"AgentWatch: this client is governed at {base} only, and was asked for another "
            "server: use a client of its own for it",
            self.session.id,
        )

    def base_of(self, request: Any) -> str:
        """The base URL of the client that made a request."""
        return str(request.extensions.get(BASE) or self.base)

    def told_base(self, request: Any) -> str:
        """That base URL where the daemon has to be told; "" where the provider says it."""
        return own_base(self.provider, self.base_of(request))

    def answer(self, lib: ModuleType, denial: Denial) -> Any:
        """A refusal as the answer that the provider's SDK makes an error of."""
        error = denial.error()
        if self.raises and error is not None:
            raise error
        return lib.Response(denial.status, headers=denial.headers, content=denial.content)


def own_key(request: Any) -> bool:
    """Whether the request carries a key that the provider itself takes."""
    for slot in SLOTS:
        value = request.headers.get(slot, "").removeprefix("Bearer ").strip()
        if value:
            return value != NO_KEY and not value.startswith(_OURS)
    return False


def _for_daemon(lib: ModuleType, request: Any, path: str, gate: Gate, through: Through) -> Any:
    address = through.door.address
    host = "agentwatch" if isinstance(address, str) else "{}:{}".format(*address)
    base = gate.told_base(request)
    told = {BASE_HEADER: base} if base else {}
    return lib.Request(
        request.method,
        f"http://{host}{path}",
        headers=daemon_headers(request.headers.raw, through.way, host, told),
        stream=watched_body(lib, request.stream),
        extensions=request.extensions,
    )


def _for_provider(lib: ModuleType, request: Any, alone: Alone) -> Any:
    dropped = ("content-length", "transfer-encoding", "accept-encoding", "content-encoding")
    headers = [
        (name, value)
        for name, value in request.headers.raw
        if name.lower().decode("latin-1") not in dropped
    ]
    headers.append((b"accept-encoding", b"identity"))
    content = alone.body if request.method != "GET" else None
    return lib.Request(
        request.method, request.url, headers=headers, content=content, extensions=request.extensions
    )


def _is_stream(response: Any) -> bool:
    return str(response.headers.get("content-type", "")).startswith(_EVENT_STREAM)


class _Transport:
    """What both have in common: whose requests, and the client that they go by else."""

    def __init__(self, lib: ModuleType, gate: Gate, own: Any) -> None:
        self.lib = lib
        self.gate = gate
        #: the HTTP client as it was, by which calls go straight to the provider
        self.own = own

    def _straight(self, request: Any) -> Any:
        return self.own._transport_for_url(request.url)


def _ways_in(lib: ModuleType, door: Door) -> dict[str, Any]:
    """How the connections to a daemon are made."""
    limits = lib.Limits(max_connections=1000, max_keepalive_connections=100)
    at = {"uds": door.address} if isinstance(door.address, str) else {}
    return {"limits": limits, "trust_env": False, **at}


class GovernedTransport(_Transport):
    """Carries a sync client's requests."""

    def __init__(self, lib: ModuleType, gate: Gate, own: Any) -> None:
        super().__init__(lib, gate, own)
        self._pools: dict[tuple[int, Any], Any] = {}
        self._lock = ForkLock()

    def handle_request(self, request: Any) -> Any:
        """One request, there and back."""
        path = self.gate.path(request)
        if isinstance(path, Denial):
            return self.gate.answer(self.lib, path)
        session, alone, times = self.gate.session, own_key(request), 1
        verdict = session.admit(can_go_alone=alone)
        while isinstance(verdict, Through):
            sent = _for_daemon(self.lib, request, path, self.gate, verdict)
            try:
                answer = self._pool(verdict.door).handle_request(sent)
            except self.lib.TransportError as error:
                if times > MOST_TIMES or not is_unheard(self.lib, error, sent, verdict.door):
                    raise
            else:
                return self._received(answer, verdict)
            times += 1
            verdict = session.admit(can_go_alone=alone, anew=True)
        if isinstance(verdict, Denial):
            return self.gate.answer(self.lib, verdict)
        return self._alone(request, path)

    def _received(self, response: Any, through: Through) -> Any:
        session = self.gate.session
        if "x-agentwatch-denied" in response.headers:
            denial = denial_of(response.status_code, response.headers, response.read())
            assert denial is not None
            session.heard(denial)
            return self.gate.answer(self.lib, denial) if self.gate.raises else response
        session.heard(None, through.known)
        if _is_stream(response):
            response.stream = stream_class(self.lib, Ending)(response.stream, session)
        return response

    def _alone(self, request: Any, path: str) -> Any:
        body = request.read()
        base = self.gate.told_base(request)
        alone = prepare(self.gate.session, request.method, path, request.headers, body, base)
        if isinstance(alone, Denial):
            return self.gate.answer(self.lib, alone)
        sent = _for_provider(self.lib, request, alone)
        try:
            response = self._straight(request).handle_request(sent)
        except (self.lib.ConnectError, self.lib.ConnectTimeout):
            alone.never_sent()
            raise
        tap = alone.answered(response.status_code, response.headers)
        if tap is not None:
            response.stream = stream_class(self.lib, Tapped)(response.stream, tap)
        return response

    def _pool(self, door: Door) -> Any:
        """Connections to the daemon; a fork's are its own."""
        key = (os.getpid(), door.address)
        pool = self._pools.get(key)
        if pool is None:
            with self._lock:
                pool = self._pools.setdefault(key, self._new_pool(door))
        return pool

    def _new_pool(self, door: Door) -> Any:
        return self.lib.HTTPTransport(**_ways_in(self.lib, door))

    def close(self) -> None:
        """Close the connections to the daemon, and the client as it was."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
        self.own.close()

    def __enter__(self) -> GovernedTransport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncGovernedTransport(_Transport):
    """Carries an async client's requests. Each event loop has connections of its own."""

    def __init__(self, lib: ModuleType, gate: Gate, own: Any) -> None:
        super().__init__(lib, gate, own)
        self._loops: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = weakref.WeakKeyDictionary()

    async def handle_async_request(self, request: Any) -> Any:
        """One request, there and back."""
        path = self.gate.path(request)
        if isinstance(path, Denial):
            return self.gate.answer(self.lib, path)
        verdict, times = await self._admitted(request), 1
        while isinstance(verdict, Through):
            sent = _for_daemon(self.lib, request, path, self.gate, verdict)
            try:
                answer = await self._pool(verdict.door).handle_async_request(sent)
            except self.lib.TransportError as error:
                if times > MOST_TIMES or not is_unheard(self.lib, error, sent, verdict.door):
                    raise
            else:
                return await self._received(answer, verdict)
            times += 1
            verdict = await self._admitted(request, anew=True)
        if isinstance(verdict, Denial):
            return self.gate.answer(self.lib, verdict)
        return await self._alone(request, path)

    async def _admitted(self, request: Any, *, anew: bool = False) -> Through | Straight | Denial:
        session, alone = self.gate.session, own_key(request)
        if session.is_ready and not anew:
            return session.admit(can_go_alone=alone)
        return await elsewhere(lambda: session.admit(can_go_alone=alone, anew=anew))

    async def _received(self, response: Any, through: Through) -> Any:
        session = self.gate.session
        if "x-agentwatch-denied" in response.headers:
            denial = denial_of(response.status_code, response.headers, await response.aread())
            assert denial is not None
            session.heard(denial)
            return self.gate.answer(self.lib, denial) if self.gate.raises else response
        session.heard(None, through.known)
        if _is_stream(response):
            response.stream = stream_class(self.lib, AsyncEnding)(response.stream, session)
        return response

    async def _alone(self, request: Any, path: str) -> Any:
        body = await request.aread()
        session, method, headers = self.gate.session, request.method, request.headers
        base = self.gate.told_base(request)
        alone = await elsewhere(lambda: prepare(session, method, path, headers, body, base))
        if isinstance(alone, Denial):
            return self.gate.answer(self.lib, alone)
        sent = _for_provider(self.lib, request, alone)
        try:
            response = await self._straight(request).handle_async_request(sent)
        except (self.lib.ConnectError, self.lib.ConnectTimeout):
            await elsewhere(alone.never_sent, always=True)
            raise
        tap = alone.answered(response.status_code, response.headers)
        if tap is not None:
            response.stream = stream_class(self.lib, AsyncTapped)(response.stream, tap)
        return response

    def _pool(self, door: Door) -> Any:
        pools = self._loops.setdefault(running_loop(), {})
        key = (os.getpid(), door.address)
        if key not in pools:
            pools[key] = self.lib.AsyncHTTPTransport(**_ways_in(self.lib, door))
        return pools[key]

    async def aclose(self) -> None:
        """Close this loop's connections to the daemon, and the client as it was."""
        for pool in self._loops.pop(running_loop(), {}).values():
            await pool.aclose()
        await self.own.aclose()

    async def __aenter__(self) -> AsyncGovernedTransport:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
