"""Starting and ending the daemon from the CLI, with real processes and the real supervisor."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentwatch.daemonfile import Process, lock_held, read_running
from agentwatch.errors import DaemonUnavailable, UsageError
from agentwatch.settings import Settings, load_settings
from agentwatch_cli import launch

FAKE = Path(__file__).parent.parent / "daemon" / "fake_supervisor.py"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    for name in list(os.environ):
        if name.startswith("AGENTWATCH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AGENTWATCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AGENTWATCH_DAEMON_STOP_GRACE_S", "2")
    monkeypatch.setenv("FAKE_STARTS", str(tmp_path / "starts"))
    monkeypatch.setattr(
        launch, "daemon_command", lambda told: [sys.executable, str(FAKE), "--port", str(told.port)]
    )
    loaded = load_settings({"port": 0})
    yield loaded
    with contextlib.suppress(Exception):
        monkeypatch.delenv("FAKE_SERVING", raising=False)
        launch.stop_daemon(loaded)


def starts(tmp_path: Path) -> int:
    return len((tmp_path / "starts").read_text().split())


def pid(settings: Settings) -> int:
    return int(launch.status(settings)["pid"])


def test_it_returns_once_the_daemon_serves(settings: Settings, tmp_path: Path) -> None:
    assert launch.ensure_daemon(settings) is True
    before = pid(settings)
    assert launch.ensure_daemon(settings) is False
    assert pid(settings) == before
    assert starts(tmp_path) == 1
    assert settings.paths.log.stat().st_mode & 0o777 == 0o600


def test_the_daemon_is_free_of_our_terminal_and_folder(settings: Settings) -> None:
    launch.ensure_daemon(settings)
    running = read_running(settings.paths.daemon_file)
    assert running is not None
    supervisor = running.supervisor.pid
    assert os.getsid(supervisor) == supervisor
    if sys.platform == "linux" and os.geteuid() != 0:
        # it is not dumpable: not even its own user may look
        with pytest.raises(PermissionError):
            os.readlink(f"/proc/{supervisor}/cwd")
    elif sys.platform == "linux":
        assert os.readlink(f"/proc/{supervisor}/cwd") == "/"
        assert os.readlink(f"/proc/{supervisor}/fd/0") == "/dev/null"
        assert os.readlink(f"/proc/{supervisor}/fd/1") == str(settings.paths.log)


def test_five_runs_at_once_start_one_daemon(settings: Settings, tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            launch.ensure_daemon(settings)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert starts(tmp_path) == 1


def test_a_slow_start_does_not_come_up_after_the_down(settings: Settings) -> None:
    for _ in range(3):
        threads = [threading.Thread(target=launch.ensure_daemon, args=(settings,)) for _ in "123"]
        for thread in threads:
            thread.start()
        threads[0].join()
        launch.stop_daemon(settings)
        for thread in threads:
            thread.join()
    launch.stop_daemon(settings)
    time.sleep(0.3)
    assert not lock_held(settings.paths.lock)


def test_a_daemon_that_can_not_start_says_why_at_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SERVING", "exit:78")
    settings.paths.prepare()
    settings.paths.log.write_text("an old failure\n")
    begun = time.monotonic()
    with pytest.raises(DaemonUnavailable, match=r"did not start.*something is wrong") as caught:
        launch.ensure_daemon(settings)
    assert time.monotonic() - begun < 5
    assert "old failure" not in str(caught.value)


def test_a_daemon_that_hangs_at_its_start_is_not_waited_for_for_ever(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "START_LIMIT_S", 0.5)
    monkeypatch.setattr(launch, "daemon_command", lambda told: ["sleep", "3"])
    with pytest.raises(DaemonUnavailable, match="does not answer"):
        launch.ensure_daemon(settings)


def test_down_waits_until_it_is_gone(settings: Settings) -> None:
    assert launch.stop_daemon(settings) is False
    launch.ensure_daemon(settings)
    assert launch.stop_daemon(settings) is True
    assert not lock_held(settings.paths.lock)
    assert not settings.paths.socket.exists()
    assert launch.stop_daemon(settings) is False


def test_up_right_after_down_comes_up(settings: Settings) -> None:
    for _ in range(3):
        launch.ensure_daemon(settings)
        launch.stop_daemon(settings)
    assert launch.ensure_daemon(settings) is True


def test_a_stopped_supervisor_can_be_ended(settings: Settings) -> None:
    launch.ensure_daemon(settings)
    running = read_running(settings.paths.daemon_file)
    assert running is not None
    running.supervisor.signal(signal.SIGSTOP)
    begun = time.monotonic()
    assert launch.stop_daemon(settings) is True
    assert time.monotonic() - begun < 2


def test_a_daemon_that_does_not_end_is_killed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SERVING", "deaf")
    monkeypatch.setattr(launch, "STOP_MARGIN_S", -1.5)
    launch.ensure_daemon(settings)
    serving = Process.of(pid(settings))
    assert launch.stop_daemon(settings) is True
    assert not serving.alive()


def test_a_daemon_without_supervisor_is_found_and_ended(settings: Settings) -> None:
    launch.ensure_daemon(settings)
    running = read_running(settings.paths.daemon_file)
    assert running is not None
    serving = Process.of(pid(settings))
    running.supervisor.signal(signal.SIGKILL)
    while running.supervisor.alive():
        time.sleep(0.01)
    assert launch.ensure_daemon(settings) is False
    assert launch.status(settings)["pid"] == serving.pid
    settings.paths.daemon_file.unlink()
    assert launch.stop_daemon(settings) is True
    assert not serving.alive()


def test_restart_replaces_the_process_and_keeps_the_port(settings: Settings) -> None:
    from agentwatch import __version__

    assert launch.restart_daemon(settings, __version__) == "started"
    before = launch.status(settings)
    assert launch.restart_daemon(settings, __version__) == "replaced"
    after = launch.status(settings)
    assert after["port"] == before["port"]
    assert after["pid"] != before["pid"]
    assert launch.restart_daemon(settings, "another version") == "restarted"
    assert launch.status(settings)["pid"] != after["pid"]


def test_an_agent_starts_a_daemon_of_its_own_making(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AGENTWATCH_SESSION_TOKEN", "aws_x")
    with pytest.raises(UsageError, match="not from inside a session"):
        launch.ensure_daemon(settings)
    assert not (tmp_path / "starts").exists()


def test_a_log_of_many_megabytes_is_put_aside(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "LOG_MAX_BYTES", 100)
    settings.paths.prepare()
    settings.paths.log.write_text("x" * 101)
    launch.ensure_daemon(settings)
    assert settings.paths.log.with_name("daemon.log.1").read_text() == "x" * 101
    assert "x" * 101 not in settings.paths.log.read_text()


def test_a_home_that_is_relative_is_the_same_for_the_daemon(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENTWATCH_HOME", "home")
    launch.ensure_daemon(load_settings({"port": 0}))
    assert launch.is_serving(settings, 1.0)


def test_the_real_command_is_the_supervisor_s_program(tmp_path: Path) -> None:
    told = load_settings({"port": 4}, {"AGENTWATCH_HOME": str(tmp_path)})
    command = [*launch.daemon_command(told), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert "supervisor" in done.stdout
    assert command[-3:-1] == ["--port", "4"]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (["agentwatch: the ledger is gone", "… INFO ended with 78"], "the ledger is gone"),
        (["… CRITICAL uncaught\\nTraceback …\\n  File …\\nKeyError: 'x'"], "KeyError: 'x'"),
        (["one", "two"], "one | two"),
        ([], ""),
    ],
)
def test_what_was_meant_for_people_is_shown_and_no_traceback(said: list[str], shown: str) -> None:
    assert launch._gist(said) == shown
