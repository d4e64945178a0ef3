"""The line to the daemon, against listeners that answer, break off, fall silent and come back."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest
from harness import wait_until
from listener import Listener

from agentwatch.errors import DaemonUnavailable
from agentwatch.sdk.door import PROVEN_S, Door, find_door


def test_one_line_serves_many_questions(either: Listener) -> None:
    door = Door(either.address)
    for _ in range(5):
        assert door.ask("GET", "/v1/healthz") == (200, {"status": "ok"})
    assert either.connections == 1


def test_a_dead_socket_is_waited_for(tmp_path: Path) -> None:
    """A refused connection must not cost the time-out."""
    door = Door(str(tmp_path / "none"))
    began = time.monotonic()
    assert door.silence(30.0) == "no daemon is running"
    assert time.monotonic() - began < 5
    with pytest.raises(DaemonUnavailable, match="no daemon is running"):
        door.ask("GET", "/v1/healthz")


def test_a_hung_daemon_is_waited_for_again_and_again(either: Listener) -> None:
    door = Door(either.address)
    either.answers.clear()
    began = time.monotonic()
    assert "does not answer" in (door.silence(0.2) or "")
    assert time.monotonic() - began >= 0.2
    began = time.monotonic()
    for _ in range(50):
        assert door.silence(30.0) is not None
    assert time.monotonic() - began < 10
    assert either.connections == 1


def test_a_daemon_that_goes_on_is_thought_hung(either: Listener) -> None:
    door = Door(either.address)
    either.answers.clear()
    assert door.silence(0.05) is not None
    either.answers.set()
    deadline = time.monotonic() + 20
    while door.silence(30.0) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_threads_wait_one_after_the_other_for_a_hung_daemon(listener: Listener) -> None:
    door = Door(listener.address)
    listener.answers.clear()
    began = time.monotonic()
    threads = [threading.Thread(target=door.silence, args=(0.5,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 5


def test_a_hung_process_s_successor_is_thought_hung(listener: Listener) -> None:
    door = Door(listener.address)
    gone = threading.Event()
    listener.serve = lambda connection: bool(gone.wait(20))
    assert door.silence(0.05) is not None
    listener.serve = listener.answer
    gone.set()
    wait_until(lambda: listener.closed == 1)
    assert door.silence(5.0) is None


def test_who_has_just_answered_is_asked_again(listener: Listener) -> None:
    door = Door(listener.address)
    assert not door.is_proven
    assert door.silence(5.0) is None
    assert door.is_proven
    assert door.silence(5.0) is None
    assert listener.connections == 1
    door._heard_at -= PROVEN_S
    assert not door.is_proven


def test_a_question_that_nobody_has_read_is_asked_again(listener: Listener) -> None:
    """A process that goes while a question is on its way to it."""

    def goes_without_reading(connection: socket.socket) -> None:
        connection.recv(1, socket.MSG_PEEK)
        listener.serve = listener.answer

    listener.serve = goes_without_reading
    door = Door(listener.address)
    assert door.ask("POST", "/v1/holds", {}).status == 200
    assert listener.connections == 2
    listener.serve = goes_without_reading
    assert Door(listener.address).silence(5.0) is None
    assert listener.connections == 4


def test_a_question_that_somebody_may_have_read_is_not(listener: Listener) -> None:
    listener.serve = lambda connection: connection.recv(65_536)
    with pytest.raises(DaemonUnavailable):
        Door(listener.address).ask("POST", "/v1/holds", {})
    assert listener.connections == 1


def test_nobody_s_question_is_asked_for_ever(listener: Listener) -> None:
    listener.serve = lambda connection: connection.recv(1, socket.MSG_PEEK)
    with pytest.raises(DaemonUnavailable):
        Door(listener.address).ask("POST", "/v1/holds", {})
    assert listener.connections == 4


def test_a_line_that_the_daemon_closed_is_used_again(either: Listener) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(either.ok)

    either.serve = serve
    door = Door(either.address)
    for number in range(1, 21):
        assert door.ask("POST", "/v1/holds", {}).status == 200
        wait_until(lambda: either.closed == number)  # noqa: B023
    assert either.connections == 20


def test_a_fork_writes_on_its_parent_s_line(either: Listener) -> None:
    door = Door(either.address)
    door.ask("GET", "/v1/healthz")
    child = os.fork()
    if not child:
        ok = door.silence(5.0) is None and door.ask("GET", "/x").status == 200
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert either.connections == 2
    assert door.ask("GET", "/v1/healthz").status == 200
    assert either.connections == 2


def test_the_door_is_where_the_environment_says(tmp_path: Path) -> None:
    home = {"AGENTWATCH_HOME": str(tmp_path)}
    assert find_door({"AGENTWATCH_SOCKET": "/x/y.sock", **home}, None).address == "/x/y.sock"
    assert find_door({}, "http://127.0.0.1:4242").address == ("127.0.0.1", 4242)
    assert find_door(home, None) is find_door(home, None)
