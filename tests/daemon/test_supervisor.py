"""The supervisor with real processes: what dies comes back, and no call is refused meanwhile."""

import contextlib
import http.client
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentwatch.daemon.supervisor import STOP_MARGIN_S, back_off_s
from agentwatch.daemonfile import lock_held, read_running

FAKE = Path(__file__).with_name("fake_supervisor.py")
CANARY = "sk-canary-0123456789"
LIMIT_S = 20.0


class Home:
    """A home with a supervisor over the fake serving process."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        self.starts = folder / "starts"
        self.env = {
            **{name: value for name, value in os.environ.items() if "AGENTWATCH" not in name},
            "AGENTWATCH_HOME": str(folder / "home"),
            "AGENTWATCH_DAEMON_STOP_GRACE_S": "5",
            "OPENAI_API_KEY": CANARY,
            "FAKE_STARTS": str(self.starts),
            **env,
        }
        self.process = self.spawn()

    def spawn(self, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, str(FAKE), "--port", "0"],
            env=self.env,
            stdin=stdin,
            stderr=subprocess.PIPE,
            text=True,
        )

    def path(self, name: str) -> Path:
        return self.folder / "home" / name

    def ask(self) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(LIMIT_S)
            client.connect(str(self.path("agentwatch.sock")))
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            data = b""
            while chunk := client.recv(65536):
                data += chunk
        if not data:
            raise ConnectionResetError
        return dict(json.loads(data.partition(b"\r\n\r\n")[2]))

    def serving(self) -> dict[str, Any]:
        """The answer of the process that serves, as soon as one does."""
        return eventually(self._try_ask)

    def _try_ask(self) -> dict[str, Any] | None:
        with contextlib.suppress(OSError):
            return self.ask()
        return None

    def serves_after(self, pid: int) -> dict[str, Any]:
        return eventually(lambda: about if (about := self.serving())["pid"] != pid else None)

    def end(self) -> str:
        """Stop what is left; all that was said."""
        running = read_running(self.path("daemon.json"))
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(LIMIT_S)
        if running and running.serving:
            running.serving.signal(signal.SIGKILL)
        return self.process.communicate(timeout=LIMIT_S)[1]


def eventually(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + LIMIT_S
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)
    return found


def reaped(pid: int) -> bool:
    """Whether no thread of it is left that could still accept a call and take it to its grave."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Home]]:
    made: list[Home] = []

    def start(**env: str) -> Home:
        made.append(Home(tmp_path, **env))
        return made[-1]

    yield start
    for home in made:
        if not home.process.stderr or not home.process.stderr.closed:
            home.end()


@pytest.fixture
def home(make: Callable[..., Home]) -> Home:
    return make()


def test_it_serves_on_port_and_socket_and_hands_the_keys_over(home: Home) -> None:
    about = home.serving()
    assert about["keys"] == ["openai"]
    connection = http.client.HTTPConnection("127.0.0.1", about["port"], timeout=LIMIT_S)
    connection.request("GET", "/")
    assert json.loads(connection.getresponse().read())["pid"] == about["pid"]
    connection.close()
    running = eventually(
        lambda: r if (r := read_running(home.path("daemon.json"))) and r.serving else None
    )
    assert running.supervisor.pid == home.process.pid
    assert running.serving.pid == about["pid"]
    assert running.port == about["port"]
    assert running.socket == str(home.path("agentwatch.sock"))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_the_key_is_in_nobody_s_environment_or_arguments(home: Home) -> None:
    about = home.serving()
    for pid in (home.process.pid, about["pid"]):
        assert CANARY.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        # where it is not dumpable, only root may look at all
        with contextlib.suppress(PermissionError):
            assert CANARY.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    # daemon.json is written anew when it serves: no half of it may be there when it is read
    eventually(lambda: (r := read_running(home.path("daemon.json"))) and r.serving)
    files = [path for path in home.path("").iterdir() if path.is_file()]
    assert files and not any(CANARY.encode() in path.read_bytes() for path in files)


def test_a_killed_daemon_serves_again_within_a_second(home: Home) -> None:
    # six in a row: no back-off keeps waiting calls waiting
    for _ in range(6):
        before = home.serving()["pid"]
        time.sleep(0.1)
        killed_at = time.monotonic()
        os.kill(before, signal.SIGKILL)
        home.serves_after(before)
        assert time.monotonic() - killed_at < 1.0


def test_no_connection_is_refused_while_it_is_replaced(home: Home) -> None:
    port, pids, stop = home.serving()["port"], set(), threading.Event()
    refused: list[Exception] = []

    def load() -> None:
        while not stop.is_set():
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S):
                    pass
            except ConnectionRefusedError as error:
                refused.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP):
            pids.add(before := home.serving()["pid"])
            home.process.send_signal(number)
            pids.add(home.serves_after(before)["pid"])
    finally:
        stop.set()
        thread.join()
    assert refused == []
    assert len(pids) == 4
    assert home.process.poll() is None


def test_a_call_that_comes_while_nobody_serves_waits(home: Home) -> None:
    about = home.serving()
    os.kill(about["pid"], signal.SIGKILL)
    eventually(lambda: reaped(about["pid"]))
    with socket.create_connection(("127.0.0.1", about["port"]), timeout=LIMIT_S) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"


def test_a_daemon_that_an_agent_stopped_goes_on(home: Home) -> None:
    pid = home.serving()["pid"]
    os.kill(pid, signal.SIGSTOP)
    assert home.ask()["pid"] == pid


