"""A crowd whose calls are not alike, on two sessions of one project with small ceilings: some ask
for no limit or for 32,000 tokens, so that one is put in, and some streams go past the limit that
they were sent. The provider's bill is the judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from harness import Agent, Daemon, Reply, chat, nanos, wait_until

from agentwatch.standin.process import StandinProcess

OF_EACH = 6
#: USD; a call costs 0.005 to 0.012, and what it asks for up to 0.26
SESSION, PROJECT = 0.1, 0.15
TOKEN = 8_000  # nanos, of gpt-4.1's output
#: what a stream that is cut may have on its way
ON_ITS_WAY = 50 * TOKEN
#: no wait is longer than this
LONGEST_S = 60.0


def no_limit() -> dict[str, Any]:
    return chat("tokens=1500 head_delay=0.05", model="gpt-4.1")


def large_limit() -> dict[str, Any]:
    return chat("tokens=1200 delay=0.0005", model="gpt-4.1", max_tokens=32_000, stream=True)


def past_its_limit() -> dict[str, Any]:
    said = "tokens=600 ignore_limit delay=0.001"
    return chat(said, model="gpt-4.1", max_tokens=50, stream=True)


KINDS: tuple[Callable[[], dict[str, Any]], ...] = (no_limit, large_limit, past_its_limit)


@pytest.fixture
def agents(daemon: Daemon) -> list[Agent]:
    """Two sessions that have more together than their project."""
    daemon.call("PUT", "/v1/budgets/project:crowd", {"monthly_usd": PROJECT})
    return [daemon.open(SESSION, project="crowd") for _ in range(2)]


def how(reply: Reply) -> str:
    """served, cut or refused; anything else is shown as it is."""
    if reply.status == 200 and not reply.broken:
        return "cut" if b"agent_budget_exceeded" in reply.body else "served"
    told = f"{reply.status} {reply.denied} broken={reply.broken}"
    return "refused" if reply.denied == "agent_budget_exceeded" else told


def test_a_mixed_crowd_passes_its_ceilings_untold(
    daemon: Daemon, standin: StandinProcess, agents: list[Agent]
) -> None:
    calls = [(agent, kind) for _ in range(OF_EACH) for kind in KINDS for agent in agents]
    with ThreadPoolExecutor(len(calls)) as pool:
        asked = [pool.submit(agent.post, body=kind()) for agent, kind in calls]
        replies = [future.result(LONGEST_S) for future in asked]
    ends = Counter(how(reply) for reply in replies)
    assert set(ends) <= {"served", "cut", "refused"}, ends
    assert ends["served"] and ends["refused"]
    assert any(reply.headers["x-agentwatch-clamped"] for reply in replies), "no limit was put in"
    shown = [agent.at_rest() for agent in agents]
    wait_until(lambda: standin.bill()["in_flight"] == 0, what="the upstream's calls ended")
    settled = sum(nanos(session["settled_usd"]) for session in shown)
    assert settled >= standin.bill()["billed_nanos"] - ends["cut"] * ON_ITS_WAY
    for session in shown:
        check_ceiling(session, SESSION)
    budget = next(row for row in daemon.get("/v1/budgets")["budgets"] if "crowd" in row["name"])
    check_ceiling(budget, PROJECT)
    assert nanos(budget["settled_usd"]) == settled
    print(f"\n{dict(ends)}; overdraft {[row['overdraft_usd'] for row in [*shown, budget]]}")


def check_ceiling(account: dict[str, Any], ceiling: float) -> None:
    """It is passed by nothing but what is told as overdraft, and holds nothing."""
    told = nanos(account["overdraft_usd"])
    assert nanos(account["settled_usd"]) <= nanos(ceiling) + told
    assert account["held_usd"] == 0
