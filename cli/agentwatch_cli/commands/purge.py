"""`agentwatch purge`: remove records of calls, and what was said in them, for good."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated, Any

import typer

from agentwatch.errors import UsageError
from agentwatch_cli.output import emit_json, say

#: the daemon removes thousands of records a second, but there may be millions
PATIENCE_S = 600.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("purge")(purge)


def purge(
    session: Annotated[str | None, typer.Option(metavar="ID", help="Of this session.")] = None,
    project: Annotated[str | None, typer.Option(metavar="NAME", help="Of this project.")] = None,
    before: Annotated[
        str | None, typer.Option(metavar="DATE", help="Before 2026-11-23, or 2026-11-23T12:30.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Remove records of calls for good, and all that was kept of what was said.

    Where several are given, what meets all of them goes; without a terminal, --yes is needed for
    all but one session's. What sessions have spent stays: that is
    the ledger's.
    """
    from agentwatch_cli.client import Control, checked_session_id
    from agentwatch_cli.launch import settings_anyway

    what: dict[str, Any] = {
        "session_id": None if session is None else checked_session_id(session),
        "project": project,
        "before": None if before is None else _moment(before),
    }
    what = {name: value for name, value in what.items() if value is not None}
    if everything == bool(what):
        raise UsageError("say what is to be removed: --session, --project, --before, or --all")
    if everything:
        what = {"all": True}
    if not yes:
        _confirm(named=session is not None)
    control = Control(settings_anyway())
    answer = control.request("POST", "/v1/purge", what, timeout_s=PATIENCE_S)
    if as_json:
        emit_json(answer)
        return
    removed = answer["removed"]
    say(f"{removed:,} record{'' if removed == 1 else 's'} removed")


def _confirm(*, named: bool) -> None:
    """Without a terminal, a session that was named is taken, and what was only described is not."""
    if sys.stdin.isatty():
        question = "remove these records, and all that was kept of what was said, for good?"
        typer.confirm(question, abort=True, err=True)
    elif not named:
        raise UsageError("this removes records of several sessions for good: add --yes to do so")


def _moment(text: str) -> float:
    """Seconds since 1970; a date without an offset is this machine's."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise UsageError(f"{text!r} is no date: write 2026-11-23, or 2026-11-23T12:30") from None
