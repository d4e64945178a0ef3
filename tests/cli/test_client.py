"""The CLI's line to the daemon says why it failed, and trusts no stranger's socket."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from agentwatch.errors import AgentWatchError, DaemonUnavailable, UsageError
from agentwatch_cli import client
from agentwatch_cli.client import Control, ControlError, session_path


def _control(path, **kw):
    return Control(SimpleNamespace(paths=SimpleNamespace(socket=Path(path))), **kw)


@pytest.fixture
def control(fake_daemon):
    return _control(fake_daemon.socket)


def _answering(path, raw: bytes):
    """A server that gives one answer, byte for byte."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(raw)
        server.close()

    threading.Thread(target=serve, daemon=True).start()


@pytest.fixture
def path(fake_daemon):
    return fake_daemon.home / "other.sock"


def test_the_answer_is_the_json_object(control):
    assert control.request("GET", "/v1/healthz") == {"status": "ok"}


def test_without_a_daemon_the_next_step_is_named(path):
    with pytest.raises(DaemonUnavailable, match="agentwatch up"):
        _control(path).request("GET", "/v1/healthz")
    socket.socket(socket.AF_UNIX).bind(str(path))
    with pytest.raises(DaemonUnavailable, match="agentwatch up"):
        _control(path).request("GET", "/v1/healthz")


def test_the_daemons_own_words_are_raised(control):
    with pytest.raises(ControlError, match="no session x") as caught:
        control.request("GET", session_path("x"))
    assert (caught.value.code, caught.value.status) == ("unknown_session", 404)
    assert not isinstance(caught.value, UsageError)


def test_a_400_is_wrong_usage(path):
    body = b'{"error":{"message":"no such mode","code":"bad_request"}}'
    _answering(path, b"HTTP/1.1 400 X\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    with pytest.raises(UsageError, match="no such mode"):
        _control(path).request("GET", "/")


@pytest.mark.parametrize(
    "raw", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b"\xff" * 9]
)
def test_a_line_that_breaks_is_unavailable_not_a_traceback(path, raw):
    _answering(path, raw)
    with pytest.raises(DaemonUnavailable):
        _control(path).request("GET", "/")


@pytest.mark.parametrize("body", [b"<html>", b"[1]"])
def test_an_error_that_is_no_json_still_has_words(path, body):
    _answering(path, b"HTTP/1.1 502 X\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    with pytest.raises(ControlError, match="HTTP 502"):
        _control(path).request("GET", "/")


def test_a_daemon_that_hangs_is_given_up(path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    with pytest.raises(DaemonUnavailable, match="does not answer"):
        _control(path).request("GET", "/", timeout_s=0.1)
    server.close()


def test_a_socket_of_another_user_is_told_nothing(control, fake_daemon, monkeypatch):
    monkeypatch.setattr(client.os, "getuid", lambda: 12345)
    with pytest.raises(AgentWatchError, match="another user"):
        control.request("GET", "/v1/healthz")
    assert fake_daemon.requests == []


def test_a_process_that_took_the_sockets_place_is_told_nothing(control, fake_daemon, monkeypatch):
    monkeypatch.setattr(client, "_serving_uid", lambda sock: 12345)
    with pytest.raises(AgentWatchError, match="another user"):
        control.request("GET", "/v1/healthz")
    assert fake_daemon.requests == []


@pytest.mark.parametrize(("marked", "shown"), [(True, "Bearer aws_x"), (False, None)])
def test_only_a_wrapped_process_shows_its_token(fake_daemon, monkeypatch, marked, shown):
    monkeypatch.setenv("AGENTWATCH_SESSION_TOKEN", "aws_x")
    monkeypatch.setattr(client, "is_marked", lambda pid: marked)
    _control(fake_daemon.socket).request("GET", "/v1/healthz")
    assert fake_daemon.requests[-1][3] == shown


def test_events_come_as_they_happen_until_the_daemon_ends_them(control, fake_daemon):
    with control.events("/v1/sessions/x/events?follow=1") as events:
        stream = iter(events)
        for number in range(3):
            fake_daemon.push(kind="call", number=number)
            assert next(stream) == {"kind": "call", "number": number}
        fake_daemon.stop()
        assert list(stream) == []


def test_an_event_is_read_whatever_stands_around_it(path):
    body = (
        b': hello\n\nevent: x\r\ndata: {"a":\r\ndata: 1}\r\n\r\ndata: no json\n\ndata:{"b":2}\n\n'
    )
    _answering(path, b"HTTP/1.1 200 OK\r\n\r\n" + body)
    with _control(path).events("/") as events:
        assert list(events) == [{"a": 1}, {"b": 2}]


def test_a_stream_that_is_refused_raises(control):
    with pytest.raises(ControlError):
        control.events("/v1/sessions/nobody")


@pytest.mark.parametrize("name", ["", "../x", "a b", "a\n", "é", "-x", "x" * 129, "a/b", "a?b"])
def test_an_id_that_can_be_none_reaches_no_path(name):
    with pytest.raises(UsageError, match="session id"):
        session_path(name)


def test_an_id_stands_in_the_path_as_it_is():
    assert session_path("ci:run-1.2_x", "kill") == "/v1/sessions/ci:run-1.2_x/kill"
