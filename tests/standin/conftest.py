"""A stand-in in a process of its own for the tests of this room, and a raw look at its wire."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from agentwatch.standin.process import StandinProcess


@pytest.fixture(scope="session")
def running() -> Iterator[StandinProcess]:
    with StandinProcess(canaries=("sk-real-canary",)) as process:
        yield process


@pytest.fixture
def standin(running: StandinProcess) -> StandinProcess:
    running.reset()
    return running


@pytest.fixture
def client(standin: StandinProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=standin.url, api_key=standin.key, max_retries=0, timeout=10) as sdk:
        yield sdk


@pytest.fixture
def ask(standin: StandinProcess) -> Iterator[Callable[..., socket.socket]]:
    """Send a chat call over a plain socket, and leave the answer unread."""
    opened: list[socket.socket] = []

    def send(directive: str = "", path: str = "/v1/chat/completions", **fields: Any) -> Any:
        asked = {
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": f"hello [[standin: {directive}]]"}],
            **fields,
        }
        body = json.dumps(asked).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: standin\r\nAuthorization: Bearer {standin.key}\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection = socket.create_connection(("127.0.0.1", standin.port), timeout=10)
        opened.append(connection)
        connection.sendall(head.encode() + body)
        return connection

    yield send
    for connection in opened:
        connection.close()
