"""A small control server on a real Unix socket, in the daemon's place, and the program in a
process of its own."""

from __future__ import annotations

import json
import os
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest


class FakeDaemon:
    """Answers as the contract says, from sessions in memory; remembers what it was asked."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.socket = home / "aw.sock"
        self.sessions: dict[str, dict[str, Any]] = {}
        self.budgets: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, Any, str | None]] = []
        self.followers = 0
        #: what each session has used by the time that its command ends
        self.used: dict[str, Any] = {}
        self._events: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._server: socketserver.ThreadingUnixStreamServer | None = None
        self._lives = 0

    def start(self) -> None:
        daemon = self

        class Handler(_Handler):
            fake = daemon

        self.socket.unlink(missing_ok=True)
        self._lives += 1
        self._server = socketserver.ThreadingUnixStreamServer(str(self.socket), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        with self._changed:
            self._lives += 1
            self._changed.notify_all()

    def environment(self, **more: str) -> dict[str, str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith("AGENTWATCH_")}
        ours = {"AGENTWATCH_HOME": str(self.home), "AGENTWATCH_SOCKET": str(self.socket)}
        return {**env, **ours, **more}

    def agentwatch(self, *args: str, env: dict[str, str] | None = None, **kw: Any) -> Any:
        return subprocess.run(
            [sys.executable, "-m", "agentwatch_cli", *args],
            env=self.environment(**(env or {})),
            capture_output=True,
            text=True,
            timeout=30,
            **{"stdin": subprocess.DEVNULL, **kw},
        )

    def popen(self, *args: str, env: dict[str, str] | None = None, **kw: Any) -> Any:
        return subprocess.Popen(
            [sys.executable, "-m", "agentwatch_cli", *args],
            env=self.environment(**(env or {})),
            **{
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "text": True,
                **kw,
            },
        )

    def open(self, body: dict[str, Any]) -> dict[str, Any]:
        session_id = body.get("session_id") or f"s-{len(self.sessions) + 1}"
        if session_id not in self.sessions:
            self.sessions[session_id] = {
                "session_id": session_id,
                "state": "active",
                "mode": body.get("mode") or "enforce",
                "project": body.get("project"),
                "team": body.get("team"),
                "budget_usd": body.get("budget_usd"),
                "settled_usd": 0.0,
                "held_usd": 0.0,
                "remaining_usd": body.get("budget_usd"),
                "iterations": 0,
                "input_tokens": 0,
                "output_tokens": 0,
                "models": [],
                "by_model": {},
                "refusals": 0,
                "fail_open": 0,
                "longest_call_s": 0.0,
                "opened_at": time.time(),
                "last_call_at": None,
            }
        return {**self.sessions[session_id], "token": f"aws_token_of_{session_id}"}

    def push(self, **event: Any) -> None:
        """Send an event to the followers, once one is there."""
        deadline = time.monotonic() + 10
        while self.followers == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def kill(self, session_id: str) -> None:
        self.sessions[session_id]["state"] = "killed"
        self.push(kind="state", state="killed")

    def asked(self, method: str, path: str) -> list[Any]:
        return [body for m, p, body, _ in self.requests if (m, p) == (method, path)]

    def follow(self, write: Any) -> None:
        life, seen = self._lives, len(self._events)
        self.followers += 1
        try:
            while self._lives == life:
                with self._changed:
                    self._changed.wait(0.05)
                    new, seen = self._events[seen:], len(self._events)
                for event in new:
                    write(f"data: {json.dumps(event)}\n\n".encode())
        finally:
            self.followers -= 1


class _Handler(BaseHTTPRequestHandler):
    fake: FakeDaemon

    def log_message(self, *args: Any) -> None:
        pass

    def address_string(self) -> str:
        return "unix"

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(
            json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
        )

    do_PUT = do_POST

    def _answer(self, body: Any) -> None:
        fake, path = self.fake, self.path.partition("?")[0]
        fake.requests.append((self.command, path, body, self.headers.get("Authorization")))
        if path.endswith("/events"):
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            try:
                fake.follow(lambda data: (self.wfile.write(data), self.wfile.flush()))
            except OSError:
                pass
            return
        status, answer = self._route(path, body)
        raw = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _route(self, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        fake = self.fake
        parts = path.split("/")[2:]
        if parts == ["healthz"]:
            return 200, {"status": "ok"}
        if parts == ["status"]:
            return 200, {"running": True, "port": 4999, "pid": 1}
        if parts[0] == "budgets":
            return 200, {"schema_version": 1, "budgets": fake.budgets}
        if parts == ["sessions"]:
            if self.command == "POST":
                return 200, {"schema_version": 1, **fake.open(body)}
            return 200, {"schema_version": 1, "sessions": list(fake.sessions.values())}
        session = fake.sessions.get(parts[1])
        if session is None:
            return 404, {"error": {"message": f"no session {parts[1]}", "code": "unknown_session"}}
        if parts[2:] == ["budget"]:
            session["budget_usd"] = body["budget_usd"]
        elif parts[2:]:
            ends = {"close": "closed", "kill": "killed", "pause": "paused", "resume": "active"}
            session["state"] = ends[parts[2]]
        if self.command == "GET":
            session.update(fake.used)
        return 200, {"schema_version": 1, **session}


@pytest.fixture
def fake_daemon() -> Iterator[FakeDaemon]:
    """A FakeDaemon that serves, with a home of its own (short: a socket's path is limited)."""
    home = Path(tempfile.mkdtemp(prefix="aw-test-", dir="/tmp"))
    daemon = FakeDaemon(home)
    daemon.start()
    yield daemon
    daemon.stop()
    shutil.rmtree(home)
