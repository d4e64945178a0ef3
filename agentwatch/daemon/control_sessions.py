"""Sessions on the control path: open, look at, follow, stop, and move their ceiling."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from agentwatch.core.accounts import Session
from agentwatch.daemon.access import Wrappers, new_token
from agentwatch.daemon.events import Events
from agentwatch.daemon.fields import boolean, check_fields, money, seconds, text
from agentwatch.daemon.following import follow
from agentwatch.daemon.routes import ID, Answer, Asked, Route, in_force, not_from_inside, row
from agentwatch.daemon.shapes import Alerts, session_shape, sessions_shape
from agentwatch.errors import UsageError
from agentwatch.store.store import Store

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
    "parent",
    "monthly_usd",
)


class SessionCalls:
    """The rows below /v1/sessions."""

    def __init__(
        self,
        store: Store,
        events: Events,
        wrappers: Wrappers,
        calls_of: Callable[[str], int],
        alerts: Alerts,
        looked_through: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._looked_through = looked_through
        self._alerts = alerts
        self._events = events
        self._wrappers = wrappers
        self._calls_of = calls_of

    def routes(self) -> tuple[Route, ...]:
        """The rows of this part."""
        one = rf"/v1/sessions/{ID}"
        return (
            row("POST", r"/v1/sessions", self.open_session, inside=True),
            row("GET", r"/v1/sessions", self.sessions),
            row("GET", one, self.session, inside=True),
            row("PUT", rf"{one}/budget", self.set_budget, inside=True),
            row("GET", rf"{one}/events", self.events, inside=True),
            row("POST", rf"{one}/(?P<verb>kill|pause|resume)", self.change_state),
            row("POST", rf"{one}/(?P<verb>close)", self.close_session, inside=True),
        )

    async def open_session(self, asked: Asked) -> Answer:
        """Open a session, or the one with that id, and mint a token."""
        body = asked.body
        check_fields(body, _OPEN_FIELDS)
        session_id = text(body, "session_id") or _new_session_id()
        parent = text(body, "parent")
        monthly = money(body, "monthly_usd")
        if asked.inside is not None and (
            monthly is not None or asked.inside.name not in (session_id, parent)
        ):
            raise not_from_inside()
        terms = {
            "ceiling": money(body, "budget_usd"),
            "mode": text(body, "mode"),
            "project": text(body, "project"),
            "team": text(body, "team"),
            "on_anomaly": text(body, "on_anomaly"),
            "fail_open": boolean(body, "fail_open"),
            "ttl_s": seconds(body, "ttl_s"),
            "parent": parent,
        }
        wrapper = boolean(body, "wrapper")
        session, _ = self._store.open_session(session_id, **terms)
        self._bound_month(session, monthly)
        token, sha256 = new_token()
        await self._store.mint(session_id, sha256)
        if wrapper and asked.inside is None and asked.pid is not None:
            self._wrappers.add(asked.pid)
        return {**self._shape(session), "token": token}

    def _bound_month(self, session: Session, ceiling: int | None) -> None:
        """A monthly ceiling that came with a session: of its project, else its team. Like a
        session's own it is only ever lowered so."""
        if ceiling is None:
            return
        if not (session.project or session.team):
            raise UsageError("monthly_usd is for a project's or a team's month: name one")
        kind, name = ("project", session.project) if session.project else ("team", session.team)
        known = self._store.ledger.monthly.get(f"{kind}:{name}")
        if known is None or ceiling < known:
            self._store.set_ceiling(f"{kind}:{name}", ceiling)

    async def sessions(self, asked: Asked) -> Answer:
        """All sessions, the newest last."""
        return {
            "sessions": await sessions_shape(self._store.ledger, self._store.now(), self._alerts)
        }

    async def session(self, asked: Asked) -> Answer:
        """One session, with the risks of the calls that are over by now."""
        session = self._named(asked)
        await self._looked_through()
        return self._shape(session)

    async def set_budget(self, asked: Asked) -> Answer:
        """Set a session's ceiling; from inside it can only be lowered."""
        session = self._named(asked)
        check_fields(asked.body, ("budget_usd",))
        if "budget_usd" not in asked.body:
            raise UsageError("budget_usd is missing")
        ceiling = money(asked.body, "budget_usd")
        raises = ceiling is None or (session.ceiling is not None and ceiling > session.ceiling)
        if asked.inside is not None and raises:
            raise not_from_inside()
        await in_force(self._store.set_ceiling(session.id, ceiling))
        return self._shape(session)

    async def close_session(self, asked: Asked) -> Answer:
        """Close a session; from inside only what is a part of the own one."""
        if asked.inside is not None and asked.names["id"] == asked.inside.name:
            raise not_from_inside()
        return await self.change_state(asked)

    async def change_state(self, asked: Asked) -> Answer:
        """Do to a session what the verb says."""
        session = self._named(asked)
        check_fields(asked.body, ("reason",))
        reason = text(asked.body, "reason") or "asked"
        verb, in_flight = asked.names["verb"], self._calls_of(session.name)
        await in_force(self._store.set_state(session.name, verb, reason[:200]))
        ended = {"calls_ended": in_flight} if verb == "kill" else {}
        return {**self._shape(session), **ended}

    async def events(self, asked: Asked) -> Answer | web.StreamResponse:
        """What happened, or with ?follow=1 what happens from now on."""
        session_id = self._named(asked).name
        if not asked.follows:
            return {"events": self._events.past(session_id)}
        return await follow(asked.stream, self._events, session_id)

    def _shape(self, session: Session) -> Answer:
        return session_shape(session, self._store.now(), self._alerts)

    def _named(self, asked: Asked) -> Session:
        session = self._store.ledger.session(asked.names["id"])
        inside = asked.inside
        if inside is not None and inside is not session and inside.id not in session.parents:
            raise not_from_inside()
        return session


def _new_session_id() -> str:
    return f"s-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
