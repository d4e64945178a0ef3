"""Process hygiene, looked at from another process: what can be seen of a daemon's keys."""

import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agentwatch.daemon import hygiene

CANARY = "sk-canary-0123456789"

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc")

HOLDER = """
import json, os, sys
from agentwatch.daemon import hygiene
keys = hygiene.take_keys_from_environment()
{extra}
print(json.dumps(sorted(keys)), flush=True)
sys.stdin.read()
"""


def hold(extra: str = "", **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(extra=extra)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    )


def end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=10)


@linux
def test_the_keys_are_read_in_proc_environ() -> None:
    names = [name for names in hygiene.KEY_VARIABLES.values() for name in names]
    names += hygiene.UNUSED_SECRETS
    process = hold(**dict.fromkeys(names, CANARY))
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == (
            '["agentwatch", "anthropic", "gemini", "groq", "openai", "xai"]\n'
        )
        seen = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert b"OPENAI_API_KEY=" in seen
        assert CANARY.encode() not in seen
    finally:
        end(process)


def test_children_do_not_inherit_what_was_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("AGENTWATCH_SESSION_TOKEN", "aws_canary")
    assert hygiene.take_keys_from_environment() == {"openai": CANARY}
    shown = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
    assert "canary" not in shown
    assert "OPENAI_API_KEY" not in os.environ


def test_the_first_variable_of_a_provider_wins_and_both_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "second")
    monkeypatch.setenv("GEMINI_API_KEY", "first")
    monkeypatch.setenv("XAI_API_KEY", "")
    monkeypatch.setenv("GROQ_API_KEY", "x" * (hygiene.VALUE_MAX_CHARS + 1))
    assert hygiene.take_keys_from_environment() == {"gemini": "first"}
    assert not {"GOOGLE_API_KEY", "GEMINI_API_KEY", "GROQ_API_KEY"} & set(os.environ)


MEMORY_READER = """
import ctypes, os, sys
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(12345), os.setuid(12345)
# a change of user closes a process by itself: open it again, to see that it is we who close it
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
from_child, to_parent = os.pipe()
from_parent, to_child = os.pipe()
child = os.fork()
if child == 0:
    os.write(to_parent, b"open")
    os.read(from_parent, 1)
    from agentwatch.daemon.hygiene import not_dumpable
    not_dumpable()
    os.write(to_parent, b"shut")
    os.read(from_parent, 1)
    os._exit(0)
def look():
    try:
        with open(f"/proc/{child}/environ", "rb") as file:
            return len(file.read()) > 0
    except PermissionError:
        return False
os.read(from_child, 4); before = look(); os.write(to_child, b"1")
os.read(from_child, 4); after = look(); os.write(to_child, b"1")
print(before, after)
"""


@linux
def test_the_daemon_is_read_by_another_process_of_its_user() -> None:
    code = "from agentwatch.daemon import hygiene" + MEMORY_READER
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"


@linux
def test_the_process_says_itself_that_it_is_not_dumpable() -> None:
    code = (
        "import ctypes; from agentwatch.daemon import hygiene; hygiene.not_dumpable();"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


def test_out_of_file_descriptors_at_1024_agents() -> None:
    code = (
        "import resource; from agentwatch.daemon import hygiene;"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1];"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard));"
        "print(hygiene.raise_file_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told, soft, hard = map(int, done.stdout.split())
    assert told == soft
    assert soft == (65_536 if hard == resource.RLIM_INFINITY else min(hard, 1_048_576))


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        assert hygiene.notify_systemd("READY=1") is True
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all"])
def test_without_a_manager_nothing_happens(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert hygiene.notify_systemd("READY=1") is False
