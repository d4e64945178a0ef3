"""A second process that opens a ledger: run as a program, and the client of it that a test holds.

The program imports what it needs once. Each line that it reads is one life of a daemon, which it
lives in a fork of itself: it opens the file, makes calls, and closes it or is killed. So a life
takes some milliseconds, and is a real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from agentwatch.core.admission import Admitted, Policy
from agentwatch.core.estimate import Quote
from agentwatch.core.money import TOKENS_PER_RATE
from agentwatch.errors import BarredError, JournalUnavailable
from agentwatch.store import sqlite
from agentwatch.store.sqlite import SqliteJournal
from agentwatch.store.store import Store

#: its daemon is not about to end, so that waiting for it is of no use
PATIENCE_S = 0.02


class SecondProcess:
    """The client's end."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def live(
        self, path: Path, at: float, calls: list[tuple[str, str, int, int | None]], killed: str
    ) -> dict[str, Any]:
        """Open the ledger `path`, and make `calls`: session, hold, nanos held, nanos paid (None:
        it stays out). Then close it; or, with the name of a hold, be killed while that is on its
        way to the disk.

        Gives what was durable: `ended` by opening, `held` and `paid` by the calls, all in nanos by
        hold. Or `refused`, and why.
        """
        told = self._ask({"path": str(path), "at": at, "calls": calls, "killed": killed})
        status = self._told()
        expected = -signal.SIGKILL if killed and "refused" not in told else 0
        assert status == expected, f"the second process ended with {status}"
        return told

    def look(self, folder: Path) -> dict[str, str]:
        """What its files have in them, by hash. A process that has one of them open in SQLite must
        not look by itself: to close a file gives up all locks that the process has on it."""
        found: dict[str, str] = self._ask({"look": str(folder)})
        return found

    def _ask(self, what: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return self._told()

    def _told(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        """Let it end."""
        self._process.communicate(timeout=30)


def main() -> None:
    """Live each life that is asked for, and tell how its process ended."""
    sqlite.LOCK_WAIT_S = PATIENCE_S
    for line in sys.stdin:
        asked = json.loads(line)
        if "look" in asked:
            _tell(_look(Path(asked["look"])))
            continue
        child = os.fork()
        if child == 0:
            asyncio.run(_live(**asked))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        _tell(os.waitstatus_to_exitcode(status))


def _look(folder: Path) -> dict[str, str]:
    files = (path for path in folder.iterdir() if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


async def _live(path: str, at: float, calls: list[Any], killed: str) -> None:
    store = Store(SqliteJournal(Path(path), "process"), clock=lambda: at)
    try:
        ended = {outcome.hold: outcome.nanos for outcome in await store.open()}
    except JournalUnavailable as error:
        _tell({"refused": str(error)})
        return
    held: dict[str, int] = {}
    paid: dict[str, int] = {}
    for session, hold, nanos, cost in calls:
        if await _hold(store, session, hold, nanos):
            held[hold] = nanos
            if cost is not None:
                await store.settle(hold, cost, "usage")[1]
                paid[hold] = cost
    if not killed:
        await store.close()
    _tell({"ended": ended, "held": held, "paid": paid})
    if killed:
        with contextlib.suppress(BarredError):
            store.hold("loose", _quote(1), Policy(), killed)
        os.kill(os.getpid(), signal.SIGKILL)


async def _hold(store: Store, session: str, hold: str, nanos: int) -> bool:
    try:
        verdict, written = store.hold(session, _quote(nanos), Policy(), hold)
    except BarredError:
        return False
    await written
    return isinstance(verdict, Admitted)


def _quote(nanos: int) -> Quote:
    return Quote(fixed=nanos * TOKENS_PER_RATE, per_token=0, asked=0, most=0)


def _tell(what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
