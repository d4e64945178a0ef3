"""One connection to a daemon: what is its answer, and what is none."""

from __future__ import annotations

import socket

import pytest
from listener import Listener

from agentwatch.errors import UsageError
from agentwatch.sdk.line import Unheard, line_to


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\noops",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        b"x" * 70_000,
        b"\0\0\0",
        b"\0\0\0\x04\x00\xc8[]",
        b"\0\0\0\x04\x00\xc8{",
        b"\0\0\0\x03\x00\xc8{}",
        b"\0\0\0\x09\x00\xc8{}",
    ],
)
def test_what_is_no_daemon_s_answer_is_told(either: Listener, answer: bytes) -> None:
    either.serve = lambda connection: connection.recv(65_536) and connection.sendall(answer)
    line = line_to(either.address, 5.0)
    line.send("GET", "/v1/healthz", None, None)
    with pytest.raises(OSError, match="daemon"):
        line.receive()
    line.close()


def test_what_no_frame_holds_is_told(listener: Listener) -> None:
    with pytest.raises(UsageError, match="over 16 MB"):
        line_to(listener.address, 5.0).send("POST", "/v1/holds", {"x": "y" * (1 << 24)}, None)


def test_one_that_was_answered_stands_until_something_comes(either: Listener) -> None:
    line = line_to(either.address, 5.0)
    line.send("GET", "/v1/healthz", None, None)
    assert line.receive() == (200, {"status": "ok"})
    assert line.stands(5.0)
    assert line.reusable
    line.send("GET", "/v1/healthz", None, None)
    assert line.has_something(5.0)
    assert not line.stands(5.0)
    line.close()


def test_a_peer_that_went_has_not_heard_the_next_question(listener: Listener) -> None:
    listener.serve = lambda connection: None
    line = line_to(listener.address, 5.0)
    assert line.has_something(5.0)
    with pytest.raises(Unheard):
        line.send("GET", "/v1/healthz", None, None)
    line.close()


def test_an_answer_that_comes_in_pieces_is_whole(either: Listener) -> None:
    def bit_by_bit(connection: socket.socket) -> None:
        connection.recv(65_536)
        for byte in either.ok:
            connection.sendall(bytes([byte]))

    either.serve = bit_by_bit
    line = line_to(either.address, 5.0)
    line.send("GET", "/v1/healthz", None, None)
    assert line.receive() == (200, {"status": "ok"})
    line.close()
