"""What others notice while a daemon is overloaded: `python bench/overload.py [SCENARIO …]`.

An innocent agent makes calls one after the other, with nothing else going on and during each
scenario, in one run:

    slow      500 connections that send a byte of a request every half second
    idle      10,000 connections on which nothing is sent
    bodies    200 requests with bodies of 10 MB at once
    files     a daemon that may open few files, and more connections than that
    restart   the serving process is replaced five times under load

Prints p50 and p99 of the innocent calls, how many were refused or failed, the daemon's memory at
its highest, and how often the p99 with nothing else going on goes into that of the scenario: within
twice is what is aimed at, and no more than told, as it is the machine's doing as well. The exit
code is 1 where an innocent call was refused or failed, money was held five seconds later, or a
large body was not refused with 400. Where the limit of descriptors allows fewer idle connections
than were meant, their number is told.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agentwatch.settings import load_settings
from agentwatch.standin.process import StandinProcess
from agentwatch_cli.client import Control

CALLS = 400
SLOW = 500
IDLE = 10_000
BODIES = 200
BODY_BYTES = 10 << 20
#: files that the daemon of `files` may open, and connections that are made to it
FEW_FILES = 200
MANY = 400
RESTARTS = 5
#: descriptors that this program needs for itself
OURS = 200
#: after this nothing may be held
HELD_S = 5.0


def command(environ: Mapping[str, str], *words: str, files: int | None = None) -> None:
    """Run one command of ours; `files`: with so few open files allowed."""

    def limit() -> None:
        if files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    subprocess.run(
        [sys.executable, "-m", "agentwatch_cli", *words],
        env=environ,
        check=True,
        capture_output=True,
        preexec_fn=limit,
    )


@dataclass
class Home:
    """A daemon of its own, and a session on it."""

    environ: Mapping[str, str]
    control: Control
    port: int = 0
    token: str = ""
    ids: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Open a session that nothing here can exhaust."""
        self.port = self.control.request("GET", "/v1/status")["port"]
        session = self.control.request("POST", "/v1/sessions", {"budget_usd": 100_000})
        self.token = session["token"]
        self.ids.append(session["session_id"])

    @property
    def pid(self) -> int:
        """The process that serves."""
        return int(self.control.request("GET", "/v1/status")["pid"])

    def held(self) -> float:
        """USD that are held over all sessions."""
        shown = self.control.request("GET", "/v1/sessions")["sessions"]
        return float(sum(session["held_usd"] for session in shown))

    def head(self, length: int, token: str | None = None) -> bytes:
        """The head of a chat call with a body of this length."""
        return (
            "POST /openai/v1/chat/completions HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {token or self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        ).encode()

    def connect(self) -> socket.socket:
        """A new connection to the port."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)


def chat(filling: int = 0) -> bytes:
    """A short chat, with so many bytes of prompt more."""
    said = "hello [[standin: tokens=8]]" + "x" * filling
    asked = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": said}],
        "max_completion_tokens": 16,
    }
    return json.dumps(asked).encode()


@contextmanager
def home(
    standin: StandinProcess,
    files: int | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Home]:
    """A daemon in front of the stand-in; `settings` are further variables."""
    with tempfile.TemporaryDirectory(prefix="aw-") as folder:
        environ: dict[str, str] = {
            **os.environ,
            "AGENTWATCH_HOME": folder,
            "AGENTWATCH_PORT": "0",
            "AGENTWATCH_OPENAI_UPSTREAM": standin.url,
            "OPENAI_API_KEY": standin.key,
            **(settings or {}),
        }
        try:
            command(environ, "up", files=files)
            made = Home(environ, Control(load_settings(environ=environ)))
            made.begin()
            yield made
        finally:
            command(environ, "down")


@dataclass
class Seen:
    """What the innocent saw."""

    latency_ms: list[float] = field(default_factory=list)
    refused: int = 0
    failed: int = 0
    #: the daemon's resident set at its highest, MB
    memory_mb: int = 0
    #: what else must not be
    wrong: list[str] = field(default_factory=list)

    @property
    def p99_ms(self) -> float:
        """What one call in a hundred took longer than."""
        ordered = sorted(self.latency_ms)
        return ordered[int(len(ordered) * 0.99)] if ordered else float("nan")

    def beside(self, alone: Seen) -> str:
        """Its p99 beside that of another time, in words."""
        times = self.p99_ms / alone.p99_ms
        return f"  p99 is {times:.1f} times that; within twice: {'yes' if times <= 2 else 'no'}"

    def add(self, other: Seen) -> None:
        """What was seen at another time as well."""
        self.latency_ms += other.latency_ms
        self.refused += other.refused
        self.failed += other.failed
        self.memory_mb = max(self.memory_mb, other.memory_mb)

    @staticmethod
    def heading() -> str:
        """What stands above the rows."""
        names = f"{'p50 ms':>8} {'p99 ms':>8} {'calls':>6} {'refused':>8} {'failed':>7} {'MB':>7}"
        return f"{'':<18} {names}"

    def row(self, name: str) -> str:
        """One line of the table."""
        p50 = statistics.median(self.latency_ms) if self.latency_ms else float("nan")
        return (
            f"{name:<18} {p50:>8.2f} {self.p99_ms:>8.2f} {len(self.latency_ms):>6} "
            f"{self.refused:>8} {self.failed:>7} {self.memory_mb:>7}"
        )


def innocent(at: Home, calls: int, until: Callable[[], bool] | None = None) -> Seen:
    """So many calls, or calls until it is over, each over a new connection."""
    seen = Seen()
    body = chat()
    while len(seen.latency_ms) + seen.failed + seen.refused < calls or (until and not until()):
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", at.port, timeout=60)
        try:
            headers = {"Authorization": f"Bearer {at.token}", "Content-Type": "application/json"}
            connection.request("POST", "/openai/v1/chat/completions", body, headers)
            answer = connection.getresponse()
            answer.read()
        except ConnectionRefusedError:
            seen.refused += 1
        except (OSError, http.client.HTTPException):
            seen.failed += 1
        else:
            if answer.status == 200:
                seen.latency_ms.append((time.perf_counter() - began) * 1000)
            else:
                seen.failed += 1
        finally:
            connection.close()
    seen.memory_mb = _memory_mb(at.pid)
    return seen


def _memory_mb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024


def slow(at: Home) -> Seen:
    """Requests that come a byte at a time."""
    over = threading.Event()

    def drip(sock: socket.socket) -> None:
        for byte in at.head(100):
            if over.wait(0.5):
                return
            try:
                sock.send(bytes([byte]))
            except OSError:
                return

    with ExitStack() as stack:
        socks = [stack.enter_context(at.connect()) for _ in range(SLOW)]
        threads = [threading.Thread(target=drip, args=(sock,), daemon=True) for sock in socks]
        for thread in threads:
            thread.start()
        seen = innocent(at, CALLS)
        over.set()
        for thread in threads:
            thread.join()
    return seen


def idle(at: Home) -> Seen:
    """Connections on which nothing comes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = min(IDLE, hard - OURS)
    if allowed < IDLE:
        print(f"  only {allowed:,} of {IDLE:,} connections: {hard:,} descriptors are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with ExitStack() as stack:
            for _ in range(allowed):
                stack.enter_context(at.connect())
            return innocent(at, CALLS)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def bodies(at: Home) -> Seen:
    """Large bodies, all at once."""
    body = chat(BODY_BYTES)
    # refused for the money, so that the stand-in, which has to read them as well, is not measured
    poor = at.control.request("POST", "/v1/sessions", {"budget_usd": 0.01})["token"]
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(_send(at, poor, body)))
        for _ in range(BODIES)
    ]
    for thread in threads:
        thread.start()
    seen = innocent(at, 20, lambda: not any(thread.is_alive() for thread in threads))
    for thread in threads:
        thread.join()
    if answers != ["400"] * BODIES:
        seen.wrong.append(f"of {BODIES} large bodies: {dict(Counter(answers))}")
    return seen


