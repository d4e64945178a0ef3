"""A daemon under load that is killed again and again, and the provider's bill as the judge of it.

Each session calls a model of its own, so that what the stand-in bills can be told apart by session;
and a client notes its calls' two names, ours and the stand-in's, so that it can be by call.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from harness import Daemon, chat, environment, nanos, wait_until

from agentwatch.core import entries as e
from agentwatch.daemon import failpoints
from agentwatch.standin.process import StandinProcess
from agentwatch.store.protocol import all_rows
from agentwatch.store.sqlite import SqliteJournal

T = TypeVar("T")

MODELS = ("gpt-4o-mini", "gpt-4.1-nano", "gpt-4.1-mini", "gpt-4o")
PROGRAM = Path(__file__).parent / "e2e" / "crash_load.py"
#: what a client may see when the daemon is killed
BROKEN = {"served", "broken", "cut"}


class Load:
    """Sessions, each with a model of its own and a process that calls on its money."""

    def __init__(self, daemon: Daemon, standin: StandinProcess, threads: int = 3) -> None:
        self.agents = {model: daemon.open(1000.0) for model in MODELS}
        self.seen = Counter[str]()
        self._daemon = daemon
        self._standin = standin
        #: (hold, the provider's own id) of each call that a client saw begin
        self._named: list[tuple[str, str]] = []
        self._least = dict.fromkeys(MODELS, 0)
        self._processes = [
            subprocess.Popen(
                [sys.executable, str(PROGRAM), str(daemon.port), agent.token, model, str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for model, agent in self.agents.items()
        ]

    def stop(self) -> None:
        """End it, and add up what the clients saw."""
        for process in self._processes:
            said = json.loads(process.communicate("", timeout=90)[0])
            self.seen.update(said["seen"])
            self._named += [(hold, request) for hold, request in said["named"]]
        self._processes.clear()

    def check_covered(self) -> None:
        """All that is billed by now is held or settled, and what was settled has not fallen."""
        billed = self._billed()
        listed = asked(lambda: self._daemon.get("/v1/sessions"))["sessions"]
        told = {row["session_id"]: row for row in listed}
        for model, agent in self.agents.items():
            shown = told[agent.id]
            settled, held = nanos(shown["settled_usd"]), nanos(shown["held_usd"])
            assert settled >= self._least[model], f"{agent.id} lost charges"
            assert settled + held >= billed[model], f"{agent.id} is not charged all of its bill"
            self._least[model] = settled

    def check_after(self) -> None:
        """It is over: the books are right, what clients saw is what a kill may do, and all of it
        goes on."""
        self.stop()
        for agent in self.agents.values():
            agent.at_rest(10)
        self.check_books()
        assert self._daemon.get("/v1/verify")["ledger"] == "ok"
        self._check_each_call()
        for agent in self.agents.values():
            assert agent.post(body=chat("tokens=3")).status == 200
        assert set(self.seen) <= BROKEN, self.seen

    def check_books(self) -> None:
        """Every session has settled at least what the provider billed for it."""
        billed = self._billed()
        for model, agent in self.agents.items():
            shown = agent.show()
            assert shown["held_usd"] == 0
            assert nanos(shown["settled_usd"]) >= billed[model] > 0

    def _check_each_call(self) -> None:
        """One call that was charged its whole hold pays for no other that was forgotten."""
        settled = self._settled_by_hold()
        bills = {row["id"]: row["nanos"] for row in self._standin.bill()["by_request"]}
        for hold, request in self._named:
            assert settled.pop(hold) >= bills.pop(request) > 0
        # those that died before they had begun to answer
        assert len(settled) >= len(bills)
        assert sum(settled.values()) >= sum(bills.values())

    def _settled_by_hold(self) -> dict[str, int]:
        ours = {agent.id for agent in self.agents.values()}
        settled: dict[str, int] = {}
        for entry in entries_of(self._daemon.home):
            if isinstance(entry, e.Held) and entry.session in ours:
                settled[entry.hold] = 0
            elif isinstance(entry, e.Settled) and entry.hold in settled:
                settled[entry.hold] = entry.nanos
        return settled

    def _billed(self) -> Counter[str]:
        billed = Counter[str]()
        for row in self._standin.bill()["by_request"]:
            billed[row["model"]] += row["nanos"]
        return billed

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


class Frail(Daemon):
    """A daemon that dies where its file says, and whose deaths are counted by its supervisor."""

    def __init__(self, home: Path, standin: StandinProcess) -> None:
        self.failpoints = home / "failpoint"
        super().__init__(
            home, {**environment(home, standin), failpoints.VARIABLE: str(self.failpoints)}
        )

    @property
    def deaths(self) -> int:
        """How often the process that served, or was about to, was killed by now."""
        return self.log.count(f"died ({-signal.SIGKILL}): started again")

    @property
    def deaths_left(self) -> int:
        """How often it is still to die by its file."""
        try:
            return len(self.failpoints.read_text().split())
        except FileNotFoundError:
            return 0


def asked(ask: Callable[[], T]) -> T:
    """What the daemon answers, who may die meanwhile: then it is asked again."""

    def once() -> list[T]:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            return [ask()]
        return []

    (answer,) = wait_until(once, what="nobody serves")
    return answer


def entries_of(home: Path) -> list[Any]:
    """All entries of a home's ledger at rest, out of a copy: the file itself is the daemon's."""
    with tempfile.TemporaryDirectory() as folder:
        for path in home.glob("ledger.sqlite3*"):
            shutil.copy(path, folder)
        journal = SqliteJournal(Path(folder) / "ledger.sqlite3", "process")
        journal.load()
        try:
            return [e.decode(row.data) for row in all_rows(journal)]
        finally:
            journal.close()


def child_of(supervisor: int) -> int | None:
    """The process that a supervisor has started, be it ready or not."""
    with contextlib.suppress(OSError):
        found = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        return int(found[0]) if found else None
    return None


def supervisor_of(daemon: Daemon) -> int:
    """The pid of the supervisor."""
    told = json.loads((daemon.home / "daemon.json").read_text())
    return int(told["supervisor"]["pid"])


def serves_another(daemon: Daemon, pid: int) -> int:
    """Wait for the process that serves after the one that had `pid`; its own."""

    def another() -> int | None:
        now = asked(lambda: daemon.pid)
        return now if now != pid else None

    found = wait_until(another, what="nobody else serves")
    assert found is not None
    return found


def die(daemon: Daemon) -> float:
    """Kill the process that serves; seconds until another answers."""
    pid = daemon.pid
    killed_at = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    serves_another(daemon, pid)
    return time.monotonic() - killed_at


def die_while_starting(daemon: Daemon) -> None:
    """Kill the process that serves, and the next one before it does."""
    supervisor, pid = supervisor_of(daemon), daemon.pid
    os.kill(pid, signal.SIGKILL)

    def another() -> int | None:
        found = child_of(supervisor)
        return found if found not in (None, pid) else None

    second = wait_until(another)
    assert second is not None
    time.sleep(random.uniform(0, 0.4))
    os.kill(second, signal.SIGKILL)
    serves_another(daemon, second)
