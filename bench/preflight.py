"""What a pre-flight costs: `python bench/preflight.py`.

One daemon, one session, one core where there are more: both ends on it, so that no figure is
flattered by a second one. Each way asks the same question over and over:

    sdk            GET /v1/budget-check by the SDK's hand-written HTTP, Unix socket
    http.client    the same by the standard library, Unix socket
    httpx          the same by an httpx client that is kept, Unix socket
    aw-sdk         as aw-sdk 1.0.1 asks before each call: httpx.get, a new connection, the port
    hold + void    POST /v1/holds and its void by the SDK: two questions, two durable entries

They take turns, so that what else the machine does meets all of them.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

import agentwatch
from agentwatch.sdk.door import door

KEY = "awk_of-the-benchmark-only"
CHECK = "/v1/budget-check?session_id=bench&limit_usd=2"


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def _ways(home: Path, port: int, stack: ExitStack) -> dict[str, Callable[[], Any]]:
    path = str(home / "agentwatch.sock")
    line, plain = door(path), _Unix(path)
    kept = stack.enter_context(httpx.Client(transport=httpx.HTTPTransport(uds=path)))
    session = agentwatch.session(1000.0, session_id="bench").open()

    def by_http_client() -> None:
        plain.request("GET", CHECK)
        json.loads(plain.getresponse().read())

    def by_aw_sdk() -> None:
        answer = httpx.get(
            f"http://127.0.0.1:{port}{CHECK}",
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=2.0,
        )
        answer.raise_for_status()
        answer.json()

    def hold() -> None:
        with session.hold("openai", "gpt-4o-mini", input_tokens=9, max_output_tokens=9) as held:
            held.void()

    return {
        "sdk": lambda: line.ask("GET", CHECK),
        "http.client": by_http_client,
        "httpx": lambda: kept.get(f"http://agentwatch{CHECK}").json(),
        "aw-sdk": by_aw_sdk,
        "hold + void": hold,
    }


def _measure(ways: dict[str, Callable[[], Any]], calls: int, rounds: int) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, ask in ways.items():
            ask()
            for _ in range(calls):
                began = time.perf_counter_ns()
                ask()
                took[name].append((time.perf_counter_ns() - began) / 1000)
    return took


def _command(environ: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "agentwatch_cli", *arguments]
    return subprocess.run(
        command, env=environ, check=True, capture_output=True, text=True, timeout=60
    ).stdout


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--durability", choices=("power", "process"), default="power")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aw-")))
        environ = {**os.environ, "AGENTWATCH_HOME": str(home), "AGENTWATCH_PORT": "0"}
        environ |= {"AGENTWATCH_API_KEY": KEY, "AGENTWATCH_LEDGER_DURABILITY": options.durability}
        os.environ["AGENTWATCH_HOME"] = str(home)
        stack.callback(_command, environ, "down")
        _command(environ, "up")
        port = json.loads(_command(environ, "status", "--json"))["port"]
        took = _measure(_ways(home, port, stack), options.calls, options.rounds)
    rows = {
        name: {
            "p50_us": round(statistics.median(each), 1),
            "p99_us": round(statistics.quantiles(each, n=100)[98], 1),
            "calls": len(each),
        }
        for name, each in took.items()
    }
    if options.json:
        print(json.dumps({"durability": options.durability, "rows": rows}))
        return
    print(f"{'way':<14}{'p50 µs':>10}{'p99 µs':>10}{'calls':>8}   ({options.durability})")
    for name, row in rows.items():
        print(f"{name:<14}{row['p50_us']:>10}{row['p99_us']:>10}{row['calls']:>8}")


if __name__ == "__main__":
    main()