def _send(at: Home, token: str, body: bytes) -> str:
    """How it is answered: a status, or the error's name."""
    try:
        with at.connect() as sock:
            sock.settimeout(120)
            sock.sendall(at.head(len(body), token) + body)
            return sock.recv(65_536)[9:12].decode()
    except OSError as error:
        return type(error).__name__


def files(at: Home) -> Seen:
    """More connections than there are descriptors."""
    with ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(at.connect())
        return innocent(at, CALLS)


def restart(at: Home) -> Seen:
    """Replace the process that serves, while calls come."""
    done = threading.Event()

    def replace() -> None:
        for _ in range(RESTARTS):
            command(at.environ, "restart")
            time.sleep(0.5)
        done.set()

    thread = threading.Thread(target=replace)
    thread.start()
    seen = innocent(at, CALLS, done.is_set)
    thread.join()
    return seen


SCENARIOS: dict[str, Callable[[Home], Seen]] = {
    "slow": slow,
    "idle": idle,
    "bodies": bodies,
    "files": files,
    "restart": restart,
}


def main() -> int:
    """Run the scenarios that were named, or all; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scenarios", nargs="*", choices=[[], *SCENARIOS], default=[])
    names = parser.parse_args().scenarios or list(SCENARIOS)
    print(Seen.heading())
    wrong = []
    with StandinProcess(keep=100) as standin:
        for name in names:
            with home(standin, FEW_FILES if name == "files" else None) as at:
                alone = innocent(at, CALLS)
                print(alone.row("  nothing else"), flush=True)
                seen = SCENARIOS[name](at)
                print(seen.row(name) + "\n" + seen.beside(alone), flush=True)
                wrong += [f"{name}: {what}" for what in judged(at, alone) + judged(at, seen)]
    for what in wrong:
        print(f"wrong: {what}")
    return 1 if wrong else 0


def judged(at: Home, seen: Seen) -> list[str]:
    """What was not as it must be, in words."""
    wrong = list(seen.wrong)
    if seen.refused or seen.failed:
        wrong.append(f"{seen.refused} innocent calls were refused, {seen.failed} failed")
    deadline = time.monotonic() + HELD_S
    while (held := at.held()) and time.monotonic() < deadline:
        time.sleep(0.05)
    if held:
        wrong.append(f"${held} is still held")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
