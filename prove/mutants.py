"""Does anything notice when the ledger is wrong? `python -m prove.mutants [NAME ...]`.

Each mutant of mutations.py is put into a copy of the sources, and the tests that are to catch it,
or some worlds of the simulator, are run there. Prints which test caught which; exit status 1 where
one survives, does not apply any more or does not run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prove.mutation import SIMULATOR, STORE_SIMULATOR, Change, Mutant
from prove.mutations import MUTANTS

ROOT = Path(__file__).parent.parent
#: what of a checkout the tests need
NEEDED = ("agentwatch", "cli", "prove", "tests", "bench", "pyproject.toml")
#: worlds enough for each mutant that a simulator is to catch
WORLDS = {
    SIMULATOR: ("prove", "--first", "1", "--events", "30000", "--jobs", "1"),
    STORE_SIMULATOR: ("prove", "--store", "--first", "1", "--events", "15000", "--jobs", "1"),
}
#: one that makes the code hang is caught as well
TIMEOUT_S = 100


class Escaped(Exception):
    """A mutant that was not caught, and what to do about it."""


def applied(change: Change, text: str) -> str:
    """The text with this change. Raises Escaped where it does not fit exactly once."""
    found = text.count(change.old)
    if found != 1:
        raise Escaped(
            f"it no longer applies: {change.file} has its text {found} times, not once. Fit the "
            f"mutant in prove/mutations.py to the code as it is now:\n{change.old}"
        )
    return text.replace(change.old, change.new)


def copied(root: Path, to: Path) -> None:
    """What of a checkout the tests need, with its compiled modules."""
    for name in NEEDED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, to / name)
        else:
            shutil.copy2(source, to / name)


def killer_of(mutant: Mutant, root: Path = ROOT) -> str:
    """The test that catches this mutant. Raises Escaped."""
    with tempfile.TemporaryDirectory(prefix="aw-mutant-") as folder:
        copy = Path(folder)
        copied(root, copy)
        for change in mutant.changes:
            changed = copy / change.file
            changed.write_text(applied(change, changed.read_text("utf-8")), "utf-8")
        return _killer(_tested(mutant.caught_by, copy), mutant)


def check_sound(mutants: Iterable[Mutant], root: Path = ROOT) -> None:
    """A test that fails without any mutant catches none. Raises Escaped."""
    tests = dict.fromkeys(test for mutant in mutants for test in mutant.caught_by)
    with tempfile.TemporaryDirectory(prefix="aw-mutant-") as folder:
        copied(root, Path(folder))
        run = _tested(tests, Path(folder))
    if run.returncode:
        raise Escaped(f"the tests fail without any mutant: mend that first\n{run.stdout[-2000:]}")


def _tested(tests: Iterable[str], copy: Path) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name != "CI" and not name.startswith(("PYTEST_", "AGENTWATCH_"))
    }
    env = {**inherited, "PYTHONPATH": os.pathsep.join((str(copy), str(copy / "cli")))}
    pytest = ("pytest", "-x", f"--timeout={TIMEOUT_S}")
    tests = list(tests)
    named = [test for test in tests if test not in WORLDS]
    modules = [WORLDS[test] for test in tests if test in WORLDS]
    modules += [(*pytest, *named)] if named else []
    for module in modules:
        run = subprocess.run(
            [sys.executable, "-m", *module],
            cwd=copy,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode:
            break
    return run


def _killer(run: subprocess.CompletedProcess[str], mutant: Mutant) -> str:
    if run.returncode == 0:
        raise Escaped(f"it SURVIVED {', '.join(mutant.caught_by)}: {mutant.accident}")
    failed = re.search(r"^(?:FAILED (\S+)|(seed \d+): )", run.stdout, re.MULTILINE)
    if run.returncode != 1 or failed is None:
        raise Escaped(f"it does not run, which proves nothing:\n{run.stdout[-2000:]}{run.stderr}")
    return failed[1] or f"the simulator, {failed[2]}"


def _told(mutant: Mutant) -> tuple[bool, str]:
    began = time.monotonic()
    try:
        killer = killer_of(mutant)
    except Escaped as escaped:
        return False, f"✗ {mutant.name}: {escaped}"
    seconds = time.monotonic() - began
    return True, f"✓ {mutant.name:26} {killer}  ({seconds:.1f} s)\n    {mutant.accident}"


def main(names: list[str]) -> int:
    """Run these mutants, or all; how many escaped decides the exit status."""
    unknown = set(names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        print(f"no such mutant: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    try:
        check_sound(chosen)
    except Escaped as escaped:
        print(escaped, file=sys.stderr)
        return 1
    caught = 0
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for is_caught, line in pool.map(_told, chosen):
            caught += is_caught
            print(line, flush=True)
    print(f"{caught} of {len(chosen)} mutants were caught")
    return int(caught < len(chosen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
