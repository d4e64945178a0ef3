"""An agent that wants round its ceiling: it has the user's uid, runs what it likes, and was tried.

What runs inside here gives up its capabilities first, so that these tests mean the same under root
as under a user: a uid alone, and what the kernel keeps from it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Agent, Daemon, chat, environment, nanos, new_home, running

from agentwatch.standin.process import StandinProcess

KEY = "sk-agent-canary-0f1e2d3c4b5a69788796a5b4c3d2e1f0"
linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc, rlimits and prctl")

RUN = [sys.executable, "-m", "agentwatch_cli", "run", "--budget", "0.50", "--"]
#: give up every capability: root is then a user like any other, who owns root's files
POWERLESS = """
import ctypes, glob, json, os, signal, socket, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
assert libc.capset(header, (ctypes.c_uint32 * 6)()) == 0
home = os.environ.get("AGENTWATCH_HOME", "")
"""


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[Daemon, StandinProcess]]:
    with StandinProcess(key=KEY) as standin, new_home() as home:
        settings = environment(home, standin)
        # by the file, as most people would: the variable would win over what an agent writes there
        del settings["AGENTWATCH_OPENAI_UPSTREAM"]
        (home / "config.toml").write_text(f'[providers.openai]\nbase_url = "{standin.url}"\n')
        with running(Daemon(home, settings)) as daemon:
            yield daemon, standin


def wrapped(daemon: Daemon, program: str) -> dict[str, Any]:
    """What the program says in JSON, run as an agent with a ceiling of $0.50."""
    done = subprocess.run(
        [*RUN, sys.executable, "-c", POWERLESS + program],
        env={**daemon.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@linux
def test_the_key_is_not_in_sight_of_what_is_wrapped(guarded: tuple[Daemon, StandinProcess]) -> None:
    """Not in its environment, nor in that of `run` (whose own still has it), nor in the daemon."""
    program = f"""
key = {KEY[::-1]!r}[::-1].encode()
about = json.load(open(home + "/daemon.json"))
pids = [about["serving"]["pid"], about["supervisor"]["pid"], os.getppid()]
read, attached = [], []
for pid in pids:
    for name in ("environ", "mem", "maps", "auxv", "fd/0", "fd/3", "fd/5", "root/etc/hostname"):
        try:
            path = f"/proc/{{pid}}/{{name}}"
            open(path, "rb").read(1)
            read.append(path)
        except OSError:
            pass
    if libc.ptrace(16, pid, 0, 0) == 0:
        attached.append(pid)
    if libc.syscall(438, os.pidfd_open(pid), 3, 0) >= 0:
        attached.append(pid)
    for name in ("cmdline", "comm"):
        if key in open(f"/proc/{{pid}}/{{name}}", "rb").read():
            read.append(name)
mine = any(key.decode() in value for value in os.environ.values())
print(json.dumps({{"read": read, "attached": attached, "mine": mine}}))
"""
    daemon, _ = guarded
    assert wrapped(daemon, program) == {"read": [], "attached": [], "mine": False}


@linux
def test_the_mark_is_not_rubbed_off(guarded: tuple[Daemon, StandinProcess]) -> None:
    program = """
raised = []
code = "import resource; resource.setrlimit(10, (-1, -1))"
direct = [sys.executable, "-c", code]
ways = [direct, ["unshare", "-Ur", *direct], ["unshare", "-Urp", "--fork", *direct]]
ways += [["prlimit", "--locks=unlimited", "true"], ["setpriv", "--inh-caps=+all", *direct]]
for how in ways:
    try:
        done = subprocess.run(how, capture_output=True)
    except FileNotFoundError:
        continue
    if done.returncode == 0:
        raised.append(how)
print(json.dumps({"raised": raised}))
"""
    daemon, _ = guarded
    assert wrapped(daemon, program) == {"raised": []}


@linux
def test_edited_files_and_a_killed_server_bring_neither_the_key_elsewhere_nor_the_price_down(
    guarded: tuple[Daemon, StandinProcess],
) -> None:
    daemon, standin = guarded
    kept = (daemon.home / "config.toml").read_text()
    program = f"""
import http.client
key = {KEY[::-1]!r}[::-1].encode()
got = []
trap = socket.create_server(("127.0.0.1", 0))
def serve():
    while True:
        connection, _ = trap.accept()
        got.append(connection.recv(65536))
        connection.close()
threading.Thread(target=serve, daemon=True).start()
here = "http://127.0.0.1:%d/v1" % trap.getsockname()[1]
with open(home + "/config.toml", "w") as file:
    file.write('[providers.openai]\\nbase_url = "%s"\\n' % here)
with open(home + "/prices.toml", "w") as file:
    file.write('[openai."gpt-4o-mini"]\\ninput = 0\\noutput = 0\\n')
