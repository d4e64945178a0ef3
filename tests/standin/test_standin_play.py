"""How fast, how far, and what is billed when an answer breaks off or nobody listens any more."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from agentwatch.standin.process import StandinProcess

Ask = Callable[..., socket.socket]


def ended(standin: StandinProcess, patience_s: float = 5.0) -> dict[str, Any]:
    """The last request's row, once it is over."""
    give_up = time.monotonic() + patience_s
    while True:
        rows = standin.requests()
        if rows and rows[-1]["ended"] is not None:
            return rows[-1]
        assert time.monotonic() < give_up, "the call never ended"
        time.sleep(0.005)


def wait_for_tokens(standin: StandinProcess, count: int) -> None:
    give_up = time.monotonic() + 5
    while not any(row["completion_tokens"] >= count for row in standin.requests()):
        assert time.monotonic() < give_up, "no tokens came"
        time.sleep(0.005)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_goes_away_is_billed_for_what_was_made_by_then(
    ask: Ask, standin: StandinProcess, streamed: bool
) -> None:
    connection = ask("tokens=5000 delay=0.005", stream=streamed)
    wait_for_tokens(standin, 5)
    connection.close()
    row = ended(standin)
    assert row["ended"] == "client_gone"
    assert 5 <= row["completion_tokens"] < 500
    assert row["nanos"] == row["prompt_tokens"] * 150 + row["completion_tokens"] * 600


def test_tokens_without_end_go_on_until_the_client_leaves(
    ask: Ask, standin: StandinProcess
) -> None:
    connection = ask("endless ignore_limit", stream=True, max_tokens=10)
    wait_for_tokens(standin, 1000)
    connection.close()
    assert ended(standin)["ended"] == "client_gone"


def test_input_is_billed_from_the_start_of_a_call_that_hangs(
    ask: Ask, standin: StandinProcess
) -> None:
    connection = ask("hang=before_head")
    give_up = time.monotonic() + 5
    while not standin.bill()["billed_nanos"]:
        assert time.monotonic() < give_up
        time.sleep(0.005)
    row = standin.bill()["by_request"][0]
    assert (row["completion_tokens"], row["ended"]) == (0, None)
    connection.close()
    assert ended(standin)["ended"] == "client_gone"


@pytest.mark.parametrize("place", ["after_head", "3"])
def test_a_stream_can_hang_at_any_place(ask: Ask, standin: StandinProcess, place: str) -> None:
    connection = ask(f"hang={place}", stream=True)
    assert connection.recv(9) == b"HTTP/1.1 "
    if place.isdigit():
        wait_for_tokens(standin, int(place))
    time.sleep(0.05)
    assert standin.requests()[0]["ended"] is None
    assert standin.requests()[0]["completion_tokens"] == (3 if place == "3" else 0)


def test_an_answer_that_was_made_and_lost_is_billed_whole(
    ask: Ask, standin: StandinProcess
) -> None:
    connection = ask("reset=99 tokens=20")
    with pytest.raises(ConnectionResetError):
        connection.recv(1)
    assert ended(standin)["completion_tokens"] == 20


@pytest.mark.parametrize("fault", ["cut=7", "end=7", "error=7", "reset=7"])
def test_what_breaks_off_is_billed_up_to_there(
    ask: Ask, standin: StandinProcess, fault: str
) -> None:
    ask(fault, stream=True)
    row = ended(standin)
    assert (row["completion_tokens"], row["ended"]) == (7, fault.split("=")[0])


@pytest.mark.parametrize("streamed", [True, False])
def test_tokens_take_their_time(ask: Ask, standin: StandinProcess, streamed: bool) -> None:
    ask("tokens=10 delay=0.01 head_delay=0.05", stream=streamed)
    row = ended(standin)
    # uvloop's timers count whole milliseconds, and may be early by a part of one
    assert row["ended_at"] - row["started_at"] >= 0.148


def test_comments_can_come_for_ever(ask: Ask, standin: StandinProcess) -> None:
    connection = ask("comments=-1 delay=0.001", stream=True)
    got = b""
    while got.count(b": still here") < 20:
        got += connection.recv(1 << 16)
    assert b"data:" not in got
    connection.close()
    assert ended(standin)["completion_tokens"] == 0
