"""The people's door: a table of routes, JSON over HTTP on the Unix socket.

A process that comes out of a wrapped session may read its own session and lower its budget, and
nothing else: it is known by its mark or its ancestors, and shows its session's token.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec
from aiohttp import web

from agentwatch.core.accounts import Session
from agentwatch.daemon.access import KEY_PREFIX, Wrappers, new_token, presented
from agentwatch.daemon.access import session_of_token as token_session
from agentwatch.daemon.doors import check_origin, connection_of
from agentwatch.daemon.events import Events
from agentwatch.daemon.fields import boolean, check_fields, json_body, money, seconds, text
from agentwatch.daemon.following import follow
from agentwatch.daemon.governor import Governor
from agentwatch.daemon.keys import Keys
from agentwatch.daemon.log import scrub
from agentwatch.daemon.preflight import Preflight
from agentwatch.daemon.shapes import (
    SCHEMA_VERSION,
    budget_shape,
    budgets_shape,
    session_shape,
    sessions_shape,
)
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
from agentwatch.store.store import Written

Answer = dict[str, Any]

_OPEN_FIELDS = (
    "session_id",
    "budget_usd",
    "mode",
    "project",
    "team",
    "on_anomaly",
    "ttl_s",
    "fail_open",
    "wrapper",
)


class Asked(NamedTuple):
    """A control call: what it names, what it brought, who made it."""

    request: web.BaseRequest
    names: Mapping[str, str]
    body: dict[str, Any]
    #: the session that the caller is wrapped in; None: a person
    inside: Session | None


class Route(NamedTuple):
    """One row of the contract's table. `inside`: a wrapped process may call it for its own
    session; `port`: also served on the data port, to who shows an AgentWatch key (or to all)."""

    method: str
    path: re.Pattern[str]
    do: Callable[[Control, Asked], Awaitable[Answer | web.StreamResponse]]
    inside: bool = False
    port: bool = False
    anybody: bool = False


class Control:
    """Answers control calls."""

    def __init__(
        self,
        governor: Governor,
        keys: Keys,
        settings: Settings,
        about: Callable[[], Answer],
        restart: Callable[[], None],
    ) -> None:
        self._governor = governor
        self._store = governor.store
        self._events: Events = governor.events
        self._keys = keys
        self._settings = settings
        self._about = about
        self._do_restart = restart
        self._preflight = Preflight(governor, settings)
        self._wrappers = Wrappers()

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
            return _error(refusal.status or 403, refusal.reason, refusal.message)
        except UnknownAccount as error:
            return _error(404, "unknown_session", str(error))
        except UnknownHold as error:
            return _error(404, "unknown_hold", str(error))
        except UsageError as error:
            return _error(400, "bad_request", str(error))
        except JournalUnavailable as error:
            return _error(503, "governance_unavailable", str(error))
        except LedgerError as error:
            return _error(409, "conflict", str(error))
        except AgentWatchError as error:
            return _error(500, "failed", str(error))

    async def _answer(self, request: web.BaseRequest, port: int | None) -> web.StreamResponse:
        path, _, _ = request.raw_path.partition("?")
        route, names = _find(request.method, path)
        inside = self._wrapped_in(request, route, port)
        body = await json_body(request, self._settings.doors)
        answer = await route.do(self, Asked(request, names, body, inside))
        if isinstance(answer, web.StreamResponse):
            return answer
        return _json(200, {"schema_version": SCHEMA_VERSION, **answer})

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
        session = token_session(self._store, credential.value) if credential else None
        if session is None or not route.inside:
            raise _not_from_inside()
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
            "ledger_failed": None if self._store.failed is None else str(self._store.failed),
            "fail_open": dict(self._governor.passes),
        }

    async def restart(self, asked: Asked) -> Answer:
        """Have another process take this one's place, by the configuration as it is now."""
        self._do_restart()
        return {"restarting": True}

    async def verify(self, asked: Asked) -> Answer:
        """Read the whole journal again."""
        try:
            entries = await self._store.verify()
        except LedgerError as error:
            return {"ledger": "damaged", "problem": str(error)}
        return {"ledger": "ok", "entries": entries}

    # ---- sessions

    async def open_session(self, asked: Asked) -> Answer:
        """Open a session, or the one with that id, and mint a token."""
        body = asked.body
        check_fields(body, _OPEN_FIELDS)
        session_id = text(body, "session_id") or _new_session_id()
        if asked.inside is not None and session_id != asked.inside.name:
            raise _not_from_inside()
        terms = {
            "ceiling": money(body, "budget_usd"),
            "mode": text(body, "mode"),
            "project": text(body, "project"),
            "team": text(body, "team"),
            "on_anomaly": text(body, "on_anomaly"),
            "fail_open": boolean(body, "fail_open"),
            "ttl_s": seconds(body, "ttl_s"),
        }
        wrapper = boolean(body, "wrapper")
        session, _ = self._store.open_session(session_id, **terms)
        token, sha256 = new_token()
        await self._store.mint(session_id, sha256)
        peer = connection_of(asked.request).peer
        if wrapper and asked.inside is None and peer is not None:
            self._wrappers.add(peer[0])
        return {**self._shape(session), "token": token}

    async def sessions(self, asked: Asked) -> Answer:
        """All sessions, the newest last."""
        return {"sessions": await sessions_shape(self._store.ledger, self._store.now())}

    async def session(self, asked: Asked) -> Answer:
        """One session."""
        return self._shape(self._named(asked))

    async def set_budget(self, asked: Asked) -> Answer:
        """Set a session's ceiling; from inside it can only be lowered."""
        session = self._named(asked)
        check_fields(asked.body, ("budget_usd",))
        if "budget_usd" not in asked.body:
            raise UsageError("budget_usd is missing")
        ceiling = money(asked.body, "budget_usd")
        raises = ceiling is None or (session.ceiling is not None and ceiling > session.ceiling)
        if asked.inside is not None and raises:
            raise _not_from_inside()
        await _in_force(self._store.set_ceiling(session.id, ceiling))
        return self._shape(session)

    async def change_state(self, asked: Asked) -> Answer:
        """Kill, pause, resume or close."""
        session = self._named(asked)
        check_fields(asked.body, ("reason",))
        reason = text(asked.body, "reason") or "asked"
        await _in_force(self._store.set_state(session.name, asked.names["verb"], reason[:200]))
        return self._shape(session)

    async def events(self, asked: Asked) -> Answer | web.StreamResponse:
        """What happened, or with ?follow=1 what happens from now on."""
        session_id = self._named(asked).name
        if "follow=1" not in asked.request.raw_path.partition("?")[2].split("&"):
            return {"events": self._events.past(session_id)}
        return await follow(asked.request, self._events, session_id)

    def _shape(self, session: Session) -> Answer:
        return session_shape(session, self._store.now())

    def _named(self, asked: Asked) -> Session:
        session = self._store.ledger.session(asked.names["id"])
        if asked.inside is not None and asked.inside is not session:
            raise _not_from_inside()
        return session

    # ---- budgets

    async def budgets(self, asked: Asked) -> Answer:
        """The monthly budgets of projects and teams."""
        return {"budgets": budgets_shape(self._store.ledger, self._store.now())}

    async def set_monthly(self, asked: Asked) -> Answer:
        """Set, or with null take away, a monthly ceiling."""
        check_fields(asked.body, ("monthly_usd",))
        if "monthly_usd" not in asked.body:
            raise UsageError("monthly_usd is missing")
        name = asked.names["budget"]
        await _in_force(self._store.set_ceiling(name, money(asked.body, "monthly_usd")))
        return budget_shape(self._store.ledger, name, self._store.now())

    # ---- before calls that are made elsewhere

    async def budget_check(self, asked: Asked) -> Answer:
        """How a session stands to its ceiling; changes nothing."""
        return self._preflight.check(asked.request.raw_path.partition("?")[2], asked.inside)

    async def hold(self, asked: Asked) -> Answer:
        """Set money aside for a call."""
        return await self._preflight.hold(asked.body)

    async def end_hold(self, asked: Asked) -> Answer:
        """Settle it, or give it back."""
        return await self._preflight.end(asked.names["hold"], asked.names["verb"], asked.body)