about = json.load(open(home + "/daemon.json"))
def ask():
    connection = http.client.HTTPConnection("127.0.0.1", about["port"], timeout=30)
    body = {json.dumps(chat())!r}
    token = os.environ["AGENTWATCH_SESSION_TOKEN"]
    headers = {{"Authorization": "Bearer " + token, "Content-Type": "application/json"}}
    connection.request("POST", "/openai/v1/chat/completions", body, headers)
    return connection.getresponse().status
def replaced():
    now = json.load(open(home + "/daemon.json"))["serving"]["pid"]
    deadline = time.monotonic() + 30
    while now == before and time.monotonic() < deadline:
        time.sleep(0.05)
        now = json.load(open(home + "/daemon.json"))["serving"]["pid"]
    return now != before
statuses = []
for signal_, which in ((signal.SIGKILL, "serving"), (signal.SIGUSR1, "supervisor")):
    now = json.load(open(home + "/daemon.json"))
    before = now["serving"]["pid"]
    os.kill(now[which]["pid"], signal_)
    assert replaced()
    statuses.append(ask())
print(json.dumps({{"statuses": statuses, "leaked": any(key in data for data in got)}}))
"""
    try:
        before = standin.bill()["billed_nanos"]
        assert wrapped(daemon, program) == {"statuses": [200, 200], "leaked": False}
        spent = daemon.call("GET", "/v1/sessions")["sessions"][-1]["settled_usd"]
        assert round(spent * 1e9) == standin.bill()["billed_nanos"] - before > 0
    finally:
        (daemon.home / "prices.toml").unlink(missing_ok=True)
        (daemon.home / "config.toml").write_text(kept)
        assert daemon.command("restart").returncode == 0
    assert daemon.open(1.0).post().status == 200
    assert standin.bill()["wrong_key"] == 0


@linux
def test_what_a_person_edits_counts_from_the_next_restart_on(
    guarded: tuple[Daemon, StandinProcess],
) -> None:
    daemon, _ = guarded
    prices = daemon.home / "prices.toml"
    asked = """
import http.client
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(os.environ["AGENTWATCH_SOCKET"])
token = os.environ["AGENTWATCH_SESSION_TOKEN"]
connection.request("POST", "/v1/restart", headers={"Authorization": "Bearer " + token})
print(connection.getresponse().status)
"""
    try:
        prices.write_text('[openai."gpt-4o-mini"]\ninput = 1000\noutput = 1000\n')
        pid = daemon.pid
        agent = daemon.open(5.0)
        assert agent.post().status == 200
        cheap = agent.settled
        kept = prices.read_text()
        prices.write_text("[openai")
        told = daemon.call("POST", "/v1/restart", check=False)
        assert told["error"]["code"] == "configuration_wrong"
        assert agent.post().status == 200
        cheap = agent.settled - cheap
        assert daemon.pid == pid
        prices.write_text(kept)
        assert wrapped(daemon, asked) == 403
        assert daemon.pid == pid
        done = daemon.command("restart")
        assert done.returncode == 0, done.stderr
        assert agent.post().status == 200
        assert agent.settled > 100 * cheap > 0
    finally:
        prices.unlink()
        assert daemon.command("restart").returncode == 0


@linux
def test_a_daemon_of_its_own_has_no_key_and_no_money(
    guarded: tuple[Daemon, StandinProcess], tmp_path: Path
) -> None:
    program = """
import tempfile
other = tempfile.mkdtemp(prefix="aw-")
env = {k: v for k, v in os.environ.items() if k not in ("AGENTWATCH_SOCKET",)}
env |= {"AGENTWATCH_HOME": other, "AGENTWATCH_PORT": "0"}
def say(*words):
    done = subprocess.run([sys.executable, "-m", "agentwatch_cli", *words], env=env,
                          capture_output=True, text=True)
    return done.returncode, done.stdout
say("up")
try:
    code, out = say("status", "--json")
    providers = json.loads(out).get("providers", []) if code == 0 else []
finally:
    say("down")
    for name in ("daemon.json",):
        try:
            os.kill(json.load(open(other + "/" + name))["supervisor"]["pid"], 15)
        except (OSError, ValueError, KeyError):
            pass
