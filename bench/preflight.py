"""What a pre-flight costs: `python bench/preflight.py`.

One daemon, one session, one core where there are more: both ends on it, so that no figure is
flattered by a second one. Each way asks the same question over and over:

    check            GET /v1/budget-check as the SDK asks: a frame on the Unix socket
    .. http.client   the same by the standard library's HTTP, Unix socket
    .. httpx         the same by an httpx client that is kept, Unix socket
    .. aw-sdk        as aw-sdk 1.0.1 asks before each call: httpx.get, a new connection, the port
    hold, settle     POST /v1/holds as the SDK asks, and its settle: each a durable entry
    .. http.client   the same by the standard library's HTTP
    echo             a frame's bytes there and back through uvloop: what the machine itself takes

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
HOLD = {
    "session_id": "bench",
    "provider": "openai",
    "model": "gpt-4o-mini",
    "input_tokens": 9,
    "max_output_tokens": 9,
}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3}


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def _ways(home: Path, port: int, stack: ExitStack) -> dict[str, Callable[[], Any]]:
    path = str(home / "agentwatch.sock")
    frames, plain = door(path), _Unix(path)
    kept = stack.enter_context(httpx.Client(transport=httpx.HTTPTransport(uds=path)))
    token = agentwatch.session(1000.0, session_id="bench").open().credential
    held: list[str] = []

    def by_http_client(method: str, path: str, body: Any = None) -> Any:
        sent = None if body is None else json.dumps(body)
        plain.request(method, path, sent, {"Authorization": f"Bearer {token}"})
        return json.loads(plain.getresponse().read())

    def by_aw_sdk() -> None:
        answer = httpx.get(
            f"http://127.0.0.1:{port}{CHECK}",
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=2.0,
        )
        answer.raise_for_status()
        answer.json()

    def framed(method: str, path: str, body: Any = None) -> Any:
        return frames.ask(method, path, body, token).body

    def hold(ask: Callable[..., Any]) -> None:
        held.append(ask("POST", "/v1/holds", HOLD)["hold_id"])

    def settle(ask: Callable[..., Any]) -> None:
        ask("POST", f"/v1/holds/{held.pop()}/settle", {"usage": USAGE})

    return {
        "check": lambda: framed("GET", CHECK),
        "check .. http.client": lambda: by_http_client("GET", CHECK),
        "check .. httpx": lambda: kept.get(f"http://agentwatch{CHECK}").json(),
        "check .. aw-sdk": by_aw_sdk,
        "hold": lambda: hold(framed),
        "settle": lambda: settle(framed),
        "hold .. http.client": lambda: hold(by_http_client),
        "settle .. http.client": lambda: settle(by_http_client),
        "echo": _echo(home, stack),
    }


def _echo(home: Path, stack: ExitStack) -> Callable[[], Any]:
    """A question's bytes to a process that sends them back, and does nothing else."""
    path = str(home / "echo.sock")
    process = stack.enter_context(subprocess.Popen([sys.executable, "-c", _ECHO, path]))
    stack.callback(process.kill)
    while not Path(path).exists():
        time.sleep(0.01)
    sock = stack.enter_context(socket.socket(socket.AF_UNIX))
    sock.connect(path)

    def ask() -> None:
        sock.sendall(b"x" * 100)
        sock.recv(100)

    return ask


_ECHO = """
import asyncio, sys, uvloop
class Echo(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data): self.transport.write(data)
async def main():
    server = await asyncio.get_running_loop().create_unix_server(Echo, sys.argv[1])
    await server.serve_forever()
uvloop.run(main())
"""


def _measure(ways: dict[str, Callable[[], Any]], calls: int, rounds: int) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, ask in ways.items():
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
    print(f"{'way':<24}{'p50 µs':>10}{'p99 µs':>10}{'calls':>8}   ({options.durability})")
    for name, row in rows.items():
        print(f"{name:<24}{row['p50_us']:>10}{row['p99_us']:>10}{row['calls']:>8}")


if __name__ == "__main__":
    main()
