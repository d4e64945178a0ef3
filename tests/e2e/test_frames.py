"""Frames at a real daemon: the same answers as over HTTP, nobody slow, and nothing lost when the
process that serves is replaced."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from harness import Daemon

from agentwatch.sdk.door import Door
from agentwatch.sdk.line import FrameLine

Start = Callable[..., Daemon]

HOLD = {"provider": "openai", "model": "gpt-4o", "input_tokens": 9, "max_output_tokens": 9}


def path_of(daemon: Daemon) -> str:
    return str(daemon.home / "agentwatch.sock")


@contextmanager
def connected(daemon: Daemon) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(path_of(daemon))
        yield sock


def ask(daemon: Daemon, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    return Door(path_of(daemon)).ask(method, path, body)


def test_a_call_is_answered_as_over_http(daemon: Daemon) -> None:
    own = f"/v1/sessions/{daemon.open(1.0).id}"
    for path in ("/v1/healthz", "/v1/status", own, "/v1/budgets", "/v1/alerts", "/v1/nowhere"):
        assert ask(daemon, "GET", path).body == daemon.call("GET", path, check=False), path
    assert ask(daemon, "PUT", f"{own}/budget", {"budget_usd": 0.25}).status == 200
    assert daemon.get(own)["budget_usd"] == 0.25
    assert ask(daemon, "PUT", f"{own}/budget", {"budget": 1}).status == 400
    check = "/v1/budget-check?session_id=nobody&limit_usd=0%2E5"
    assert ask(daemon, "GET", check).body["limit_usd"] == 0.5


@pytest.mark.parametrize("path", ["/v1/alerts?follow=1", "/metrics", "/v1/sessions/{}/export"])
def test_what_comes_bit_by_bit_is_not_framed(path: str, daemon: Daemon) -> None:
    said = ask(daemon, "GET", path.format(daemon.open(1.0).id))
    assert (said.status, said.body["error"]["message"]) == (400, "this is answered over HTTP only")


@pytest.mark.parametrize("sent", [b"\0", b"\0\0\1", b"\0\0\1\0[", struct.pack("!I", 2) + b"[]"])
def test_who_does_not_end_his_frame_is_cut_off(sent: bytes, start_daemon: Start) -> None:
    daemon = start_daemon(doors_head_timeout_s="1")
    with connected(daemon) as sock:
        sock.sendall(sent)
        assert sock.recv(9) == b""
    assert ask(daemon, "GET", "/v1/healthz").status == 200


def test_the_port_speaks_no_frames(daemon: Daemon) -> None:
    question = json.dumps(["GET", "/v1/healthz"]).encode()
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=30) as sock:
        sock.sendall(struct.pack("!I", len(question)) + question)
        assert sock.recv(12)[8:] == b" 400"


def test_holds_go_on_while_the_process_that_serves_is_replaced(start_daemon: Start) -> None:
    daemon = start_daemon()
    session, door = daemon.open(1000.0).id, Door(path_of(daemon))
    statuses: list[int] = []
    over = threading.Event()

    def hold_and_void() -> None:
        while not over.is_set():
            hold = door.ask("POST", "/v1/holds", {"session_id": session, **HOLD})
            statuses.append(hold.status)
            void = door.ask("POST", f"/v1/holds/{hold.body['hold_id']}/void", {})
            statuses.append(void.status)

    threads = [threading.Thread(target=hold_and_void) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            assert daemon.command("restart").returncode == 0
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
    assert set(statuses) == {200}
    shown = daemon.get(f"/v1/sessions/{session}")
    assert (shown["held_usd"], shown["iterations"]) == (0, len(statuses) // 2)


def test_a_line_that_nobody_uses_does_not_keep_the_daemon(start_daemon: Start) -> None:
    daemon = start_daemon(daemon_stop_grace_s="60")
    line = FrameLine(path_of(daemon), 60.0)
    line.send("GET", "/v1/healthz", None, None)
    assert line.receive().status == 200
    assert daemon.down().returncode == 0
    assert not line.stands(1.0)
    line.close()
