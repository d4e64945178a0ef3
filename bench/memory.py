"""How the daemon's memory and descriptors grow with its calls: `python bench/memory.py [CALLS]`.

A daemon and a stand-in of its own, 16 calls at once, streamed and not. Prints the resident set
and the number of open files after each tenth of the calls, and the slope over the last half.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentwatch.settings import load_settings
from agentwatch.standin.process import StandinProcess
from agentwatch_cli.client import Control

AT_ONCE = 16
TENTHS = 10


def agentwatch(verb: str, environ: Mapping[str, str]) -> None:
    """Run one command of ours in the bench's home."""
    command = [sys.executable, "-m", "agentwatch_cli", verb]
    subprocess.run(command, env=environ, check=True, capture_output=True)


def body(streamed: bool) -> str:
    """A short chat."""
    return json.dumps(
        {
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": "hello [[standin: tokens=8]]"}],
            "max_completion_tokens": 16,
            "stream": streamed,
        }
    )


def call_often(port: int, token: str, count: int) -> None:
    """So many calls over one connection. Raises RuntimeError for one that is not served."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    for number in range(count):
        connection.request("POST", "/openai/v1/chat/completions", body(number % 2 == 0), headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {said[:200]!r}")
    connection.close()


def call_all(port: int, token: str, count: int) -> None:
    """So many calls, 16 at once."""
    threads = [
        threading.Thread(target=call_often, args=(port, token, count // AT_ONCE))
        for _ in range(AT_ONCE)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def look(pid: int) -> tuple[int, int]:
    """Resident set in KB, and open files, of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(resident.split()[1]), open_files(pid)


def open_files(pid: int) -> int:
    """How many descriptors it has; 0 where that can't be seen (it is not dumpable: root only)."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - of a process that may go
    except OSError:
        return 0


def main() -> None:
    """Measure, and print a table."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    folder = tempfile.mkdtemp(prefix="aw-")
    with StandinProcess(keep=100) as standin:
        environ: dict[str, Any] = {
            **os.environ,
            "AGENTWATCH_HOME": folder,
            "AGENTWATCH_PORT": "0",
            "AGENTWATCH_OPENAI_UPSTREAM": standin.url,
            "OPENAI_API_KEY": standin.key,
        }
        try:
            agentwatch("up", environ)
            measure(Control(load_settings(environ=environ)), calls)
        finally:
            agentwatch("down", environ)
            shutil.rmtree(folder, ignore_errors=True)


def measure(control: Control, calls: int) -> None:
    """Call, look, and print."""
    about = control.request("GET", "/v1/status")
    session = control.request("POST", "/v1/sessions", {"budget_usd": 1000})
    rows = []
    for tenth in range(TENTHS):
        call_all(about["port"], session["token"], calls // TENTHS)
        rows.append(look(about["pid"]))
        made = (tenth + 1) * (calls // TENTHS)
        print(f"{made:>9,} calls  {rows[-1][0]:>9,} KB  {rows[-1][1]:>4} files")
    half = TENTHS // 2
    slope = (rows[-1][0] - rows[half - 1][0]) / (calls // 2) * 100_000
    print(f"slope over the last half: {slope:,.0f} KB in 100,000 calls")


if __name__ == "__main__":
    main()
