"""Calls as fast as they go, with faults on: `python bench/soak.py [CALLS]` (172,800 by default).

A daemon and a stand-in of its own, 16 calls at once, streamed and not. One call in four goes wrong:
the provider refuses, breaks off, resets, lies about its usage or leaves it out, or the client hangs
up in the middle. Prints the daemon's resident set, open files and the ledger's files after each
tenth of the calls; then the memory's slope over the last half, the holds that are left, and what
was settled beside the stand-in's bill. The exit code is 1 where the slope is above 1 MB in 100,000
calls, a hold is left, or less was settled than billed.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from agentwatch.settings import load_settings
from agentwatch.standin.process import StandinProcess
from agentwatch_cli.client import Control

CALLS = 172_800
AT_ONCE = 16
TENTHS = 10
SLOPE_KB = 1_024
#: what goes wrong, one after the other; a blank: nothing
FAULTS = (
    *("",) * 24,
    "status=429",
    "status=500",
    "cut=3",
    "reset=before_head",
    "error=2",
    "usage=missing",
    "usage=huge",
    "hang up",
)


class Look(NamedTuple):
    """What the daemon takes: KB, descriptors, MB."""

    resident_kb: int
    files: int
    ledger_mb: float


def agentwatch(verb: str, environ: Mapping[str, str]) -> None:
    """Run one command of ours in the soak's home."""
    command = [sys.executable, "-m", "agentwatch_cli", verb]
    subprocess.run(command, env=environ, check=True, capture_output=True)


def body(number: int) -> tuple[str, bool]:
    """The call with this number, and whether its client hangs up."""
    fault = FAULTS[number % len(FAULTS)]
    hangs_up = fault == "hang up"
    directive = "tokens=200 delay=0.001" if hangs_up else f"tokens=8 {fault}"
    asked = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": f"hello [[standin: {directive}]]"}],
        "max_completion_tokens": 200 if hangs_up else 16,
        "stream": hangs_up or number % 2 == 0,
    }
    return json.dumps(asked), hangs_up


def call_often(port: int, token: str, first: int, count: int) -> None:
    """So many calls, one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    for number in range(first, first + count):
        asked, hangs_up = body(number)
        try:
            connection.request("POST", "/openai/v1/chat/completions", asked, headers)
            answer = connection.getresponse()
            if hangs_up:
                answer.read1(100)
                connection.close()
            else:
                answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
    connection.close()


def call_all(port: int, token: str, first: int, count: int) -> None:
    """So many calls, 16 at once."""
    share = count // AT_ONCE
    threads = [
        threading.Thread(target=call_often, args=(port, token, first + at * share, share))
        for at in range(AT_ONCE)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def look(pid: int, home: Path) -> Look:
    """What the daemon takes now."""
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    ledger = sum(path.stat().st_size for path in home.glob("ledger.sqlite3*"))
    return Look(int(resident.split()[1]), open_files(pid), ledger / 1e6)


def open_files(pid: int) -> int:
    """How many descriptors it has; 0 where that can't be seen (it is not dumpable: root only)."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - of a process that may go
    except OSError:
        return 0


def soak(control: Control, standin: StandinProcess, home: Path, calls: int) -> bool:
    """Call, look and print; whether all is as it must be."""
    about = control.request("GET", "/v1/status")
    session = control.request("POST", "/v1/sessions", {"budget_usd": 100_000})
    looks: list[Look] = []
    began = time.monotonic()
    for tenth in range(TENTHS):
        each = calls // TENTHS
        call_all(about["port"], session["token"], tenth * each, each)
        looks.append(look(about["pid"], home))
        wal = (home / "ledger.sqlite3-wal").stat().st_size / 1e6
        print(
            f"{(tenth + 1) * each:>9,} calls  {looks[-1].resident_kb:>9,} KB  "
            f"{looks[-1].files:>4} files  ledger {looks[-1].ledger_mb:6.1f} MB, WAL {wal:4.1f} MB",
            flush=True,
        )
    print(f"{calls / (time.monotonic() - began):,.0f} calls/s")
    half = TENTHS // 2
    slope = (looks[-1].resident_kb - looks[half - 1].resident_kb) / (calls // 2) * 100_000
    print(f"slope over the last half: {slope:,.0f} KB in 100,000 calls")
    return books_are_right(control, standin, session["session_id"]) and slope <= SLOPE_KB


def books_are_right(control: Control, standin: StandinProcess, session_id: str) -> bool:
    """Print what is left open, and settled beside the bill."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        shown: dict[str, Any] = control.request("GET", f"/v1/sessions/{session_id}")
        if not shown["held_usd"] and not standin.bill()["in_flight"]:
            break
        time.sleep(0.1)
    billed = standin.bill()["billed_nanos"] / 1e9
    print(f"held at the end: ${shown['held_usd']}")
    print(f"settled ${shown['settled_usd']:.9f}, billed ${billed:.9f}")
    return not shown["held_usd"] and bool(round(shown["settled_usd"] * 1e9) >= round(billed * 1e9))


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
            well = soak(Control(load_settings(environ=environ)), standin, Path(folder), calls)
        finally:
            agentwatch("down", environ)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
