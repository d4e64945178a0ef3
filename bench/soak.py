"""Calls as fast as they go, with faults on: `python bench/soak.py [CALLS]` (172,800 by default).

A daemon and a stand-in of its own, 16 calls at once, streamed and not. One call in four goes wrong:
the provider refuses, breaks off, resets, lies about its usage or leaves it out, or the client hangs
up in the middle. Among the first tenth of the calls the process that serves is killed, among the
second it is replaced by `agentwatch restart`. Prints the daemon's resident set, open files and the
ledger's files after each tenth of the calls, and each thing that is not as it must be. The exit
code is 1 where

- a call ended otherwise than what went wrong with it must end; the two replacements may each break
  as many calls as are made at once
- memory grows by more than 1 MB in 100,000 calls over the last half (8 MB over a half of fewer than
  50,000: then it is still warming up)
- at the end more files are open than at half time, or more than 64 connections are kept to the
  provider (only root sees either: for others it is said that they are not judged)
- the WAL is above 16 MB after any tenth
- a hold is left, nothing was billed, or less was settled than billed
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from agentwatch.errors import DaemonUnavailable
from agentwatch.settings import load_settings
from agentwatch.standin.process import StandinProcess
from agentwatch_cli.client import Control

CALLS = 172_800
AT_ONCE = 16
TENTHS = 10
PATIENCE_S = 30.0
SLOPE_KB = 1_024
#: what memory may grow by while it warms up, and the calls after which it has
WARMING_KB, WARM = 8_192, 50_000
WAL_MB = 16
#: connections to the provider that may be kept: those of who hung up are read on for a while
KEPT = 4 * AT_ONCE
#: what goes wrong, one after the other, and how such a call must end; a blank: nothing
FAULTS = {
    "": "200",
    "status=429": "429",
    "status=500": "500",
    "cut=3": "cut",
    "reset=before_head": "502",
    "error=2": "200",
    "usage=missing": "200",
    "usage=huge": "200",
    "hang up": "hung up",
}
ORDER = (*("",) * 24, *list(FAULTS)[1:])
#: how a call may end whose daemon was killed or replaced
BROKEN = {"cut", "broken"}


class Files(NamedTuple):
    """Open descriptors: connections that are kept to the provider, and all others."""

    others: int
    kept: int


class Look(NamedTuple):
    """What the daemon takes: KB, MB."""

    resident_kb: int
    files: Files | None
    ledger_mb: float
    wal_mb: float


class End(NamedTuple):
    """How one call ended, and what went wrong with it."""

    fault: str
    how: str


def agentwatch(verb: str, environ: Mapping[str, str]) -> None:
    """Run one command of ours in the soak's home."""
    command = [sys.executable, "-m", "agentwatch_cli", verb]
    subprocess.run(command, env=environ, check=True, capture_output=True)


def body(number: int, fault: str) -> str:
    """The call with this number."""
    hangs_up = fault == "hang up"
    directive = "tokens=200 delay=0.001" if hangs_up else f"tokens=8 {fault}"
    asked = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": f"hello [[standin: {directive}]]"}],
        "max_completion_tokens": 200 if hangs_up else 16,
        "stream": hangs_up or number % 2 == 0,
    }
    return json.dumps(asked)


def call(connection: http.client.HTTPConnection, token: str, number: int) -> End:
    """Make the call with this number; how it ended."""
    fault = ORDER[number % len(ORDER)]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    how = "broken"
    try:
        connection.request("POST", "/openai/v1/chat/completions", body(number, fault), headers)
        answer = connection.getresponse()
        how = "cut"
        if fault == "hang up":
            answer.read1(100)
            connection.close()
            return End(fault, "hung up" if answer.status == http.client.OK else str(answer.status))
        answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return End(fault, how)
    return End(fault, str(answer.status))


def call_often(port: int, token: str, numbers: range, ends: list[End]) -> None:
    """These calls, one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for number in numbers:
        ends.append(call(connection, token, number))  # noqa: PERF401 - others add to it meanwhile
    connection.close()


def call_all(
    port: int, token: str, first: int, count: int, amid: Callable[[], None] | None
) -> list[End]:
    """So many calls, 16 at once; `amid` is done when half of them are over."""
    ends: list[End] = []
    edges = [first + count * at // AT_ONCE for at in range(AT_ONCE + 1)]
    threads = [
        threading.Thread(target=call_often, args=(port, token, range(*edge), ends))
        for edge in pairwise(edges)
    ]
    for thread in threads:
        thread.start()
    if amid:
        while len(ends) < count // 2:
            time.sleep(0.01)
        amid()
    for thread in threads:
        thread.join()
    return ends


def odd_ends(ends: list[End], replaced: bool) -> list[str]:
    """What ended as it must not, in words."""
    odd = Counter(end for end in ends if end.how != FAULTS[end.fault])
    if replaced and sum(odd.values()) <= AT_ONCE:
        odd = Counter({end: times for end, times in odd.items() if end.how not in BROKEN})
    return [f"{times} calls ({end.fault or 'no fault'}): {end.how}" for end, times in odd.items()]


def look(pid: int, home: Path, provider: int) -> Look:
    """What the daemon takes now; `provider` is the port of the provider."""
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    ledger = sum(path.stat().st_size for path in home.glob("ledger.sqlite3*"))
    wal = (home / "ledger.sqlite3-wal").stat().st_size
    return Look(int(resident.split()[1]), at_rest(pid, provider), ledger / 1e6, wal / 1e6)


def at_rest(pid: int, provider: int) -> Files | None:
    """Its descriptors once it has noticed which clients are gone: the fewest of a few looks. It is
    not dumpable, so that only root sees them: None for others, PermissionError where root may not.
    """
    if os.geteuid() != 0:
        return None
    looks = []
    for _ in range(5):
        time.sleep(0.05)
        looks.append(open_files(pid, provider))
    return min(looks)


def open_files(pid: int, provider: int) -> Files:
    """Its descriptors at this moment."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    to_provider = {f"socket:[{row[9]}]" for row in rows if row[2].endswith(f":{provider:04X}")}
    opened = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            opened.append(str(path.readlink()))
    kept = sum(name in to_provider for name in opened)
    return Files(len(opened) - kept, kept)


