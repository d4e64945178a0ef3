"""`agentwatch doctor`: is everything as it must be, and what to do where it is not.

Works with and without a daemon. Exit code 1 where something fails; warnings are none.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from agentwatch_cli.output import Column, emit_json, emit_rows, note

if TYPE_CHECKING:
    from agentwatch.paths import Paths
    from agentwatch_cli.doctor_checks import Check, Patient


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    start_over: Annotated[
        bool,
        typer.Option("--start-over", help="Begin with an empty ledger where the old one is lost."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Check the home, the daemon, the ledger and what is around them."""
    from agentwatch_cli import doctor_checks

    patient = _patient()
    if start_over:
        _start_over(patient.paths, yes=yes)
        return
    doctor_checks.ask_daemon(patient)
    checks = list(doctor_checks.examine(patient))
    if as_json:
        emit_json(_as_object(checks))
    else:
        _show(checks)
    if any(check.verdict == doctor_checks.FAIL for check in checks):
        raise typer.Exit(1)


def _patient() -> Patient:
    import os

    from agentwatch.errors import SettingsError
    from agentwatch.paths import find_paths
    from agentwatch.settings import load_settings
    from agentwatch_cli.doctor_checks import Patient

    try:
        settings = load_settings()
    except SettingsError as error:
        paths = find_paths(os.environ)
        return Patient(paths=paths, settings=None, settings_error=str(error))
    return Patient(paths=settings.paths, settings=settings)


def _as_object(checks: list[Check]) -> dict[str, object]:
    rows = [check._asdict() for check in checks]
    return {"ok": all(check.verdict != "fail" for check in checks), "checks": rows}


def _show(checks: list[Check]) -> None:
    rows = [(check.name, check.verdict, check.found) for check in checks]
    emit_rows((Column("what"), Column("verdict"), Column("found")), rows)
    for check in checks:
        if check.todo:
            note(f"{check.name}: {check.todo}")


# ---- a lost ledger


def _start_over(paths: Paths, *, yes: bool) -> None:
    """Begin anew where the ledger is gone or damaged; never where it is sound."""
    import os

    from agentwatch.daemonfile import take_lock
    from agentwatch.errors import UsageError
    from agentwatch_cli.launch import refuse_inside

    refuse_inside("begin a new ledger")
    if not paths.state_dir.exists():
        raise UsageError("there is no ledger yet: nothing to start over from")
    lock = take_lock(paths.lock)
    if lock is None:
        raise UsageError("a daemon of this home is running: `agentwatch down` first")
    try:
        _begin_anew(paths, yes=yes)
    finally:
        os.close(lock)


def _begin_anew(paths: Paths, *, yes: bool) -> None:
    from agentwatch.errors import JournalDamaged, UsageError
    from agentwatch.store import recovery

    try:
        entries = recovery.examine(paths.ledger)
    except JournalDamaged as error:
        note(str(error))
    else:
        sound = f"the ledger is sound ({entries} entries)" if entries else "the ledger is empty"
        raise UsageError(f"{sound}: there is nothing to start over from")
    note(
        "what every session, project and team has spent so far is forgotten, killed sessions and "
        "budgets with it; the tokens of running agents open no session any more"
    )
    _confirm(yes)
    aside = recovery.start_over(paths.ledger)
    kept = [aside, *recovery.set_aside_before(paths.ledger)] if aside else None
    for path in dict.fromkeys(kept or recovery.set_aside_before(paths.ledger)):
        note(f"the old one is kept: {path}")
    note("the next `agentwatch up` or `run` begins a new ledger")


def _confirm(yes: bool) -> None:
    from agentwatch.errors import UsageError

    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("say --yes to begin a new ledger")
    if not typer.confirm("Begin a new ledger?", default=False, err=True):
        raise typer.Exit(1)
