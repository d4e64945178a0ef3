"""Frames: questions in any pieces, one at a time, and who sends something else is cut off."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.daemon.frames import Framed, Frames, Question
from agentwatch.daemon.tasks import Tasks


class _Transport:
    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = False
        self.untaken = 0

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return self.untaken

    def close(self) -> None:
        self.closed = True


def frame(*question: Any) -> bytes:
    data = json.dumps(question).encode()
    return struct.pack("!I", len(data)) + data


def _frames(answer: Any, tasks: Tasks | None = None) -> tuple[Frames, _Transport]:
    transport: Any = _Transport()
    return Frames(transport, answer, (Tasks() if tasks is None else tasks).spawn), transport


def _said(question: Question) -> Framed:
    return Framed(200, json.dumps([question.method, question.path, question.body]).encode())


@given(
    st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=9),
    st.lists(st.integers(1, 60), min_size=1),
)
def test_a_question_may_come_in_any_pieces(body: dict[str, int], sizes: list[int]) -> None:
    frames, transport = _frames(_said)
    data = frame("POST", "/v1/holds", body, "aws_x")
    while data:
        size = sizes[len(data) % len(sizes)]
        piece, data = data[:size], data[size:]
        frames.feed(piece)
        assert frames.is_within == bool(data)
    (answer,) = transport.sent
    length, status = struct.unpack_from("!IH", answer)
    assert (length, status) == (len(answer) - 4, 200)
    assert json.loads(answer[6:]) == ["POST", "/v1/holds", body]
    assert not transport.closed


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\1" + bytes(9),
        struct.pack("!I", 2) + b"{}",
        struct.pack("!I", 2) + b"[]",
        struct.pack("!I", 3) + b"nul",
        struct.pack("!I", 5) + b"[1,2]",
        struct.pack("!I", 3) + b'"\xff"',
        struct.pack("!I", 0),
        frame("GET", "/v1/healthz") + b"\0",
        frame("GET", "/v1/healthz") * 2,
        frame("GET", "/v1/healthz", "no object"),
        frame("GET", "/v1/healthz", None, 7),
        struct.pack("!I", 200_000) + b"[" * 200_000,
    ],
)
async def test_what_is_no_frame_cuts_off(data: bytes) -> None:
    frames, transport = _frames(_said)
    frames.feed(data)
    assert transport.closed
    assert transport.sent == []
    assert not frames.is_within


async def test_the_next_question_comes_after_the_answer() -> None:
    go, tasks = asyncio.Event(), Tasks()

    async def slowly(question: Question) -> Framed:
        await go.wait()
        return _said(question)

    def answer(question: Question) -> Coroutine[Any, Any, Framed]:
        return slowly(question)

    frames, transport = _frames(answer, tasks)
    frames.feed(frame("GET", "/a"))
    assert frames.is_busy
    go.set()
    await tasks.wait(20)
    assert len(transport.sent) == 1
    assert not frames.is_busy
    go.clear()
    frames.feed(frame("GET", "/b"))
    frames.feed(frame("GET", "/c"))
    assert transport.closed
    go.set()
    await tasks.wait(20)
    assert len(transport.sent) == 1


async def test_an_answer_that_fails_cuts_off() -> None:
    tasks = Tasks()

    async def fails() -> Framed:
        raise RuntimeError("a mistake of ours")

    frames, transport = _frames(lambda _: fails(), tasks)
    frames.feed(frame("GET", "/a"))
    await tasks.wait(20)
    assert transport.closed
    assert transport.sent == []
