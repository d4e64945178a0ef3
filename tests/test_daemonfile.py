"""daemon.json and the lock: nobody is taken for the daemon who is not, and one home has one."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agentwatch.daemonfile import (
    Process,
    Running,
    lock_held,
    read_running,
    take_lock,
    write_running,
)


@pytest.fixture
def sleeper() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["sleep", "60"])


def test_a_process_number_that_came_round_again(sleeper: "subprocess.Popen[bytes]") -> None:
    process = Process.of(sleeper.pid)
    assert process.alive()
    other = Process(pid=sleeper.pid, born=(process.born or 0) - 1)
    if sys.platform == "linux":
        assert not other.alive()
        assert other.signal(signal.SIGKILL) is False
        assert sleeper.poll() is None
    assert process.signal(signal.SIGKILL) is True
    while process.alive():
        time.sleep(0.01)
    assert process.signal(signal.SIGKILL) is False
    sleeper.wait()


@pytest.mark.parametrize("pid", [0, -1])
def test_a_number_that_means_a_whole_group_is_no_process(pid: int) -> None:
    assert not Process(pid=pid).alive()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    me = Process.of(os.getpid())
    running = Running(version="1", supervisor=me, port=1, socket="/s", started_at=2.0)
    write_running(path, running)
    assert read_running(path) == running
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"port": 1}'])
def test_a_damaged_file_is_no_daemon(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "daemon.json"
    if content is not None:
        path.write_text(content)
    assert read_running(path) is None


def test_the_lock_is_had_by_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not lock_held(path)
    mine = take_lock(path)
    assert mine is not None
    assert lock_held(path)
    assert take_lock(path, patience_s=0.05) is None
    os.close(mine)
    assert not lock_held(path)


def test_the_lock_stays_with_the_process_that_inherited_it(tmp_path: Path) -> None:
    mine = take_lock(tmp_path / "lock")
    assert mine is not None
    child = subprocess.Popen(["sleep", "60"], pass_fds=[mine])
    os.close(mine)
    assert lock_held(tmp_path / "lock")
    child.kill()
    child.wait()
    assert not lock_held(tmp_path / "lock")


def test_looking_whether_one_runs_keeps_none_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            lock_held(path)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(50):
            mine = take_lock(path, patience_s=5)
            assert mine is not None
            os.close(mine)
    finally:
        done.set()
        thread.join()
