"""The people's door: JSON over HTTP on the Unix socket, by the rows that its parts bring.

A process that comes out of a wrapped session may read its own session and lower its budget, and
nothing else: it is known by its mark or its ancestors, and shows its session's token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web

from agentwatch.core.accounts import Session
from agentwatch.daemon.access import KEY_PREFIX, Wrappers, presented, session_of_token
from agentwatch.daemon.control_alerts import AlertCalls
from agentwatch.daemon.control_budgets import BudgetCalls
from agentwatch.daemon.control_sessions import SessionCalls
from agentwatch.daemon.control_telemetry import TelemetryCalls
from agentwatch.daemon.courier import Courier
from agentwatch.daemon.doors import check_origin, connection_of
from agentwatch.daemon.elsewhere import Elsewhere
from agentwatch.daemon.fields import json_body
from agentwatch.daemon.governor import Governor
from agentwatch.daemon.keys import Keys
from agentwatch.daemon.preflight import Preflight
from agentwatch.daemon.recheck import check_configuration
from agentwatch.daemon.routes import (
    Answer,
    Asked,
    Route,
    error_answer,
    find,
    json_answer,
    not_from_inside,
    row,
)
from agentwatch.daemon.shapes import SCHEMA_VERSION
from agentwatch.errors import (
    AgentWatchError,
    JournalUnavailable,
    LedgerError,
    Refusal,
    UnknownAccount,
    UnknownHold,
    UsageError,
)
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
    ) -> None:
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
        self.routes = (*self._own_routes(), *(each for part in parts for each in part.routes()))

    def _own_routes(self) -> tuple[Route, ...]:
        return (
            row("GET", r"/v1/healthz", self.healthz, inside=True, port=True, anybody=True),
            row("GET", r"/v1/status", self.status, inside=True, anybody=True),
            row("GET", r"/v1/verify", self.verify),
            row("POST", r"/v1/restart", self.restart),
        )

    async def handle(self, request: web.BaseRequest, port: int | None) -> web.StreamResponse:
        """Answer one request; `port` is None on the socket."""
        answer = await self._answered(request, port)
        if port is not None and answer.status >= 400:
            # nobody has business here: CONNECT leaves no request behind, a body is not waited for
            answer.force_close()
        return answer

    async def _answered(self, request: web.BaseRequest, port: int | None) -> web.StreamResponse:
        try:
            check_origin(request, port)
            return await self._answer(request, port)
        except Refusal as refusal:
            status = refusal.status or 403
            return error_answer(status, refusal.reason, refusal.message, refusal.standing)
        except UnknownAccount as error:
            return error_answer(404, "unknown_session", str(error))
        except UnknownHold as error:
            return error_answer(404, "unknown_hold", str(error))
        except UsageError as error:
            return error_answer(400, "bad_request", str(error))
        except JournalUnavailable as error:
            return error_answer(503, "governance_unavailable", str(error))
        except LedgerError as error:
            return error_answer(409, "conflict", str(error))
        except AgentWatchError as error:
            return error_answer(500, "failed", str(error))

    async def _answer(self, request: web.BaseRequest, port: int | None) -> web.StreamResponse:
        path, _, _ = request.raw_path.partition("?")
        route, names = find(self.routes, request.method, path)
        inside = self._wrapped_in(request, route, port)
        body = await json_body(request, self._settings.doors)
        answer = await route.do(Asked(request, names, body, inside))
        if isinstance(answer, web.StreamResponse):
            return answer
        return json_answer(200, {"schema_version": SCHEMA_VERSION, **answer})

    # ---- who calls

    def _wrapped_in(
        self, request: web.BaseRequest, route: Route, port: int | None
    ) -> Session | None:
        if port is not None:
            self._check_port(request, route)
            return None
        connection = connection_of(request)
        wrapped = connection.peer_is_marked or (
            connection.peer is not None and self._wrappers.wrap(connection.peer[0])
        )
        if not wrapped:
            return None
        if route.anybody:
            return None
        credential = presented(request.headers, "")
        session = session_of_token(self._store, credential.value) if credential else None
        if session is None or not route.inside:
            raise not_from_inside()
        return session

    def _check_port(self, request: web.BaseRequest, route: Route) -> None:
        if not route.port:
            raise Refusal(
                "path_not_governed",
                "AgentWatch: control calls are taken on the Unix socket only "
                "(`agentwatch status` shows where it is)",
                status=404,
            )
        if route.anybody:
            return
        credential = presented(request.headers, "")
        value = credential.value if credential else ""
        if not value.startswith(KEY_PREFIX) or self._keys.agentwatch_key(value) is None:
            raise Refusal(
                "unknown_credential", "AgentWatch: this asks for an AgentWatch key", status=401
            )

    # ---- the daemon

    async def healthz(self, asked: Asked) -> Answer:
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
