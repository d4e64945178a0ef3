"""The line to the daemon, against listeners that answer, break off, fall silent and come back."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import wait_until

from agentwatch.errors import DaemonUnavailable
from agentwatch.sdk.door import PROVEN_S, Door, find_door

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"status":"ok"}'


class Listener:
    """A Unix socket whose connections are handed to `serve`, each in a thread."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.serve: Callable[[socket.socket], object] = self.answer
        self.connections = self.closed = 0
        self.answers = threading.Event()
        self.answers.set()
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.bind(self.path)
        self._sock.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._sock.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self.serve(connection)
        self.closed += 1

    def answer(self, connection: socket.socket) -> None:
        while connection.recv(65_536):
            self.answers.wait(20)
            connection.sendall(OK)

    def close(self) -> None:
        self.answers.set()
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        Path(self.path).unlink(missing_ok=True)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with tempfile.TemporaryDirectory(prefix="aw-") as folder:
        made = Listener(Path(folder) / "s")
        yield made
        made.close()


def test_one_line_serves_many_questions(listener: Listener) -> None:
    door = Door(listener.path)
    for _ in range(5):
        assert door.ask("GET", "/v1/healthz") == (200, {"status": "ok"})
    assert listener.connections == 1


def test_a_dead_socket_is_waited_for(tmp_path: Path) -> None:
    """A refused connection must not cost the time-out."""
    door = Door(str(tmp_path / "none"))
    began = time.monotonic()
    assert door.silence(30.0) == "no daemon is running"
    assert time.monotonic() - began < 5
    with pytest.raises(DaemonUnavailable, match="no daemon is running"):
        door.ask("GET", "/v1/healthz")


def test_a_hung_daemon_is_waited_for_again_and_again(listener: Listener) -> None:
    door = Door(listener.path)
    listener.answers.clear()
    began = time.monotonic()
    assert "does not answer" in (door.silence(0.2) or "")
    assert time.monotonic() - began >= 0.2
    began = time.monotonic()
    for _ in range(50):
        assert door.silence(30.0) is not None
    assert time.monotonic() - began < 10
    assert listener.connections == 1


def test_a_daemon_that_goes_on_is_thought_hung(listener: Listener) -> None:
    door = Door(listener.path)
    listener.answers.clear()
    assert door.silence(0.05) is not None
    listener.answers.set()
    deadline = time.monotonic() + 20
    while door.silence(30.0) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_threads_wait_one_after_the_other_for_a_hung_daemon(listener: Listener) -> None:
    door = Door(listener.path)
    listener.answers.clear()
    began = time.monotonic()
    threads = [threading.Thread(target=door.silence, args=(0.5,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 5


def test_a_hung_process_s_successor_is_thought_hung(listener: Listener) -> None:
    door = Door(listener.path)
    gone = threading.Event()
    listener.serve = lambda connection: bool(gone.wait(20))
    assert door.silence(0.05) is not None
    listener.serve = listener.answer
    gone.set()
    wait_until(lambda: listener.closed == 1)
    assert door.silence(5.0) is None


def test_who_has_just_answered_is_asked_again(listener: Listener) -> None:
    door = Door(listener.path)
    assert not door.is_proven
    assert door.silence(5.0) is None
    assert door.is_proven
    assert door.silence(5.0) is None
    assert listener.connections == 1
    door._heard_at -= PROVEN_S
    assert not door.is_proven


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\noops",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        b"x" * 70_000,
    ],
)
def test_what_is_no_daemon_s_answer_is_told(listener: Listener, answer: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(answer)

    listener.serve = serve
    with pytest.raises(DaemonUnavailable):
        Door(listener.path).ask("GET", "/v1/healthz", timeout_s=5)


def test_a_line_that_the_daemon_closed_is_used_again(listener: Listener) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(OK)

    listener.serve = serve
    door = Door(listener.path)
    for number in range(1, 21):
        assert door.ask("POST", "/v1/holds", {}).status == 200
        wait_until(lambda: listener.closed == number)  # noqa: B023
    assert listener.connections == 20


def test_a_fork_writes_on_its_parent_s_line(listener: Listener) -> None:
    door = Door(listener.path)
    door.ask("GET", "/v1/healthz")
    child = os.fork()
    if not child:
        ok = door.silence(5.0) is None and door.ask("GET", "/x").status == 200
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert listener.connections == 2
    assert door.ask("GET", "/v1/healthz").status == 200
    assert listener.connections == 2


def test_the_door_is_where_the_environment_says(tmp_path: Path) -> None:
    home = {"AGENTWATCH_HOME": str(tmp_path)}
    assert find_door({"AGENTWATCH_SOCKET": "/x/y.sock", **home}, None).address == "/x/y.sock"
    assert find_door({}, "http://127.0.0.1:4242").address == ("127.0.0.1", 4242)
    assert find_door(home, None) is find_door(home, None)