class Soak:
    """A session that is called on, tenth by tenth, and what was not as it must be."""

    def __init__(self, environ: Mapping[str, str], standin: StandinProcess, calls: int) -> None:
        self.wrong: list[str] = []
        self._environ = environ
        self._standin = standin
        self._calls = calls
        self._control = Control(load_settings(environ=environ))
        self._port = self._control.request("GET", "/v1/status")["port"]
        self._session = self._control.request("POST", "/v1/sessions", {"budget_usd": 100_000})

    def run(self) -> None:
        """Call, look, print and judge."""
        replacements = {0: self._kill, 1: lambda: agentwatch("restart", self._environ)}
        looks, began = [], time.monotonic()
        for tenth in range(TENTHS):
            first, last = (self._calls * at // TENTHS for at in (tenth, tenth + 1))
            amid, token = replacements.get(tenth), self._session["token"]
            ends = call_all(self._port, token, first, last - first, amid)
            self.wrong += odd_ends(ends, replaced=amid is not None)
            looks.append(self._look(last))
        print(f"{self._calls / (time.monotonic() - began):,.0f} calls/s")
        self._judge_growth(looks[TENTHS // 2 - 1], looks[-1])
        self._judge_books()

    def _kill(self) -> None:
        """Kill the process that serves, and wait for the next one."""
        pid = self._control.request("GET", "/v1/status")["pid"]
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                if self._control.request("GET", "/v1/status")["pid"] != pid:
                    return
            except DaemonUnavailable:
                time.sleep(0.01)
        self.wrong.append("nobody serves after the kill")

    def _look(self, calls: int) -> Look:
        """Look once no call is out any more, and judge the WAL."""
        deadline = time.monotonic() + PATIENCE_S
        while (status := self._control.request("GET", "/v1/status"))["calls"]:
            if time.monotonic() > deadline:
                self.wrong.append(f"{status['calls']} calls do not end")
                break
            time.sleep(0.05)
        home = Path(self._environ["AGENTWATCH_HOME"])
        seen = look(status["pid"], home, self._standin.port)
        files = "{:>3} files, {:>2} kept".format(*seen.files or "??")
        print(
            f"{calls:>9,} calls  {seen.resident_kb:>9,} KB  {files}  "
            f"ledger {seen.ledger_mb:6.1f} MB, WAL {seen.wal_mb:4.1f} MB",
            flush=True,
        )
        if seen.wal_mb > WAL_MB:
            self.wrong.append(f"the WAL has {seen.wal_mb:.1f} MB, more than {WAL_MB}")
        return seen

    def _judge_growth(self, half: Look, end: Look) -> None:
        calls = self._calls // 2
        grown = end.resident_kb - half.resident_kb
        print(f"slope over the last half: {grown / calls * 100_000:,.0f} KB in 100,000 calls")
        if grown > (WARMING_KB if calls < WARM else SLOPE_KB * calls / 100_000):
            self.wrong.append(f"memory grew by {grown} KB over the last {calls:,} calls")
        if half.files is None or end.files is None:
            print("descriptors: not judged, as only root sees them")
            return
        if end.files.others > half.files.others:
            self.wrong.append(f"files at the end: {end.files}; at half time: {half.files}")
        if end.files.kept > KEPT:
            self.wrong.append(f"{end.files.kept} connections to the provider are kept")

    def _judge_books(self) -> None:
        deadline = time.monotonic() + 10
        path = f"/v1/sessions/{self._session['session_id']}"
        shown = self._control.request("GET", path)
        while time.monotonic() < deadline:
            if not shown["held_usd"] and not self._standin.bill()["in_flight"]:
                break
            time.sleep(0.1)
            shown = self._control.request("GET", path)
        settled, billed = shown["settled_usd"], self._standin.bill()["billed_nanos"]
        print(f"held at the end: ${shown['held_usd']}")
        print(f"settled ${settled:.9f}, billed ${billed / 1e9:.9f}")
        if shown["held_usd"]:
            self.wrong.append("a hold is left")
        if not round(settled * 1e9) >= billed > 0:
            self.wrong.append("nothing was billed, or less was settled")


def main() -> int:
    """Soak; the exit code."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else CALLS
    with tempfile.TemporaryDirectory(prefix="aw-") as folder, StandinProcess(keep=100) as standin:
        environ: dict[str, str] = {
            **os.environ,
            "AGENTWATCH_HOME": folder,
            "AGENTWATCH_PORT": "0",
            "AGENTWATCH_OPENAI_UPSTREAM": standin.url,
            "OPENAI_API_KEY": standin.key,
        }
        try:
            agentwatch("up", environ)
            soak = Soak(environ, standin, calls)
            soak.run()
        finally:
            agentwatch("down", environ)
    for what in soak.wrong:
        print(f"wrong: {what}")
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
