"""`agentwatch sessions`: what is running, what it spends, and what may still be done about it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from agentwatch.errors import AgentWatchError, UsageError
from agentwatch_cli.output import emit_json, emit_rows, note, say, usd
from agentwatch_cli.sessions_kill import kill

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Id = Annotated[str, typer.Argument(metavar="ID", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True, rich_markup_mode=None, help="Live sessions: watch, stop, raise."
    )
    commands: dict[str, Callable[..., None]] = {
        "ls": list_sessions,
        "top": top,
        "show": show,
        "budget": budget,
        "kill": kill,
        "pause": pause,
        "resume": resume,
        "close": close,
        "export": export,
    }
    for name, command in commands.items():
        group.command(name)(command)
    app.add_typer(group, name="sessions")


def _control() -> Any:
    from agentwatch_cli.client import Control
    from agentwatch_cli.launch import settings_anyway

    return Control(settings_anyway())


def list_sessions(as_json: Json = False) -> None:
    """List the sessions, the newest first."""
    from agentwatch_cli.views import SESSION_COLUMNS, session_row

    sessions = _control().request("GET", "/v1/sessions")["sessions"]
    sessions.sort(key=lambda session: session.get("opened_at") or 0, reverse=True)
    if as_json:
        emit_json({"sessions": sessions})
        return
    now = time.time()
    empty = "no session yet: open one with `agentwatch run --budget 2.00 -- CMD`"
    emit_rows(SESSION_COLUMNS, (session_row(s, now) for s in sessions), empty=empty)


def show(session_id: Id, as_json: Json = False) -> None:
    """Show one session."""
    from agentwatch_cli.client import session_path
    from agentwatch_cli.views import session_lines

    session = _control().request("GET", session_path(session_id))
    if as_json:
        emit_json(session)
        return
    for line in session_lines(session, time.time()):
        say(line)


def top() -> None:
    """Watch the sessions live; q quits. Without a terminal: once, as a table."""
    from agentwatch_cli.top import Burn, show_top
    from agentwatch_cli.views import TOP_COLUMNS

    control = _control()

    def fetch() -> list[dict[str, Any]]:
        sessions: list[dict[str, Any]] = control.request("GET", "/v1/sessions")["sessions"]
        return [session for session in sessions if session["state"] != "closed"]

    if sys.stdout.isatty():
        show_top(fetch)
    else:
        emit_rows(TOP_COLUMNS, Burn().rows(fetch(), time.monotonic()), empty="no open session")


def budget(
    session_id: Id,
    ceiling: Annotated[str, typer.Argument(metavar="USD", show_default=False)],
    as_json: Json = False,
) -> None:
    """Set a session's ceiling; calls that wait for money notice it at once."""
    from agentwatch.core.money import parse_usd, to_usd
    from agentwatch_cli.client import session_path

    body = {"budget_usd": to_usd(parse_usd(ceiling, "USD"))}
    control = _control()
    state = control.request("GET", session_path(session_id)).get("state")
    if state in ("killed", "closed"):
        raise AgentWatchError(
            f"{session_id} stays {state}, and its ceiling as it is: for more calls open another "
            "session, like `agentwatch run --budget USD -- CMD`"
        )
    answer = control.request("PUT", session_path(session_id, "budget"), body)
    if as_json:
        emit_json(answer)
        return
    spent = f", {usd(answer['settled_usd'])} spent" if "settled_usd" in answer else ""
    say(f"{session_id}: ceiling {usd(body['budget_usd'])}{spent}")


def pause(session_ids: Annotated[list[str], typer.Argument(metavar="ID...")]) -> None:
    """Pause sessions: calls are refused until they are resumed."""
    _each(session_ids, "pause", "paused")


def resume(session_ids: Annotated[list[str], typer.Argument(metavar="ID...")]) -> None:
    """Resume sessions that were paused."""
    _each(session_ids, "resume", "resumed")


def close(session_ids: Annotated[list[str], typer.Argument(metavar="ID...")]) -> None:
    """Close sessions: their tokens are worth nothing any more."""
    _each(session_ids, "close", "closed")


class ExportForm(StrEnum):
    """How records are written."""

    jsonl = "jsonl"
    otlp = "otlp"


def export(
    session_id: Id,
    form: Annotated[
        ExportForm,
        typer.Option("--format", help="A record a line, or OpenTelemetry's GenAI spans."),
    ] = ExportForm.jsonl,
    payloads: Annotated[bool, typer.Option(help="With what was said, where that is kept.")] = True,
) -> None:
    """Write a session's calls to stdout, a JSON object a line, oldest first."""
    from agentwatch_cli.client import session_path

    asked = "" if payloads and form is ExportForm.jsonl else "?payloads=0"
    lines = _control().lines(session_path(session_id, "export") + asked)
    if form is ExportForm.otlp:
        from agentwatch_cli.otlp import spans

        lines = spans(lines)
    for line in lines:
        sys.stdout.write(line + "\n")


def _each(session_ids: list[str], verb: str, done: str) -> None:
    """The same to each; one that fails does not keep the others from it."""
    from agentwatch_cli.client import checked_session_id, session_path

    for session_id in session_ids:
        checked_session_id(session_id)
    control, failed = _control(), 0
    for session_id in session_ids:
        try:
            control.request("POST", session_path(session_id, verb))
            say(f"{session_id}: {done}")
        except UsageError:
            raise
        except AgentWatchError as error:
            failed += 1
            note(f"{session_id}: {error}")
    if failed:
        raise typer.Exit(1)
