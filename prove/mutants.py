"""Faults put into the core, one at a time: each must be caught, and what catches it is told.

    python -m prove.mutants [NAME …]

Each is a copy of the tree in which one line is another. The simulator is asked first, then the
fast tests of the rooms that it touches, until one of them fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).parents[1]
COPIED = ("agentwatch", "cli", "prove", "tests", "pyproject.toml")
SIMULATOR = ("prove", "--first", "1", "--events", "30000", "--jobs", "1")
#: a busy machine fails what measures time, whatever the fault: that would be no catch
UNTIMED = ("-k", "not blocked_by_a_call")
#: a mutant that hangs is caught as well
PATIENCE_S = 120.0


class Mutant(Struct, frozen=True):
    """`old`, which is there once, becomes `new` in `file`; `tests` are asked after the
    simulator."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()


LEDGER, FOLD = "agentwatch/core/ledger.py", "agentwatch/core/fold.py"
ADMISSION = "agentwatch/core/admission.py"
GOVERNOR, FLIGHT = "agentwatch/daemon/governor.py", "agentwatch/daemon/flight.py"
RELAY, STORE = "agentwatch/daemon/relay.py", "agentwatch/store/store.py"
CALLS = (
    "tests/daemon/test_governor.py",
    "tests/daemon/test_flight.py",
    "tests/daemon/test_relay.py",
)

MUTANTS = (
    Mutant("off by one at the ceiling", ADMISSION, "whole <= free:", "whole <= free + 1:"),
    Mutant(
        "refund on crash",
        LEDGER,
        'self.settle(hold.id, hold.nanos, "crash"',
        'self.settle(hold.id, 0, "crash"',
    ),
    Mutant(
        "hold on the first account only",
        FOLD,
        "self.session(entry.session)\n        for account_id in entry.accounts:",
        "self.session(entry.session)\n        for account_id in entry.accounts[:1]:",
    ),
    Mutant(
        "hold leaked on the second account",
        FOLD,
        "for account_id in hold.accounts:\n            self.accounts[account_id].held -=",
        "for account_id in hold.accounts[:1]:\n            self.accounts[account_id].held -=",
    ),
    Mutant(
        "no dedupe of a hold",
        LEDGER,
        "return Admitted(again.nanos, again.limit), []",
        "return Admitted(again.nanos, again.limit), self._do("
        "e.Extended(at=at, hold=hold_id, nanos=again.nanos))",
    ),
    Mutant(
        "a late total taken for a delta",
        LEDGER,
        "more = nanos - ended.nanos",
        "more = nanos",
    ),
    Mutant(
        "a settle cut at its hold",
        LEDGER,
        "nanos=max(0, nanos),",
        "nanos=min(hold.nanos, max(0, nanos)),",
    ),
    Mutant(
        "an extension does not ask its session",
        LEDGER,
        "if any(purse.free < nanos for purse in self.purses(session, hold.accounts)):",
        "if any(purse.free < nanos for purse in self.purses(session, hold.accounts[1:])):",
    ),
    Mutant(
        "only the last account is asked",
        ADMISSION,
        "tightest = min(purses, key=lambda purse: purse.free)",
        "tightest = purses[-1]",
    ),
    Mutant(
        "refused though only holds stand in the way",
        ADMISSION,
        "if may_wait and not never and",
        "if False and may_wait and not never and",
    ),
    Mutant(
        "send before hold",
        GOVERNOR,
        "await self._until_written(session, written)",
        "pass",
        CALLS,
    ),
    Mutant(
        "what was sent is given back",
        FLIGHT,
        "if self._left_at is not None:",
        "if self._left_at is None:",
        CALLS,
    ),
    Mutant(
        "zero on disconnect",
        RELAY,
        "except asyncio.CancelledError:\n            self._charge(flight, meter, unpack.blind)",
        'except asyncio.CancelledError:\n            flight.void("gone")',
        CALLS,
    ),
    Mutant(
        "Exception round a cancellation",
        RELAY,
        "except asyncio.CancelledError:\n            self._charge",
        "except ValueError:\n            self._charge",
        CALLS,
    ),
)


def catcher(mutant: Mutant) -> str | None:
    """What notices this fault; None where it survives. Raises ValueError where it is not there."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree = Path(folder)
        _copy(tree)
        _mutate(tree / mutant.file, mutant)
        if said := _fails(tree, SIMULATOR):
            found = re.search(r"^seed \d+: (.*)$", said, re.M)
            return f"simulator: {found.group(1) if found else said.splitlines()[-1]}"
        if mutant.tests and (said := _fails(tree, ("pytest", "-x", *UNTIMED, *mutant.tests))):
            found = re.search(r"^(?:FAILED|ERROR) (\S+)", said, re.M)
            return found.group(1) if found else said.splitlines()[-1]
    return None


def _copy(tree: Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, tree / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, tree)


def _mutate(path: Path, mutant: Mutant) -> None:
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: not once in {mutant.file}: {mutant.old!r}")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")


def _fails(tree: Path, module: Iterable[str]) -> str:
    """What a command that fails says; empty where it does not fail."""
    environ = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", *module]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environ, capture_output=True, text=True, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        return "it never ends"
    return (done.stdout + done.stderr).strip() if done.returncode else ""


def main() -> int:
    """0: every mutant that was asked for (all, where none is named) is caught."""
    asked = [each for each in MUTANTS if not sys.argv[1:] or each.name in sys.argv[1:]]
    survivors = 0
    for mutant in asked:
        caught = catcher(mutant)
        survivors += caught is None
        print(f"{mutant.name:<45} {caught or 'SURVIVES'}", flush=True)
    print(f"{len(asked)} mutants, {survivors} survive")
    return 1 if survivors or not asked else 0


if __name__ == "__main__":
    sys.exit(main())
