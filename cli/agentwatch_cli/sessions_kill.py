"""`agentwatch sessions kill`: by id, or all that a description fits, and what it ended."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import typer

from agentwatch.errors import AgentWatchError, UsageError
from agentwatch_cli.output import emit_json, note, say, usd

Shape = Mapping[str, Any]

_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|h|d)?")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_OVER = frozenset({"killed", "closed"})


class Wanted(NamedTuple):
    """Which sessions are meant, where they were not named: those that fit all of it."""

    everything: bool = False
    project: str | None = None
    #: seconds since it was opened
    older_than_s: float | None = None
    #: nanos that it has spent
    over: int | None = None

    @property
    def says_anything(self) -> bool:
        """Whether something was asked for."""
        return self != Wanted()


def kill(
    session_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID...]", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every session that is left.")] = False,
    project: Annotated[
        str | None, typer.Option("--project", metavar="P", help="Those of this project.")
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="AGE", help="Opened longer ago: 90s, 30m, 2h, 1d."),
    ] = None,
    over: Annotated[
        str | None, typer.Option("--over", metavar="USD", help="That have spent more.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What was ended, as JSON.")] = False,
) -> None:
    """Kill sessions: no further call, calls in flight ended, the wrapped command too.

    Several descriptions mean the sessions that fit all of them. Money that was spent stays spent.
    """
    from agentwatch_cli.client import Control, checked_session_id
    from agentwatch_cli.launch import settings_anyway

    wanted = _wanted(everything, project, older_than, over)
    named = [checked_session_id(session_id) for session_id in session_ids or ()]
    if wanted.says_anything == bool(named):
        raise UsageError(
            "say which sessions: their ids, or one or more of --all, --project P, "
            "--older-than 30m, --over USD"
        )
    control = Control(settings_anyway())
    if not named:
        sessions = control.request("GET", "/v1/sessions")["sessions"]
        named = [each["session_id"] for each in chosen(sessions, wanted, time.time())]
    _confirm(named, yes, described=wanted.says_anything)
    tell = note if as_json else say
    ended, failed = _kill(control, named, tell)
    if as_json:
        emit_json({"sessions": ended, "failed": failed})
    if failed:
        raise typer.Exit(1)
    if not named:
        note("no session fits: nothing was killed")


def chosen(sessions: Sequence[Shape], wanted: Wanted, now: float) -> list[Shape]:
    """The sessions that are not over yet and fit the description, as they were listed."""
    return [each for each in sessions if each["state"] not in _OVER and _fits(each, wanted, now)]


def _fits(session: Shape, wanted: Wanted, now: float) -> bool:
    from agentwatch.core.money import parse_usd

    if wanted.project is not None and session["project"] != wanted.project:
        return False
    if wanted.older_than_s is not None and now - session["opened_at"] <= wanted.older_than_s:
        return False
    spent = parse_usd(repr(session["settled_usd"]), "settled_usd")
    return wanted.over is None or spent > wanted.over


def _wanted(
    everything: bool, project: str | None, older_than: str | None, over: str | None
) -> Wanted:
    from agentwatch.core.money import parse_usd

    return Wanted(
        everything,
        project,
        None if older_than is None else age_s(older_than),
        None if over is None else parse_usd(over, "--over"),
    )


def age_s(text: str) -> float:
    """Seconds of an age like 90s, 30m, 2h or 1d; a bare number is seconds. Raises UsageError."""
    found = _AGE.fullmatch(text.strip().lower())
    if not found:
        raise UsageError(f"--older-than: {text[:40]!r} is no age: write 90s, 30m, 2h or 1d")
    return float(found[1]) * _SECONDS[found[2] or "s"]


def _confirm(named: list[str], yes: bool, *, described: bool) -> None:
    """Several are asked for; without a terminal, those that were only described are not taken."""
    if yes or not named or (len(named) == 1 and not described):
        return
    shown = ", ".join(named[:5]) + (", …" if len(named) > 5 else "")
    plural = "session" if len(named) == 1 else "sessions"
    if sys.stdin.isatty():
        typer.confirm(f"kill {len(named)} {plural} ({shown})?", abort=True, err=True)
    elif described:
        raise UsageError(f"this would kill {len(named)} {plural} ({shown}): add --yes to do so")


def _kill(
    control: Any, named: list[str], tell: Callable[[str], None]
) -> tuple[list[Shape], list[dict[str, str]]]:
    """Kill each; one that fails does not keep the others from it."""
    from agentwatch_cli.client import session_path

    ended: list[Shape] = []
    failed: list[dict[str, str]] = []
    for session_id in named:
        try:
            session = control.request("POST", session_path(session_id, "kill"))
        except UsageError:
            raise
        except AgentWatchError as error:
            failed.append({"session_id": session_id, "error": str(error)})
            note(f"{session_id}: {error}")
        else:
            session.pop("schema_version", None)
            ended.append(session)
            tell(_told(session))
    return ended, failed


def _told(session: Shape) -> str:
    """One line of what was ended."""
    calls = session.get("calls_ended", 0)
    in_flight = f", {calls} call{'s' * (calls != 1)} in flight ended" if calls else ""
    of = "" if session["budget_usd"] is None else f" of {usd(session['budget_usd'])}"
    return f"{session['session_id']}: killed, {usd(session['settled_usd'])}{of} spent{in_flight}"
