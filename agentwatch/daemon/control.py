"""The people's door: JSON over HTTP on the Unix socket, by the rows that its parts bring.

A process that comes out of a wrapped session may read its own session and lower its budget, and
nothing else: it is known by its mark or its ancestors, and shows its session's token.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec
from aiohttp import web

from agentwatch.core.accounts import Session
from agentwatch.daemon.access import KEY_PREFIX, Wrappers, presented, session_of_token
from agentwatch.daemon.control_alerts import AlertCalls
from agentwatch.daemon.control_budgets import BudgetCalls
from agentwatch.daemon.control_sessions import SessionCalls
from agentwatch.daemon.control_telemetry import TelemetryCalls
from agentwatch.daemon.courier import Courier
from agentwatch.daemon.doors import Connection, check_origin, connection_of
from agentwatch.daemon.elsewhere import Elsewhere
from agentwatch.daemon.fields import json_body
from agentwatch.daemon.frames import Framed, Frames, Question
from agentwatch.daemon.governor import Governor
from agentwatch.daemon.keys import Keys
from agentwatch.daemon.preflight import Preflight
from agentwatch.daemon.recheck import check_configuration
from agentwatch.daemon.routes import (
    Answer,
    Asked,
    Route,
    Said,
    Table,
    Told,
    not_from_inside,
    only_over_http,
    row,
    said_of,
)
from agentwatch.daemon.shapes import SCHEMA_VERSION
from agentwatch.daemon.tasks import Tasks
from agentwatch.errors import AgentWatchError, LedgerError, Refusal
from agentwatch.settings import Settings
from agentwatch.wire.dialect import Dialect


class Control:
    """Answers control calls."""

    def __init__(
        self,
        governor: Governor,
        keys: Keys,
        settings: Settings,
        about: Callable[[], Answer],
        restart: Callable[[], None],
        courier: Courier,
        dialects: Mapping[str, Dialect],
        tasks: Tasks,
    ) -> None:
        self._tasks = tasks
        self._governor = governor
        self._store = governor.store
        self._keys = keys
        self._settings = settings
        self._about = about
        self._do_restart = restart
        self._wrappers = Wrappers()
        sessions = SessionCalls(
            self._store,
            governor.events,
            self._wrappers,
            governor.calls_of,
            governor.watch.of,
            governor.telemetry.looked_through,
        )
        alerts = AlertCalls(governor.watch, courier)
        budgets = BudgetCalls(self._store, Preflight(governor, dialects, settings))
        #: calls that are made elsewhere are charged through it
        self.elsewhere = Elsewhere(governor)
        telemetry = TelemetryCalls(governor, metrics_on_port=settings.telemetry.metrics_on_port)
        parts = (sessions, budgets, alerts, self.elsewhere, telemetry)
        #: every row, of all parts
        self.routes = Table(
            (*self._own_routes(), *(each for part in parts for each in part.routes()))
        )

    def _own_routes(self) -> tuple[Route, ...]:
        return (
            row("GET", r"/v1/healthz", self.healthz, inside=True, port=True, anybody=True),
            row("GET", r"/v1/status", self.status, inside=True, anybody=True),
            row("GET", r"/v1/verify", self.verify),
            row("POST", r"/v1/restart", self.restart),
        )

    async def handle(self, request: web.BaseRequest, port: int | None) -> web.StreamResponse:
        """Answer one request; `port` is None on the socket."""
        try:
            said = _said(await self._by_http(request, port))
        except AgentWatchError as error:
            said = said_of(error)
        if isinstance(said, web.StreamResponse):
            return said
        body = msgspec.json.encode(said.answer)
        answer = web.Response(status=said.status, body=body, content_type="application/json")
        if port is not None and said.status >= 400:
            # nobody has business here: CONNECT leaves no request behind, a body is not waited for
            answer.force_close()
        return answer

    async def _by_http(self, request: web.BaseRequest, port: int | None) -> Told:
        check_origin(request, port)
        path, _, query = request.raw_path.partition("?")
        route, names = self.routes.find(request.method, path)
        shown = presented(request.headers, "")
        credential = shown.value if shown else ""
        inside, pid = None, None
        if port is not None:
            self._check_port(route, credential)
        else:
            connection = connection_of(request)
            inside, pid = self._wrapped_in(connection, route, credential), connection.pid
        body = await json_body(request, self._settings.doors)
        told = route.do(Asked(names, query, body, inside, pid, request))
        return await told if isinstance(told, Coroutine) else told

    def framed(self, connection: Connection) -> Frames:
        """The frames of a connection on the socket."""

        def answer(question: Question) -> Framed | Coroutine[Any, Any, Framed]:
            try:
                told = self._by_frame(question, connection)
            except AgentWatchError as error:
                return _framed(said_of(error))
            return _framed_later(told) if isinstance(told, Coroutine) else _framed(told)

        assert connection.transport is not None
        return Frames(connection.transport, answer, self._tasks.spawn)

    def _by_frame(
        self, question: Question, connection: Connection
    ) -> Told | Coroutine[Any, Any, Told]:
        path, _, query = question.path.partition("?")
        route, names = self.routes.find(question.method, path)
        inside = self._wrapped_in(connection, route, question.credential or "")
        return route.do(Asked(names, query, question.body or {}, inside, connection.pid, None))

    # ---- who calls

    def _wrapped_in(self, connection: Connection, route: Route, credential: str) -> Session | None:
        wrapped = connection.peer_is_marked or (
            connection.pid is not None and self._wrappers.wrap(connection.pid)
        )
        if not wrapped:
            return None
        if route.anybody:
            return None
        session = session_of_token(self._store, credential) if credential else None
        if session is None or not route.inside:
            raise not_from_inside()
        return session

    def _check_port(self, route: Route, credential: str) -> None:
        if not route.port:
            raise Refusal(
                "path_not_governed",
                "AgentWatch: control calls are taken on the Unix socket only "
                "(`agentwatch status` shows where it is)",
                status=404,
            )
        if route.anybody:
            return
        if not credential.startswith(KEY_PREFIX) or self._keys.agentwatch_key(credential) is None:
            raise Refusal(
                "unknown_credential", "AgentWatch: this asks for an AgentWatch key", status=401
            )

    # ---- the daemon

    def healthz(self, asked: Asked) -> Answer:
        """Is it there?"""
        return {"status": "ok", "version": self._about()["version"]}

    async def status(self, asked: Asked) -> Answer:
        """All about the process that serves."""
        now = self._store.now()
        return {
            **self._about(),
            "sessions": sum(
                session.state_at(now) not in ("closed", "killed")
                for session in self._store.ledger.sessions.values()
            ),
            "calls": self._governor.calls,
            "waiting": self._governor.waiting,
            "providers": self._keys.providers(),
            "own_providers": list(self._settings.own_providers),
            "ledger_failed": None if self._store.failed is None else str(self._store.failed),
            "fail_open": dict(self._governor.passes),
        }

    async def restart(self, asked: Asked) -> Answer:
        """Have another process take this one's place, by the configuration as it is now.

        Raises Refusal where that is wrong.
        """
        await check_configuration()
        self._do_restart()
        return {"restarting": True}

    async def verify(self, asked: Asked) -> Answer:
        """Read the whole journal again."""
        try:
            entries = await self._store.verify()
        except LedgerError as error:
            return {"ledger": "damaged", "problem": str(error)}
        return {"ledger": "ok", "entries": entries}


def _said(told: Told) -> Said | web.StreamResponse:
    if isinstance(told, dict):
        return Said(200, {"schema_version": SCHEMA_VERSION, **told})
    return told


def _framed(told: Told) -> Framed:
    said = _said(told)
    if isinstance(said, web.StreamResponse):
        said = said_of(only_over_http())
    return Framed(said.status, msgspec.json.encode(said.answer))


async def _framed_later(told: Coroutine[Any, Any, Told]) -> Framed:
    try:
        return _framed(await told)
    except AgentWatchError as error:
        return _framed(said_of(error))