_ID = r"(?P<id>[A-Za-z0-9][A-Za-z0-9._:-]{0,127})"
_ROUTES = tuple(
    Route(method, re.compile(path, re.ASCII), do, *flags)
    for method, path, do, *flags in (
        ("GET", r"/v1/healthz", Control.healthz, True, True, True),
        ("GET", r"/v1/status", Control.status, True, False, True),
        ("GET", r"/v1/verify", Control.verify),
        ("POST", r"/v1/restart", Control.restart),
        ("POST", r"/v1/sessions", Control.open_session, True),
        ("GET", r"/v1/sessions", Control.sessions),
        ("GET", rf"/v1/sessions/{_ID}", Control.session, True),
        ("PUT", rf"/v1/sessions/{_ID}/budget", Control.set_budget, True),
        ("GET", rf"/v1/sessions/{_ID}/events", Control.events, True),
        ("POST", rf"/v1/sessions/{_ID}/(?P<verb>kill|pause|resume|close)", Control.change_state),
        ("GET", r"/v1/budget-check", Control.budget_check, True, True),
        ("POST", r"/v1/holds", Control.hold),
        ("POST", r"/v1/holds/(?P<hold>[A-Za-z0-9]{1,64})/(?P<verb>settle|void)", Control.end_hold),
        ("GET", r"/v1/budgets", Control.budgets),
        ("PUT", r"/v1/budgets/(?P<budget>[^?#\\]{1,200})", Control.set_monthly),
    )
)


def _find(method: str, path: str) -> tuple[Route, Mapping[str, str]]:
    methods = []
    for route in _ROUTES:
        found = route.path.fullmatch(path)
        if found and route.method == method:
            names = {key: unquote(value) for key, value in found.groupdict().items()}
            return route, names
        if found:
            methods.append(route.method)
    if methods:
        raise Refusal("bad_request", f"{path[:100]!a} takes {', '.join(methods)}", status=405)
    raise Refusal("bad_request", f"there is nothing at {path[:100]!a}", status=404)


def _not_from_inside() -> Refusal:
    return Refusal(
        "not_from_inside",
        "from inside a wrapped session its own state can be read and its budget lowered, "
        "nothing else: ask the person who started it",
        status=403,
    )


async def _in_force(written: Written) -> None:
    """Wait until what a person told is written down. Raises Refusal where it can't be: it holds
    all the same, which he is not to doubt."""
    try:
        await written
    except JournalUnavailable as error:
        raise Refusal(
            "governance_unavailable",
            f"this is in force, but would be forgotten if the daemon ended now: {error}",
            status=503,
        ) from error


def _new_session_id() -> str:
    return f"s-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


# ---- answers


def _json(status: int, answer: Answer) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(answer), content_type="application/json"
    )


def _error(status: int, code: str, message: str) -> web.Response:
    # a path or a field's name is repeated in some messages, and may hold a key
    return _json(status, {"error": {"message": scrub(message), "code": code}})
