"""Canary secrets: after a varied load, errors and refusals included, none of them is anywhere that
the daemon writes, says or can be read."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Agent, Daemon, chat, environment, new_home, running

from agentwatch.daemonfile import read_running
from agentwatch.standin.process import StandinProcess

KEY = "sk-real-canary-0f1e2d3c4b5a69788796a5b4c3d2e1f0"
OTHER_KEY = "gsk_canary0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a6978"
PROMPT = "canary-prompt-91827364"
MISTAKEN = "sk-ant-canary-mistaken-5647382910"


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[Daemon, StandinProcess]]:
    """A daemon whose key came by its environment; one more is in the key file."""
    with StandinProcess(key=KEY) as standin, new_home() as home:
        environ = environment(home, standin, log_level="debug", enforcement_drain_s="0")
        with running(Daemon(home, environ)) as daemon:
            yield daemon, standin


def load(daemon: Daemon, standin: StandinProcess, agent: Agent) -> bytes:
    """All sorts of calls; everything that was answered to those that failed."""
    said = b""

    def ask(directive: str = "", **how: object) -> None:
        nonlocal said
        body = chat(directive)
        body["messages"].append({"role": "user", "content": PROMPT})
        headers = how.pop("headers", None)
        path = str(how.pop("path", "/chat/completions"))
        reply = agent.post(path, {**body, **how}, headers)  # type: ignore[arg-type]
        if reply.status != 200:
            said += reply.body + str(reply.headers).encode()

    ask()
    ask(stream=True)
    for status in ("400", "401", "429", "500"):
        ask(f"status={status}")
    ask("cut=3", stream=True)
    ask("reset=0")
    ask(n="x")
    ask(model="canary-no-such-model")
    ask(max_tokens=-1, metadata={"a": PROMPT})
    ask(path=f"/files/{MISTAKEN}")
    ask(path=f"/chat/completions?key={MISTAKEN}")
    ask(headers={"Authorization": f"Bearer {MISTAKEN}"})
    ask(headers={"Authorization": f"Basic {MISTAKEN}\x01"})
    ask(headers={"x-api-key": MISTAKEN, "Cookie": MISTAKEN})
    said += agent.post(body=f'{{"{PROMPT}": '.encode()).body
    said += agent.post(body=f'{{"model": "gpt-4o", "Max_Tokens{MISTAKEN}": 1'.encode()).body
    for path in (f"/s/{agent.token}/nothing", f"/v1/{MISTAKEN}", "/v1/status"):
        said += str(daemon.call("POST", path, {agent.token: 1, MISTAKEN: 1}, check=False)).encode()
    said += str(daemon.call("POST", "/v1/sessions", {MISTAKEN: 1}, check=False)).encode()
    agent.at_rest()
    return said


def test_no_secret_is_written_said_or_readable(guarded: tuple[Daemon, StandinProcess]) -> None:
    daemon, standin = guarded
    subprocess.run(
        [sys.executable, "-m", "agentwatch_cli", "keys", "set", "groq"],
        input=OTHER_KEY,
        env=daemon.environ,
        text=True,
        check=True,
        capture_output=True,
    )
    issued = daemon.command("keys", "issue", "ci").stdout
    awk = next(word for word in issued.split() if word.startswith("awk_"))
    agent = daemon.open(1.0)
    said = load(daemon, standin, agent)
    assert standin.bill()["leaks"] == []
    secrets = [secret.encode() for secret in (KEY, OTHER_KEY, MISTAKEN, awk, agent.token, PROMPT)]
    found: list[tuple[bytes, str]] = []

    def scan(where: str, data: bytes) -> None:
        found.extend((secret, where) for secret in secrets if secret in data)

    scan("an error's body", said)
    for command in (
        ("status", "--json"),
        ("sessions", "ls", "--json"),
        ("sessions", "show", agent.id, "--json"),
        ("keys", "ls", "--json"),
        ("logs",),
        ("report", agent.id, "--format", "json"),
    ):
        told = daemon.command(*command)
        scan(" ".join(command), (told.stdout + told.stderr).encode())
    files = [path for path in daemon.home.rglob("*") if path.is_file()]
    assert {"daemon.log", "ledger.sqlite3", "daemon.json"} <= {path.name for path in files}
    for path in files:
        data = path.read_bytes()
        scan(path.name, data.replace(OTHER_KEY.encode(), b"") if path.name == "keys.json" else data)
    if sys.platform == "linux":
        running = read_running(daemon.home / "daemon.json")
        assert running is not None and running.serving is not None
        for pid in (running.supervisor.pid, running.serving.pid):
            scan(f"{pid}/cmdline", Path(f"/proc/{pid}/cmdline").read_bytes())
            # not dumpable: only root may look at all
            with contextlib.suppress(PermissionError):
                scan(f"{pid}/environ", Path(f"/proc/{pid}/environ").read_bytes())
    assert found == []


def test_what_has_secrets_is_the_owner_s_alone(guarded: tuple[Daemon, StandinProcess]) -> None:
    daemon, _ = guarded
    assert daemon.home.stat().st_mode & 0o077 == 0
    loose = [path for path in daemon.home.iterdir() if path.stat().st_mode & 0o077]
    assert loose == []


def test_a_refused_key_in_the_log_is_no_key(guarded: tuple[Daemon, StandinProcess]) -> None:
    """The scan above means something: the log is there, and tells of what happened."""
    daemon, _ = guarded
    assert "a request could not be read" in daemon.log or os.environ.get("PYTEST_XDIST_WORKER")
