"""Too much at once: whoever overloads the daemon slows others down by little, and breaks nothing.

How much they notice is measured by bench/overload.py; here is what must hold on any machine.
"""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from harness import Agent, Daemon, Sent, chat, wait_until

from agentwatch.standin.process import StandinProcess

FEW_FILES = 160
BODY_BYTES = 10 << 20


def connect(daemon: Daemon) -> socket.socket:
    return socket.create_connection(("127.0.0.1", daemon.port), timeout=30)


def served(agent: Agent, calls: int) -> list[int]:
    return [agent.post().status for _ in range(calls)]


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_more_connections_than_descriptors_keep_calls_out(
    start_daemon: Callable[..., Daemon],
) -> None:
    daemon = start_daemon()
    limits = (FEW_FILES, FEW_FILES)
    resource.prlimit(parent_of(daemon.pid), resource.RLIMIT_NOFILE, limits)
    assert daemon.command("restart").returncode == 0
    agent = daemon.open(1.0)
    with ExitStack() as stack:
        for _ in range(2 * FEW_FILES):
            stack.enter_context(connect(daemon))
        assert served(agent, 20) == [200] * 20


def test_slow_and_silent_connections_keep_calls_out(
    daemon: Daemon, standin: StandinProcess
) -> None:
    agent = daemon.open(1.0)
    with ExitStack() as stack:
        socks = [stack.enter_context(connect(daemon)) for _ in range(300)]
        for sock in socks[::2]:
            sock.sendall(b"POST /openai/v1/chat/completions HTTP/1.1\r\nHost:")
        assert served(agent, 20) == [200] * 20
    assert standin.bill()["requests"] == 20


def test_bodies_that_stop_coming_keep_large_ones_out(start_daemon: Callable[..., Daemon]) -> None:
    """Measured: eight of them, of which one byte had come, kept all others out for half a
    minute."""
    daemon = start_daemon(doors_body_timeout_s="600")
    bad, agent = daemon.open(1.0), daemon.open(1.0)
    large = chat("tokens=8", max_tokens=16)
    large["messages"][0]["content"] += "x" * 400_000
    head = (
        f"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{daemon.port}\r\n"
        f"Authorization: Bearer {bad.token}\r\nContent-Type: application/json\r\n"
    ).encode()
    told, chunked = b"Content-Length: 500000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"
    begun = told + b"{", told + b"{" * 400_000, chunked + b"5\r\n{"
    with ExitStack() as stack:
        for body in begun * 9:
            stack.enter_context(Sent(daemon.port, head + body))
        assert [agent.post(body=large).status for _ in range(3)] == [200] * 3


def test_forty_bodies_of_ten_megabytes_fill_the_memory(start_daemon: Callable[..., Daemon]) -> None:
    """Measured: 200 of them, refused for want of money, stopped all for 12 s and took 4 GB."""
    daemon = start_daemon()
    poor, agent = daemon.open(0.01), daemon.open(1.0)
    large = chat("tokens=8", max_tokens=16)
    large["messages"][0]["content"] += "x" * BODY_BYTES
    refused: list[int] = []
    threads = [
        threading.Thread(target=lambda: refused.append(poor.post(body=large).status))
        for _ in range(40)
    ]
    for thread in threads:
        thread.start()
    assert served(agent, 20) == [200] * 20
    for thread in threads:
        thread.join()
    assert refused == [400] * 40
    assert highest_mb(daemon.pid) < 450
    wait_until(lambda: daemon.get("/v1/status")["calls"] == 0)


def highest_mb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024