def test_term_ends_it_and_leaves_nothing_behind(home: Home) -> None:
    pid = home.serving()["pid"]
    home.process.terminate()
    assert home.process.wait(LIMIT_S) == 0
    assert not home.path("agentwatch.sock").exists()
    assert not home.path("daemon.json").exists()
    assert not lock_held(home.path("agentwatch.lock"))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_one_that_does_not_end_is_killed_after_its_grace(make: Callable[..., Home]) -> None:
    home = make(FAKE_SERVING="deaf", AGENTWATCH_DAEMON_STOP_GRACE_S="0")
    pid = home.serving()["pid"]
    begun = time.monotonic()
    home.process.terminate()
    assert home.process.wait(LIMIT_S) == 0
    assert STOP_MARGIN_S - 0.5 < time.monotonic() - begun < STOP_MARGIN_S + 6
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    home.end()


def test_a_second_ctrl_c_does_not_wait(make: Callable[..., Home]) -> None:
    home = make(FAKE_SERVING="deaf")
    home.serving()
    home.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert home.process.poll() is None
    home.process.send_signal(signal.SIGINT)
    assert home.process.wait(2.0) == 0
    home.end()


def test_a_second_one_says_where_the_first_runs(home: Home) -> None:
    about = home.serving()
    second = home.spawn()
    said = second.communicate(timeout=LIMIT_S)[1]
    assert second.returncode == 0
    assert f"runs already (pid {about['pid']}, port {about['port']})" in said
    assert home.serving()["pid"] == about["pid"]


def test_two_that_start_at_once_are_one_daemon(make: Callable[..., Home]) -> None:
    home = make()
    others = [home.spawn() for _ in range(3)]
    home.serving()
    all_ = [home.process, *others]
    left = eventually(
        lambda: alive if len(alive := [p for p in all_ if p.poll() is None]) == 1 else None
    )
    assert len(home.starts.read_text().split()) == 1
    home.process, *_ = left
    for other in all_:
        if other is not home.process:
            other.communicate(timeout=LIMIT_S)
            assert other.returncode == 0
    home.end()


def test_the_serving_process_outlives_its_supervisor_and_keeps_the_home(
    make: Callable[..., Home],
) -> None:
    home = make()
    about = home.serving()
    home.process.kill()
    home.process.wait(LIMIT_S)
    assert home.serving()["pid"] == about["pid"]
    assert lock_held(home.path("agentwatch.lock"))
    second = home.spawn()
    assert "runs already" in second.communicate(timeout=LIMIT_S)[1]
    os.kill(about["pid"], signal.SIGTERM)
    eventually(lambda: not lock_held(home.path("agentwatch.lock")))
    home.process = home.spawn()
    assert home.serves_after(about["pid"])
    home.end()


@pytest.mark.parametrize(("code", "starts"), [(0, 1), (78, 1), (3, 3)])
def test_an_end_that_another_start_would_not_mend(
    make: Callable[..., Home], code: int, starts: int
) -> None:
    home = make(FAKE_SERVING=f"exit:{code}")
    assert home.process.wait(LIMIT_S) == (1 if code == 3 else code)
    assert len(home.starts.read_text().split()) == starts
    assert "fake: something is wrong" in home.end()


def test_a_wrong_setting_is_told_and_starts_nothing(make: Callable[..., Home]) -> None:
    home = make(AGENTWATCH_ENFORCEMENT_CLAMPS="true")
    assert home.process.wait(LIMIT_S) == 78
    said = home.end()
    assert "AGENTWATCH_ENFORCEMENT_CLAMP" in said
    assert not home.starts.exists()


def test_a_socket_that_was_deleted_is_back_after_a_restart(home: Home) -> None:
    before = home.serving()["pid"]
    home.path("agentwatch.sock").unlink()
    home.process.send_signal(signal.SIGHUP)
    assert home.serves_after(before)


def test_systemd_hears_when_it_serves_and_when_it_ends(
    tmp_path: Path, make: Callable[..., Home]
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        home = make(NOTIFY_SOCKET=str(tmp_path / "notify"))
        manager.settimeout(LIMIT_S)
        assert manager.recv(100) == b"READY=1"
        home.end()
        assert manager.recv(100) == b"STOPPING=1"
        assert not select.select([manager], [], [], 0)[0]


def test_one_that_never_says_that_it_serves_can_be_ended(make: Callable[..., Home]) -> None:
    home = make(FAKE_SERVING="mute")
    home.serving()
    running = read_running(home.path("daemon.json"))
    assert running is not None and running.serving is None
    home.end()
    assert home.process.returncode == 0


def test_a_terminal_that_is_closed_ends_the_daemon_in_it(home: Home) -> None:
    home.serving()
    home.process.terminate()
    home.process.communicate(timeout=LIMIT_S)
    master, terminal = pty.openpty()
    home.process = home.spawn(stdin=terminal)
    before = home.serving()["pid"]
    home.process.send_signal(signal.SIGUSR1)
    home.serves_after(before)
    home.process.send_signal(signal.SIGHUP)
    assert home.process.wait(LIMIT_S) == 0
    os.close(master)
    os.close(terminal)


def test_only_those_that_die_young_wait_longer_and_longer() -> None:
    assert [back_off_s(count) for count in range(7)] == [0, 0, 0.1, 0.5, 2, 2, 2]
