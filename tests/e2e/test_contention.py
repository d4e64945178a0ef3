"""Dozens of parallel agents on one small ceiling: who is refused, who waits, and who is served.

Each call asks for fewer tokens than any limit that would be put in, so what it is held at is what
a refusal says that it asked.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from harness import Agent, Daemon, Reply, chat, hold_of, nanos, wait_until

from agentwatch.standin.process import StandinProcess

AGENTS = 40
#: one price, whatever tier: see test_ceiling.py
FIXED: dict[str, Any] = {"model": "gpt-4", "max_tokens": 200}
CALL = chat("tokens=20 head_delay=0.05", **FIXED)
#: what is at once on a quiet machine
AT_ONCE_S = 5.0
#: no wait is longer than this; the daemon itself would end it after a minute
LONGEST_S = 30.0
SUM = re.compile(
    r"spent \$([\d.]+) \+ held \$([\d.]+) \+ asked \$([\d.]+) = .* ceiling \$([\d.]+)\."
)


class End(NamedTuple):
    """How one agent's calls ended: so many served, and the refusal that was its last."""

    served: int
    last: Reply
    longest_s: float


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(AGENTS) as pool:
        yield pool


def call_until_refused(agent: Agent) -> End:
    served, longest = 0, 0.0
    while True:
        asked_at = time.monotonic()
        reply = agent.post(body=CALL)
        longest = max(longest, time.monotonic() - asked_at)
        if reply.status != 200:
            return End(served, reply, longest)
        served += 1


def compete(agent: Agent, pool: ThreadPoolExecutor) -> list[Future[End]]:
    return [pool.submit(call_until_refused, agent) for _ in range(AGENTS)]


def check_refusal(reply: Reply) -> None:
    """What was settled left no money for it: what was only held is no reason."""
    assert reply.denied == "agent_budget_exceeded"
    found = SUM.search(reply.json["error"]["message"])
    assert found, reply.body
    spent, _, asked, ceiling = (nanos(float(usd)) for usd in found.groups())
    assert spent + asked > ceiling, reply.body


@pytest.fixture
def each(daemon: Daemon, standin: StandinProcess) -> int:
    """Nanos that one call is held at."""
    held = hold_of(daemon, CALL)
    standin.reset()
    return held


def test_the_last_cent_is_shared_out_and_nobody_starves(
    daemon: Daemon, standin: StandinProcess, pool: ThreadPoolExecutor, each: int
) -> None:
    # less than half of them fit at the beginning, and fewer and fewer later
    ceiling = 16 * each
    agent = daemon.open(ceiling / 1e9)
    ends = [future.result(120) for future in compete(agent, pool)]
    for end in ends:
        check_refusal(end.last)
    settled = nanos(agent.at_rest()["settled_usd"])
    assert settled == standin.bill()["billed_nanos"] <= ceiling
    assert ceiling - settled < each, "there was money for one more"
    served = sorted(end.served for end in ends)
    assert sum(served) == standin.bill()["requests"]
    # first come, first served: no agent has more than a few turns more than another
    assert served[-1] - served[0] <= 2 + sum(served) // AGENTS, served
    assert served[0] >= 1
    assert max(end.longest_s for end in ends) < LONGEST_S
    print(f"\n{AGENTS} agents were served {served[0]} to {served[-1]} calls each")


def test_a_raised_ceiling_is_shared_out_as_well(
    daemon: Daemon, standin: StandinProcess, pool: ThreadPoolExecutor, each: int
) -> None:
    """It is raised, and raised again, while they compete."""
    agent = daemon.open(16 * each / 1e9)
    competing = compete(agent, pool)
    for calls, times in ((20, 18), (40, 20), (60, 22)):
        wait_until(lambda calls=calls: standin.bill()["requests"] >= calls)
        agent.set_budget(times * each / 1e9)
    ends = [future.result(120) for future in competing]
    for end in ends:
        check_refusal(end.last)
    settled = nanos(agent.at_rest()["settled_usd"])
    assert settled == standin.bill()["billed_nanos"] <= 22 * each
    assert 22 * each - settled < each


@pytest.mark.parametrize(
    ("verb", "reason"), [("kill", "session_killed"), ("close", "session_closed")]
)
def test_an_end_amid_them_is_the_end_for_all(
    daemon: Daemon,
    standin: StandinProcess,
    pool: ThreadPoolExecutor,
    each: int,
    verb: str,
    reason: str,
) -> None:
    agent = daemon.open(30 * each / 1e9)
    competing = compete(agent, pool)
    wait_until(lambda: standin.bill()["requests"] > AGENTS)
    agent.do(verb)
    told_at = time.monotonic()
    ends = [future.result(60) for future in competing]
    assert time.monotonic() - told_at < AT_ONCE_S
    assert Counter(end.last.denied for end in ends) == {reason: AGENTS}
    agent.at_rest()
    requests = standin.bill()["requests"]
    assert agent.post(body=CALL).denied == reason
    assert standin.bill()["requests"] == requests
    assert agent.settled >= standin.bill()["billed_nanos"]


# ---- all of them wait


@pytest.fixture
def waiting(
    daemon: Daemon, each: int, pool: ThreadPoolExecutor
) -> Iterator[tuple[Agent, list[Future[Reply]]]]:
    """A session whose money one slow call holds, and all the others that wait for it."""
    agent = daemon.open(each * 3 // 2 / 1e9)
    with agent.begin(body=chat("tokens=20 head_delay=300", **FIXED)):
        wait_until(lambda: daemon.get("/v1/status")["calls"] == 1)
        asked = [pool.submit(agent.post, body=CALL) for _ in range(AGENTS)]
        wait_until(lambda: daemon.get("/v1/status")["waiting"] == AGENTS)
        yield agent, asked
        agent.do("kill")
    agent.at_rest()


def raised(agent: Agent) -> None:
    agent.set_budget(5.0)


def resumed(agent: Agent) -> None:
    agent.do("pause")
    raised(agent)
    agent.do("resume")


@pytest.mark.parametrize("act", [raised, resumed])
def test_all_who_wait_are_served(
    waiting: tuple[Agent, list[Future[Reply]]], act: Callable[[Agent], None]
) -> None:
    agent, asked = waiting
    began = time.monotonic()
    act(agent)
    assert [future.result(30).status for future in asked] == [200] * AGENTS
    assert time.monotonic() - began < AT_ONCE_S


@pytest.mark.parametrize(
    ("verb", "reason"), [("kill", "session_killed"), ("close", "session_closed")]
)
def test_all_who_wait_are_told(
    waiting: tuple[Agent, list[Future[Reply]]], standin: StandinProcess, verb: str, reason: str
) -> None:
    agent, asked = waiting
    began = time.monotonic()
    agent.do(verb)
    assert {future.result(30).denied for future in asked} == {reason}
    assert time.monotonic() - began < AT_ONCE_S
    assert standin.bill()["requests"] == 1


def test_a_ceiling_that_no_longer_pays_tells_all_who_wait(
    waiting: tuple[Agent, list[Future[Reply]]], each: int
) -> None:
    """Lowered below what one call needs: who waits is refused at once, by numbers that add up."""
    agent, asked = waiting
    began = time.monotonic()
    agent.set_budget(each / 2 / 1e9)
    for future in asked:
        check_refusal(future.result(30))
    assert time.monotonic() - began < AT_ONCE_S
