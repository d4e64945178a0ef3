"""The session of a run: opened, or joined, and closed again where the run made it."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from agentwatch.errors import AgentWatchError, UsageError
from agentwatch_cli.client import Control, ControlError, session_path
from agentwatch_cli.output import note, usd
from agentwatch_cli.run_environment import Access

#: the daemon reads on for a short while after a client went away, then settles what it saw
SETTLES_WITHIN_S = 3.0
_POLL_S = 0.05

#: states in which a session refuses every call: the report tells them rather than "closed"
_ENDED = ("killed", "exhausted", "paused")


class SessionOver(AgentWatchError):
    """The session that was asked for is killed or closed, as `state` says: it stays so."""

    def __init__(self, session: Mapping[str, Any], remedy: str) -> None:
        self.state = str(session["state"])
        super().__init__(
            f"session {session['session_id']} is {self.state}, and stays so: nothing was started. "
            f"{remedy}"
        )


class Asked(NamedTuple):
    """What the user asked of the session; None where nothing was said."""

    session_id: str | None = None
    #: USD, as it is sent
    budget_usd: float | None = None
    mode: str | None = None
    project: str | None = None
    team: str | None = None
    on_anomaly: str | None = None
    fail_open: bool | None = None


class Opened(NamedTuple):
    """A session that a run is charged to."""

    access: Access
    #: as it was at the start
    before: dict[str, Any]
    #: this run made it, and closes it
    made: bool
    #: it is the session that we run in ourselves
    nested: bool = False
    #: the providers that the daemon has a key for; None where it does not say
    providers: list[str] | None = None


def open_session(control: Control, asked: Asked, *, wrapper: bool, home: str | None) -> Opened:
    """Open the session that was asked for. Raises what Control.request raises, and SessionOver
    before anything of it is changed."""
    if asked.session_id is not None:
        _refuse_ended(control, asked.session_id)
    body = {name: value for name, value in asked._asdict().items() if value is not None}
    session = control.request("POST", "/v1/sessions", {**body, "wrapper": wrapper})
    token = session.pop("token", None)
    if not token:
        raise AgentWatchError("the daemon gave no token for this session: open another one")
    status = control.request("GET", "/v1/status")
    access = Access(
        session_id=session["session_id"],
        token=token,
        origin=f"http://127.0.0.1:{status['port']}",
        socket=str(control.socket_path),
        home=home,
        own=tuple(status.get("own_providers", ())),
        fails_closed=asked.fail_open is False,
    )
    _tell_ceiling(asked, session)
    _tell_state(session)
    made = asked.session_id is None
    return Opened(access, session, made, providers=status.get("providers"))


def _refuse_ended(control: Control, session_id: str) -> None:
    """Opening it again would lower its ceiling, though no call of it goes through any more."""
    try:
        session = control.request("GET", session_path(session_id))
    except ControlError as error:
        if error.status != http.client.NOT_FOUND:
            raise
    else:
        _check_open(session, "Leave out --session, or name a new one")


def _check_open(session: Mapping[str, Any], remedy: str) -> None:
    if session.get("state") in ("killed", "closed"):
        raise SessionOver(session, remedy)


def _tell_ceiling(asked: Asked, session: Mapping[str, Any]) -> None:
    ceiling, name = session.get("budget_usd"), session["session_id"]
    if ceiling is None:
        note(_without_ceiling(session))
    elif asked.budget_usd is not None and ceiling != asked.budget_usd:
        note(
            f"session {name} has a ceiling of {usd(ceiling)} already, and keeps it: change it "
            f"with `agentwatch sessions budget {name} USD`"
        )


def _tell_state(session: Mapping[str, Any]) -> None:
    if session.get("state") == "paused":
        name = session["session_id"]
        note(
            f"session {name} is paused, and every call is refused: go on with "
            f"`agentwatch sessions resume {name}`"
        )


def _without_ceiling(session: Mapping[str, Any]) -> str:
    charged = [f"{kind}:{session[kind]}" for kind in ("project", "team") if session.get(kind)]
    if charged:
        budgets = " and ".join(charged)
        return f"this session has no ceiling of its own: only a budget of {budgets} refuses calls"
    return "this session has no ceiling: calls are counted, none is refused (set --budget USD)"


def outer_session(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Id and token of the wrapped session that this process runs in; None where it is in none."""
    session_id = environ.get("AGENTWATCH_SESSION_ID")
    token = environ.get("AGENTWATCH_SESSION_TOKEN")
    return (session_id, token) if session_id and token else None


def join_outer(
    control: Control, asked: Asked, outer: tuple[str, str], environ: Mapping[str, str]
) -> Opened:
    """Join the session that we run in: its ceiling can be lowered from inside, nothing else.

    Raises UsageError where another session is asked for, SessionOver where ours has ended.
    """
    session_id, token = outer
    if asked.session_id not in (None, session_id):
        raise UsageError(f"this runs inside session {session_id}, and can't open another one")
    session = control.request("GET", session_path(session_id))
    _check_open(session, "It is the session of this shell: use another one")
    ceiling = session.get("budget_usd")
    if asked.budget_usd is not None:
        if ceiling is None or asked.budget_usd < ceiling:
            body = {"budget_usd": asked.budget_usd}
            control.request("PUT", session_path(session_id, "budget"), body)
            lowered = f"inside session {session_id} all share its ceiling, which is now"
            note(f"{lowered} {usd(asked.budget_usd)}, and stays lowered")
        elif asked.budget_usd > ceiling:
            note(f"inside session {session_id} the ceiling stays at {usd(ceiling)}")
    if any(value is not None for value in asked[2:]):
        note(f"inside session {session_id} only the ceiling can change: other options are ignored")
    origin = environ.get("OPENAI_BASE_URL", "").removesuffix("/openai/v1")
    home = environ.get("AGENTWATCH_HOME")
    access = Access(session_id, token, origin, str(control.socket_path), home)
    return Opened(access, session, made=False, nested=True)


def finish_session(control: Control, opened: Opened) -> dict[str, Any]:
    """The session at the end of its run, with the calls in flight settled; closed if we made it."""
    path = session_path(opened.access.session_id)
    session = control.request("GET", path)
    deadline = time.monotonic() + SETTLES_WITHIN_S
    while opened.made and session.get("held_usd") and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        session = control.request("GET", path)
    state = session.get("state")
    if opened.made and state != "killed":
        control.request("POST", session_path(opened.access.session_id, "close"))
        session = control.request("GET", path)
    return {**session, "state": state} if state in _ENDED else session
