"""What is compared: the provider itself, a bare pass-through to it, and AgentWatch before it.

Each side is a port, a path and a key to call with, and the process whose CPU is counted.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CHAT = "/chat/completions"
BUDGET_USD = 1_000_000
KEY = "bench-key"


@dataclass
class Side:
    """One way to the provider. `pid` is None for the direct one: nothing stands in between."""

    name: str
    port: int
    path: str
    key: str
    pid: int | None = None
    #: where AgentWatch keeps its books of the run
    socket_path: str | None = None
    session_id: str | None = None

    def cpu_ns(self) -> int | None:
        """CPU that the process in between has used, all its threads, in nanoseconds."""
        if self.pid is None:
            return None
        tasks = Path(f"/proc/{self.pid}/task")
        try:
            return sum(int((t / "schedstat").read_text().split()[0]) for t in tasks.iterdir())
        except (OSError, ValueError, IndexError):
            return None

    def settled_usd(self) -> float:
        """What AgentWatch has charged to the run's session."""
        assert self.socket_path is not None
        told = control(self.socket_path, "GET", f"/v1/sessions/{self.session_id}")
        return float(told["settled_usd"])


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the daemon's socket."""

    def __init__(self, path: str) -> None:
        super().__init__("agentwatch", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


def control(path: str, method: str, call: str, body: Any = None) -> Any:
    """One call of the control path. Raises RuntimeError where it is refused."""
    connection = UnixConnection(path)
    try:
        sent = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, call, body=sent, headers=headers)
        answer = connection.getresponse()
        told = json.loads(answer.read())
    finally:
        connection.close()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {call}: {answer.status} {told}")
    return told


@contextmanager
def started(script: str, *arguments: str) -> Iterator[tuple[int, int]]:
    """A script of this folder that tells its port on its first line: its port and process."""
    command = [sys.executable, str(HERE / script), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["port"], process.pid
        finally:
            process.terminate()


@dataclass
class Provider:
    """The canned provider."""

    port: int
    pid: int

    def billed_nanos(self) -> int:
        """What it billed up to now."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/bill")
            return int(json.loads(connection.getresponse().read())["nanos"])
        finally:
            connection.close()


@contextmanager
def canned() -> Iterator[Provider]:
    """The provider that all sides lead to."""
    with started("canned.py") as (port, pid):
        yield Provider(port, pid)


def direct(provider: Provider) -> Side:
    """Straight to the provider."""
    return Side("direct", provider.port, "/v1" + CHAT, KEY)


@contextmanager
def bare(provider: Provider) -> Iterator[Side]:
    """Through the bare pass-through."""
    with started("passthrough.py", str(provider.port), KEY) as (port, pid):
        yield Side("bare", port, "/v1" + CHAT, "unused", pid)


@contextmanager
def agentwatch(provider: Provider, **settings: str) -> Iterator[Side]:
    """Through a daemon of its own, with a home of its own; `settings` are its variables."""
    home = tempfile.mkdtemp(prefix="aw-bench-")
    environment = _environment(home, provider) | settings
    try:
        _cli(environment, "up")
        about = json.loads(_cli(environment, "status", "--json"))
        asked = {"session_id": "bench", "budget_usd": BUDGET_USD}
        session = control(about["socket"], "POST", "/v1/sessions", asked)
        yield Side(
            name="agentwatch",
            port=about["port"],
            path="/openai/v1" + CHAT,
            key=session["token"],
            pid=about["pid"],
            socket_path=about["socket"],
            session_id="bench",
        )
    finally:
        _cli(environment, "down", check=False)
        shutil.rmtree(home, ignore_errors=True)


def _environment(home: str, provider: Provider) -> dict[str, str]:
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("AGENTWATCH_", "OPENAI_"))}
    return kept | {
        "AGENTWATCH_HOME": home,
        "AGENTWATCH_PORT": "0",
        "AGENTWATCH_OPENAI_UPSTREAM": f"http://127.0.0.1:{provider.port}/v1",
        "OPENAI_API_KEY": KEY,
    }


def _cli(environment: dict[str, str], *arguments: str, check: bool = True) -> str:
    command = [sys.executable, "-m", "agentwatch_cli", *arguments]
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=False, timeout=60
    )
    if check and done.returncode != 0:
        raise RuntimeError(f"`agentwatch {' '.join(arguments)}` ended with {done.returncode}")
    return done.stdout
