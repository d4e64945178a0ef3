"""Requests that nobody can have read, as a daemon closed the connection that they were on."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from harness import Daemon, chat

import agentwatch
from agentwatch.standin.process import StandinProcess


class Road:
    """A socket on the way to the daemon's. It closes the connections of so many calls: unread, or
    read and unanswered; all else it carries."""

    def __init__(self, path: Path, daemon: Path, *, losses: int, reads: bool = False) -> None:
        self.calls = 0
        self._daemon = str(daemon)
        self._losses = losses
        self._reads = reads
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listening.accept()
                threading.Thread(target=self._connection, args=(sock,), daemon=True).start()

    def _connection(self, sock: socket.socket) -> None:
        with sock, suppress(OSError), socket.socket(socket.AF_UNIX) as beyond:
            if sock.recv(4, socket.MSG_PEEK) == b"POST":
                self.calls += 1
                if self.calls <= self._losses:
                    if self._reads:
                        while b"max_tokens" not in sock.recv(65_536):
                            pass
                    return
            beyond.connect(self._daemon)
            back = threading.Thread(target=_carry, args=(beyond, sock), daemon=True)
            back.start()
            _carry(sock, beyond)
            back.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def road(beside: Daemon, program: pytest.MonkeyPatch) -> Iterator[Callable[..., Road]]:
    made: list[Road] = []
    with tempfile.TemporaryDirectory(prefix="aw-") as folder:

        def make(**how: Any) -> Road:
            path = Path(folder) / "road"
            program.setenv("AGENTWATCH_SOCKET", str(path))
            made.append(Road(path, beside.home / "agentwatch.sock", **how))
            return made[-1]

        yield make
        for each in made:
            each.close()


def _ask(client: Any) -> None:
    with client:
        client.chat.completions.create(**chat(max_tokens=50))


def _ask_async(client: Any) -> None:
    async def ask() -> None:
        async with client:
            await client.chat.completions.create(**chat(max_tokens=50))

    asyncio.run(ask())


KINDS = pytest.mark.parametrize(
    ("kind", "ask"),
    [(agentwatch.WatchedOpenAI, _ask), (agentwatch.AsyncWatchedOpenAI, _ask_async)],
    ids=["sync", "async"],
)


@KINDS
def test_a_call_is_lost_that_nobody_read(
    road: Any, standin: StandinProcess, kind: Any, ask: Any
) -> None:
    way = road(losses=3)
    ask(kind(max_retries=0))
    assert (way.calls, standin.bill()["requests"]) == (4, 1)


@KINDS
def test_a_call_that_nobody_ever_reads_goes_round_for_good(road: Any, kind: Any, ask: Any) -> None:
    way = road(losses=99)
    with pytest.raises(openai.APIConnectionError):
        ask(kind(max_retries=0))
    assert way.calls == 4


@KINDS
def test_a_call_that_was_read_is_sent_twice(road: Any, kind: Any, ask: Any) -> None:
    way = road(losses=1, reads=True)
    with pytest.raises(openai.APIConnectionError):
        ask(kind(max_retries=0))
    assert way.calls == 1