print(json.dumps({"providers": providers}))
"""
    daemon, _ = guarded
    assert wrapped(daemon, program) == {"providers": []}


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="needs a second uid")
def test_another_user_sees_nothing_and_is_let_in_nowhere(
    guarded: tuple[Daemon, StandinProcess],
) -> None:
    daemon, _ = guarded
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        opened = []
        os.setgroups([])
        os.setgid(65_534)
        os.setuid(65_534)
        for name in ("", "ledger.sqlite3", "daemon.log", "config.toml", "daemon.json"):
            path = daemon.home / name
            try:
                os.listdir(path) if path == daemon.home else path.read_bytes()
                opened.append(str(path))
            except OSError:
                pass
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(str(daemon.home / "agentwatch.sock"))
                opened.append("socket")
            except OSError:
                pass
        os.write(write, json.dumps(opened).encode() or b"[]")
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read) as pipe:
        assert json.loads(pipe.read()) == []


# ---- tricks with the request: whatever gets through is within the ceiling, and paid in full

BIG = 128_000
#: three bytes to a token: denser than the stand-in, which takes four for one, believes
DIGITS = "0123456789" * 10_000
TRICKS: dict[str, dict[str, Any]] = {
    "no limit": {},
    "all it can": {"max_tokens": 1 << 53},
    "many choices": {"n": 128},
    "many choices with little each": {"n": 128, "max_tokens": 16},
    "priority tier": {"service_tier": "priority", "max_tokens": 500},
    "flex tier": {"service_tier": "flex", "max_tokens": 500},
    "a tier of its own": {"service_tier": "gold", "max_tokens": 500},
    "auto tier": {"service_tier": "auto", "max_tokens": 500},
    "prediction": {"prediction": {"type": "content", "content": DIGITS[:20_000]}, "max_tokens": 10},
    "a schema of 100 KB": {
        "max_tokens": 10,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "a", "schema": {"description": DIGITS}},
        },
    },
    "tools of 100 KB": {
        "max_tokens": 10,
        "tools": [{"type": "function", "function": {"name": "f", "description": DIGITS}}],
    },
    "a hosted tool": {"tools": [{"type": "web_search"}], "max_tokens": 10},
    "a hosted tool, spelled oddly": {"tools": [{"Type": "web_search"}], "max_tokens": 10},
    "web search": {"web_search_options": {}, "max_tokens": 10},
    "audio": {"modalities": ["text", "audio"], "audio": {"voice": "a"}, "max_tokens": 10},
    "an unknown model": {"model": "gpt-99-free", "max_tokens": 10},
    "a model with a blank": {"model": "gpt-4o-mini ", "max_tokens": 10},
    "a fine-tune": {"model": "ft:gpt-4o-mini-2024-07-18:me::1", "max_tokens": 10},
    "two limits": {"max_tokens": 5, "max_completion_tokens": BIG},
    "a limit in other letters": {"MAX_TOKENS": BIG, "max_tokens": 5},
    "stop the metering": {"stream": True, "stream_options": {"include_usage": False}},
    "letters of three tokens": {
        "messages": [{"role": "user", "content": chr(0xCFAF) * 20_000}],
        "max_tokens": 10,
    },
}


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_with_the_request_stays_within_the_ceiling(
    name: str, daemon: Daemon, standin: StandinProcess
) -> None:
    agent = daemon.open(0.01)
    standin.default({"endless": True})
    replies = [agent.post(body={**chat(), **TRICKS[name]}) for _ in range(3)]
    shown = agent.at_rest()
    billed = standin.bill()["billed_nanos"]
    assert billed <= 10_000_000, [reply.status for reply in replies]
    assert nanos(shown["settled_usd"]) >= billed
    assert shown["overdraft_usd"] == 0
    assert all(reply.status in (200, 400, 404) for reply in replies)


def test_answers_that_are_made_and_not_shown_are_paid_for(
    daemon: Daemon, standin: StandinProcess
) -> None:
    agent = daemon.open(0.01)
    standin.default({"endless": True})
    for best_of in (2, 20, 128):
        body = {"model": "gpt-3.5-turbo-instruct", "prompt": ["a", "b"], "best_of": best_of}
        assert agent.post("/completions", {**body, "max_tokens": 100}).status in (200, 400)
    shown = agent.at_rest()
    billed = standin.bill()["billed_nanos"]
    assert 0 < billed <= 10_000_000
    assert nanos(shown["settled_usd"]) >= billed


@pytest.mark.parametrize("name", ["previous_response_id", "conversation", "prompt", "background"])
def test_input_that_is_not_in_the_request_is_bounded_or_refused(
    name: str, daemon: Daemon, standin: StandinProcess
) -> None:
    value: Any = {"background": True, "prompt": {"id": "pmpt_1"}}.get(name, "x_1")
    agent = daemon.open(0.01)
    body = {"model": "gpt-4o-mini", "input": "hi", "max_output_tokens": 16, name: value}
    reply = agent.post("/responses", body)
    assert reply.status == 400
    assert reply.denied in ("agent_budget_exceeded", "model_not_priced", "path_not_governed")
    assert standin.bill()["requests"] == 0


def test_who_hangs_up_at_once_again_and_again_pays_for_it(
    daemon: Daemon, standin: StandinProcess
) -> None:
    agent: Agent = daemon.open(0.003)
    for _ in range(20):
        with agent.begin(body=chat("endless delay=0.001", stream=True)) as sent:
            sent.head()
            sent.hang_up(rst=True)
    shown = agent.at_rest(60)
    billed = standin.bill()["billed_nanos"]
    assert 0 < billed <= 3_000_000
    assert nanos(shown["settled_usd"]) >= billed
