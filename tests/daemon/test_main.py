"""The serving process: how fast it starts, how it fails to, and that nothing stands in its loop."""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from harness import Daemon, chat, environment, wait_until

from agentwatch.daemon import main
from agentwatch.daemon.handover import Handover
from agentwatch.daemon.keys import Keys
from agentwatch.daemonfile import config_files
from agentwatch.paths import find_paths
from agentwatch.settings import load_settings
from agentwatch.standin.process import StandinProcess

Start = Callable[..., Daemon]
#: what a start has no time for
HEAVY = {"tiktoken", "genai_prices", "sqlite_utils", "zstandard", "typer", "rich", "httpx"}


def test_a_start_loads_nothing_that_it_does_not_need(home: Path) -> None:
    code = (
        "import sys; from agentwatch.daemon import main; from agentwatch.settings import *;"
        "from agentwatch.daemon.handover import Handover;"
        "main.book_of(load_settings(), Handover({})); first = set(sys.modules);"
        f"print(sorted({HEAVY} & first))"
    )
    environ = {**os.environ, "AGENTWATCH_HOME": str(home)}
    command = [sys.executable, "-c", code]
    # the first start compiles the prices, all others read what it left
    subprocess.run(command, env=environ, capture_output=True, check=True)
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def serve_once(home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The serving process, handed what the supervisor hands over; it must end by itself."""
    files = config_files(find_paths({"AGENTWATCH_HOME": str(home)}))
    keys = Handover({}, files).to_pipe()
    ready, ready_end = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as port, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(home / "agentwatch.sock"))
        handed = {
            "--port-fd": port.fileno(),
            "--socket-fd": unix.fileno(),
            "--keys-fd": keys,
            "--ready-fd": ready_end,
        }
        told = [text for name, fd in handed.items() for text in (name, str(fd))]
        try:
            return subprocess.run(
                [sys.executable, "-P", "-m", "agentwatch.daemon.main", *told],
                env={**os.environ, "AGENTWATCH_HOME": str(home), **variables},
                pass_fds=handed.values(),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        finally:
            for descriptor in (keys, ready, ready_end):
                os.close(descriptor)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("ledger.sqlite3", "this is no ledger at all", "is damaged"),
        ("ledger.witness", "7\n", "is gone"),
        ("config.toml", "[enforcement]\nhold_wait = 1\n", "did you mean 'hold_wait_s'"),
        ("prices.toml", "[[nonsense", "prices.toml"),
    ],
)
def test_what_would_fail_again_is_not_started_again(
    home: Path, file: str, content: str, words: str
) -> None:
    (home / file).write_text(content)
    ended = serve_once(home)
    assert ended.returncode == main.EXIT_CONFIG
    assert words in ended.stderr
    assert ended.stderr.startswith("agentwatch: ") and "Traceback" not in ended.stderr


def test_what_may_pass_is_tried_again(home: Path) -> None:
    (home / "ledger.sqlite3").mkdir()
    ended = serve_once(home)
    assert ended.returncode == 1
    assert "can't be opened" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_calls_that_are_out_end_in_their_grace(start_daemon: Start, standin: Any) -> None:
    daemon = start_daemon(daemon_stop_grace_s="30")
    agent = daemon.open(1.0)
    body = chat("tokens=20 delay=0.02", stream=True, max_completion_tokens=40)
    with agent.begin(body=body) as out:
        out.head()
        assert daemon.down().returncode == 0
        reply = out.reply()
    assert not reply.broken and reply.body.endswith(b"data: [DONE]\n\n")
    daemon.up()
    assert agent.settled == standin.bill()["billed_nanos"]


def test_what_outlasts_the_grace_is_ended_and_settled(start_daemon: Start, standin: Any) -> None:
    daemon = start_daemon(daemon_stop_grace_s="0.5")
    agent = daemon.open(1.0)
    body = chat("endless delay=0.05", stream=True, max_completion_tokens=4000)
    with agent.begin(body=body) as out:
        out.head()
        held = agent.held
        assert daemon.down().returncode == 0
        reply = out.reply()
    assert b"governance_unavailable" in reply.body
    daemon.up()
    assert agent.held == 0
    assert standin.bill()["billed_nanos"] <= agent.settled < held


# ---- in the test's own process


@asynccontextmanager
async def serving(home: Path, standin: StandinProcess) -> AsyncIterator[int]:
    """All of the daemon in this loop; its port."""
    settings = load_settings(environ=environment(home, standin))
    settings.paths.prepare()
    main.book_of(settings, Handover({}))
    port, unix = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
    unix.bind(str(settings.paths.socket))
    unix.listen()
    ready, ready_end = os.pipe()
    # its clock stands still: on a machine that starves the chore, a call looks at the file itself
    keys = Keys(settings.paths.keys_file, {"openai": standin.key}, None, clock=lambda: 0.0)
    arguments = argparse.Namespace(
        port_fd=os.dup(port.fileno()), socket_fd=os.dup(unix.fileno()), ready_fd=ready_end
    )
    task = asyncio.create_task(main._serve(settings, keys, Handover({}), arguments))
    try:
        said = await asyncio.to_thread(os.read, ready, 4096)
        assert json.loads(said)["pid"] == os.getpid()
        yield port.getsockname()[1]
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        await task
        os.close(ready)
        port.close()
        unix.close()


def use(home: Path, port: int, calls: int) -> list[int]:
    """A day of an agent and its owner; the calls' statuses."""
    daemon = Daemon(home, {})
    daemon.port = port
    agent = daemon.open(1.0, project="p")
    daemon.call("PUT", "/v1/budgets/project:p", {"monthly_usd": 5})
    statuses = []
    for number in range(calls):
        body = chat("tokens=5", stream=number % 2 == 0, max_completion_tokens=10)
        statuses.append(agent.post(body=body).status)
    statuses.append(agent.post(body=chat(), headers={"Authorization": "Bearer aws_no"}).status)
    agent.do("pause"), agent.do("resume")
    agent.set_budget(0.5)
    daemon.get("/v1/sessions"), daemon.get("/v1/status"), daemon.get("/v1/budgets")
    assert daemon.get("/v1/verify")["ledger"] == "ok"
    agent.do("kill")
    return statuses


async def test_nothing_that_blocks_runs_in_the_loop(
    home: Path,
    standin: StandinProcess,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # a thread looks at the key file; where a busy machine lets it come late, a call does so itself
    monkeypatch.setattr("agentwatch.daemon.keys.RECHECK_S", 600.0)
    async with serving(home, standin) as port:
        with blockbuster_ctx() as watched:
            # who is at the other end is read in /proc, which no disk stands behind
            reading = watched.functions["io.TextIOWrapper.read"]
            reading.can_block_in("agentwatch/mark.py", "is_marked")
            statuses = await asyncio.to_thread(use, home, port, 20)
    assert statuses == [200] * 20 + [401]
    # what raised in a callback of the loop has broken no call
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_no_step_of_the_loop_is_long(
    home: Path, standin: StandinProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[float, str]] = []
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        # processor time: what other programs take of this machine is not the loop's doing
        before = time.thread_time()
        run(handle)
        steps.append((time.thread_time() - before, repr(handle)))

    async with serving(home, standin) as port:
        monkeypatch.setattr(asyncio.Handle, "_run", timed)
        await asyncio.to_thread(use, home, port, 40)
        monkeypatch.undo()
    longest, what = max(steps)
    print(f"\nlongest of {len(steps)} steps: {longest * 1000:.1f} ms, {what}")
    assert longest < 0.05


# ---- the clock


@pytest.mark.skipif(sys.platform != "linux", reason="faketime by a preloaded module")
def test_a_clock_that_is_put_back_harms_nothing(
    home: Path, standin: StandinProcess, tmp_path: Path
) -> None:
    # every process of this Python begins with this: its clock goes back by an hour each second
    (tmp_path / "sitecustomize.py").write_text(
        "import time\n"
        "real, began = time.time, time.time()\n"
        "time.time = lambda: real() - 3600 * (real() - began)\n"
        "real_ns = time.time_ns\n"
        "time.time_ns = lambda: real_ns() - 3600 * (real_ns() - int(began * 1e9))\n"
    )
    daemon = Daemon(home, {**environment(home, standin), "PYTHONPATH": str(tmp_path)})
    try:
        daemon.up()
        agent = daemon.open(1.0, ttl_s=7 * 86400)
        for _ in range(4):
            reply = agent.post(body=chat("tokens=5 delay=0.05", max_completion_tokens=10))
            assert reply.status == 200
            time.sleep(0.2)
        shown = agent.at_rest()
        assert agent.settled == standin.bill()["billed_nanos"]
        assert shown["longest_call_s"] >= 0
        os.kill(daemon.pid, signal.SIGKILL)
        wait_until(lambda: _serves(daemon))
        assert agent.settled == standin.bill()["billed_nanos"]
        assert daemon.get("/v1/verify")["ledger"] == "ok"
    finally:
        daemon.down()


def _serves(daemon: Daemon) -> bool:
    try:
        return bool(daemon.get("/v1/healthz"))
    except (OSError, http.client.HTTPException):
        return False
