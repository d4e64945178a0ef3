"""Clients that vanish: no hold is left, nobody pays nothing, nobody pays for everything."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from harness import Agent, Daemon, Sent, chat, nanos, wait_until

from agentwatch.standin.process import StandinProcess

#: what a call may cost at most; its input is about a twentieth of it
LIMIT = 2_000
RATE = 10_000  # gpt-4o, nanos for a token of output


@pytest.fixture(scope="module")
def module_daemon(module_start: Callable[..., Daemon]) -> Daemon:
    """One that reads on for half a second, as many tests here wait for the end of that."""
    return module_start(enforcement_drain_s="0.5")


def _body(directive: str, *, stream: bool) -> dict[str, Any]:
    return chat(directive, model="gpt-4o", max_tokens=LIMIT, stream=stream)


def _ended(agent: Agent, standin: StandinProcess, within_s: float = 8.0) -> tuple[int, int]:
    """Settled and billed, once nothing is out any more."""
    shown = agent.at_rest(within_s)
    wait_until(lambda: standin.bill()["in_flight"] == 0, what="the upstream's call ended")
    return nanos(shown["settled_usd"]), standin.bill()["billed_nanos"]


def _before_head(standin: StandinProcess, sent: Sent) -> None:
    wait_until(lambda: standin.bill()["in_flight"] == 1)


def _after_head(standin: StandinProcess, sent: Sent) -> None:
    sent.head()


def _midstream(standin: StandinProcess, sent: Sent) -> None:
    answer = sent.head()
    seen = b""
    while seen.count(b'"content":"') < 6:
        seen += answer.read1(4096)


def _before_the_end(standin: StandinProcess, sent: Sent) -> None:
    answer = sent.head()
    seen = b""
    while b'"finish_reason":"stop"' not in seen:
        seen += answer.read1(4096)


@pytest.mark.parametrize("rst", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize(
    ("directive", "until"),
    [
        ("tokens=500 head_delay=4", _before_head),
        ("hang=after_head", _after_head),
        ("tokens=1900 delay=0.02", _midstream),
        ("tokens=30 delay=0.01", _before_the_end),
    ],
    ids=["before the head", "after the head", "in mid-stream", "at the end"],
)
def test_a_client_hangs_up_on_a_stream(
    daemon: Daemon,
    standin: StandinProcess,
    directive: str,
    until: Callable[[StandinProcess, Sent], None],
    rst: bool,
) -> None:
    """litellm#33736, bifrost#3357 ($120 spent, $90 counted), sub2api#4408, litellm#27639."""
    agent = daemon.open(1.0)
    sent = agent.begin(body=_body(directive, stream=True))
    until(standin, sent)
    sent.hang_up(rst=rst)
    settled, billed = _ended(agent, standin)
    assert settled >= billed > 0
    # 0.5 s of reading on see 25 tokens; never the whole hold of 2,000
    assert settled < LIMIT * RATE // 2


@pytest.mark.parametrize("rst", [False, True], ids=["FIN", "RST"])
def test_a_client_hangs_up_on_a_whole_answer(
    daemon: Daemon, standin: StandinProcess, rst: bool
) -> None:
    """The answer comes while it is read on: it costs what it cost."""
    agent = daemon.open(1.0)
    sent = agent.begin(body=_body("tokens=40 head_delay=0.2", stream=False))
    _before_head(standin, sent)
    sent.hang_up(rst=rst)
    settled, billed = _ended(agent, standin)
    assert settled == billed > 0


def test_a_client_hangs_up_on_a_whole_answer_that_does_not_come(
    daemon: Daemon, standin: StandinProcess
) -> None:
    """In doubt: the provider goes on at its own pace, so the hold is charged."""
    agent = daemon.open(1.0)
    sent = agent.begin(body=_body("tokens=1900 delay=0.01", stream=False))
    _before_head(standin, sent)
    held = agent.held
    sent.hang_up()
    settled, billed = _ended(agent, standin)
    assert settled == held >= billed > 0


def test_a_client_hangs_up_while_the_model_thinks(daemon: Daemon, standin: StandinProcess) -> None:
    """What is thought is billed and never shown: the time it took is counted."""
    agent = daemon.open(2.0)
    body = chat("reasoning=3000 delay=0.005 tokens=5", model="gpt-5", stream=True)
    sent = agent.begin(body=body)
    sent.head()
    wait_until(lambda: standin.bill()["by_request"][0]["completion_tokens"] > 50)
    held = agent.held
    sent.hang_up()
    settled, billed = _ended(agent, standin)
    assert held // 4 > settled >= billed > 50 * RATE


def test_many_hang_up_at_any_byte(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(5.0)
    calls = []
    for number in range(40):
        body = _body(f"tokens={number * 7} delay=0.001", stream=number % 3 != 0)
        calls.append((number, agent.begin(body=body)))
    for number, sent in calls:
        if number % 4:
            sent.sock.recv(number * 13)
        sent.hang_up(rst=number % 2 == 0)
    gone_at = time.monotonic()
    settled, billed = _ended(agent, standin)
    assert time.monotonic() - gone_at < 8
    assert settled >= billed > 0
    assert daemon.get("/v1/status")["calls"] == 0


def test_a_client_that_reads_nothing_is_waited_for_for_ever(
    start_daemon: Callable[..., Daemon], standin: StandinProcess
) -> None:
    daemon = start_daemon(doors_write_timeout_s="0.5")
    agent = daemon.open(5.0)
    sent = agent.begin(body=_body("tokens=1900 size=20000", stream=True))
    sent.head()
    settled, billed = _ended(agent, standin, 20)
    sent.hang_up()
    assert settled >= billed > 0


def test_the_default_patience_is_two_seconds(
    start_daemon: Callable[..., Daemon], standin: StandinProcess
) -> None:
    daemon = start_daemon()
    agent = daemon.open(1.0)
    sent = agent.begin(body=_body("hang=5", stream=True))
    _after_head(standin, sent)
    sent.hang_up()
    gone_at = time.monotonic()
    settled, billed = _ended(agent, standin)
    assert 1.9 < time.monotonic() - gone_at < 5
    assert settled >= billed > 0


def test_half_a_request_costs_something(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(1.0)
    body = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hal'
    agent.begin(body=body, headers={"Content-Length": "500"}).hang_up()
    assert agent.at_rest()["iterations"] == 0
    assert standin.bill()["requests"] == 0
