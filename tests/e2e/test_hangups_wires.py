"""Who hangs up, on every wire and at every stage: the client by FIN or RST, the provider by a cut
or a reset. Nothing is free because of it, and five seconds later nothing is held any more."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from harness import Agent, Daemon, Sent, nanos, wait_until

from agentwatch.standin.process import StandinProcess

LIMIT = 1_500
#: after this nothing may be held
AT_REST_S = 5.0
#: the same for clients that are still there: megabytes go to them before their line is full
SLOW_S = 20.0
#: so often as many clients as there are calls below vanish at once
ROUNDS = 4


class Wire(NamedTuple):
    """A streamed call on one wire."""

    base: str
    path: str
    model: str
    limit: str = "max_tokens"

    def body(self, directive: str) -> dict[str, Any]:
        said = f"hello [[standin: {directive}]]"
        asked: dict[str, Any] = {"model": self.model, "stream": True, self.limit: LIMIT}
        if self.limit == "max_output_tokens":
            return {**asked, "input": said}
        return {**asked, "messages": [{"role": "user", "content": said}]}


class Gemini(Wire):
    """The model is in the path, and so is whether it is streamed."""

    def body(self, directive: str) -> dict[str, Any]:
        said = {"role": "user", "parts": [{"text": f"hello [[standin: {directive}]]"}]}
        thinking = {"thinkingBudget": 0}
        config = {"maxOutputTokens": LIMIT, "thinkingConfig": thinking}
        return {"contents": [said], "generationConfig": config}


_GEMINI = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
WIRES = {
    "openai chat": Wire("/openai/v1", "/chat/completions", "gpt-4o"),
    "openai responses": Wire("/openai/v1", "/responses", "gpt-4o", "max_output_tokens"),
    "anthropic": Wire("/anthropic", "/v1/messages", "claude-haiku-4-5"),
    "groq": Wire("/groq/openai/v1", "/chat/completions", "llama-3.3-70b-versatile"),
    "xai": Wire("/xai/v1", "/chat/completions", "grok-4.3"),
    "gemini events": Gemini("/gemini", f"{_GEMINI}?alt=sse", ""),
    "gemini array": Gemini("/gemini", _GEMINI, ""),
}


@pytest.fixture(scope="module")
def module_daemon(module_start: Callable[..., Daemon]) -> Daemon:
    """One that reads on for half a second, as every test here waits for the end of that."""
    return module_start(enforcement_drain_s="0.5")


@pytest.fixture(params=list(WIRES))
def wire(request: pytest.FixtureRequest) -> Wire:
    return WIRES[request.param]


def begin(agent: Agent, wire: Wire, directive: str) -> Sent:
    return agent.begin(wire.path, wire.body(directive), base=wire.base)


def ended(
    agent: Agent, standin: StandinProcess, since: float, within_s: float = AT_REST_S
) -> tuple[int, int]:
    """Settled and billed, once nothing is held."""
    shown = agent.at_rest(within_s + 3)
    assert time.monotonic() - since < within_s
    wait_until(lambda: standin.bill()["in_flight"] == 0, what="the upstream's call ended")
    return nanos(shown["settled_usd"]), standin.bill()["billed_nanos"]


def before_head(standin: StandinProcess, sent: Sent) -> None:
    wait_until(lambda: standin.bill()["in_flight"] == 1)


def after_head(standin: StandinProcess, sent: Sent) -> None:
    sent.head()


def midstream(standin: StandinProcess, sent: Sent) -> None:
    answer = sent.head()
    seen = 0
    while seen < 3_000:
        seen += len(answer.read1(4096))


@pytest.mark.parametrize("rst", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize(
    ("directive", "until"),
    [
        ("tokens=500 head_delay=4", before_head),
        ("hang=after_head", after_head),
        ("tokens=1400 delay=0.005", midstream),
    ],
    ids=["before the head", "after the head", "in mid-stream"],
)
def test_a_client_hangs_up_and_pays_nothing_or_everything(
    daemon: Daemon,
    standin: StandinProcess,
    wire: Wire,
    directive: str,
    until: Callable[[StandinProcess, Sent], None],
    rst: bool,
) -> None:
    agent = daemon.open(1.0)
    sent = begin(agent, wire, directive)
    until(standin, sent)
    held = agent.held
    sent.hang_up(rst=rst)
    settled, billed = ended(agent, standin, time.monotonic())
    assert held > settled >= billed > 0


@pytest.mark.parametrize(
    ("directive", "until"),
    [("tokens=500 head_delay=4", before_head), ("tokens=1400 delay=0.005", midstream)],
    ids=["before the head", "in mid-stream"],
)
def test_a_client_that_says_no_more_keeps_its_hold(
    daemon: Daemon,
    standin: StandinProcess,
    wire: Wire,
    directive: str,
    until: Callable[[StandinProcess, Sent], None],
) -> None:
    """A line that is closed by one side counts as a hang-up, and is closed by the other as well."""
    agent = daemon.open(1.0)
    with begin(agent, wire, directive) as sent:
        until(standin, sent)
        held = agent.held
        sent.sock.shutdown(socket.SHUT_WR)
        since = time.monotonic()
        settled, billed = ended(agent, standin, since)
        with suppress(ConnectionResetError):
            while sent.sock.recv(65_536):
                pass
        assert time.monotonic() - since < AT_REST_S
    assert held > settled >= billed > 0


@pytest.fixture(scope="module")
def impatient(module_start: Callable[..., Daemon]) -> Daemon:
    """One that takes a client that reads nothing for half a second for gone."""
    return module_start(enforcement_drain_s="0.5", doors_write_timeout_s="0.5")


def test_a_client_that_reads_nothing_is_waited_for_on_some_wire(
    impatient: Daemon, standin: StandinProcess, wire: Wire
) -> None:
    agent = impatient.open(5.0)
    with begin(agent, wire, "tokens=1400 size=20000") as sent:
        sent.head()
        settled, billed = ended(agent, standin, time.monotonic(), within_s=SLOW_S)
    assert settled >= billed > 0


@pytest.mark.parametrize(
    "directive", ["cut=5", "reset=5", "reset=after_head", "end=5", "error=5", "reset=before_head"]
)
def test_a_provider_breaks_off_and_nothing_is_charged(
    daemon: Daemon, standin: StandinProcess, wire: Wire, directive: str
) -> None:
    """litellm: $0 for ever for a stream that the upstream cuts."""
    agent = daemon.open(1.0)
    with begin(agent, wire, f"tokens=200 {directive}") as sent:
        try:
            sent.reply()
        except (ConnectionError, OSError):
            # the client's line is broken off as the provider's was
            pass
        settled, billed = ended(agent, standin, time.monotonic())
    assert settled >= billed > 0


def test_320_clients_of_all_wires_vanish(daemon: Daemon, standin: StandinProcess) -> None:
    gone = sum(vanish_at_once(daemon, standin, first) for first in range(ROUNDS))
    assert gone >= 320
    print(f"\nof {gone} clients that vanished none left a hold {AT_REST_S:g} s later")


def vanish_at_once(daemon: Daemon, standin: StandinProcess, first: int) -> int:
    """How many did, at other bytes and otherwise than with another `first`."""
    standin.reset()
    agent = daemon.open(10.0)
    calls = [
        begin(agent, wire, f"tokens={number * 11} delay=0.001")
        for number in range(12)
        for wire in WIRES.values()
    ]
    for number, sent in enumerate(calls, first):
        if number % 3:
            sent.sock.recv(number * 17)
        sent.hang_up(rst=number % 2 == 0)
    settled, billed = ended(agent, standin, time.monotonic())
    assert settled >= billed > 0
    assert daemon.get("/v1/status")["calls"] == 0
    return len(calls)
