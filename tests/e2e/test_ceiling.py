"""The ceiling under many calls at once; calls that wait; streams that outrun their hold."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import openai
import pytest
from harness import Agent, Daemon, Reply, chat, hold_of, nanos, wait_until

from agentwatch.standin.process import StandinProcess

#: a call that has one price only (no other tier can be reached): where it makes all that it asks
#: for, it costs its hold, but for the bound of its input
FIXED: dict[str, Any] = {"model": "gpt-4", "max_tokens": 1_000}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as pool:
        yield pool


def money_for(count: int, daemon: Daemon, body: dict[str, Any]) -> int:
    """Nanos that pay for so many of these calls, and for no part of one more."""
    one = daemon.open(None)
    one.post(body=body)
    return hold_of(daemon, body) + (count - 1) * one.settled


def waiting(daemon: Daemon, count: int) -> None:
    wait_until(lambda: daemon.get("/v1/status")["waiting"] == count, what=f"{count} waiting")


def out(daemon: Daemon, count: int) -> None:
    wait_until(lambda: daemon.get("/v1/status")["calls"] == count, what=f"{count} out")


def usd(amount: int) -> float:
    return amount / 1e9


# ---- many at once

#: asks often from threads of its own process; says how each ended
SWARM = """
import sys, concurrent.futures, openai
url, key, count, text = sys.argv[1:]
sdk = openai.OpenAI(base_url=url, api_key=key, timeout=120)
def ask(_):
    try:
        sdk.chat.completions.create(model="gpt-4", max_tokens=1000,
                                    messages=[{"role": "user", "content": text}])
        return "served"
    except openai.APIStatusError as error:
        return str(error.status_code)
with concurrent.futures.ThreadPoolExecutor(50) as pool:
    print(*pool.map(ask, range(int(count))))
"""


def test_200_at_once_on_money_for_ten(daemon: Daemon, standin: StandinProcess) -> None:
    """40 calls at once on a $0.05 session: all 40 admitted, $0.50 spent (litellm#34732)."""
    body = chat("tokens=1000 head_delay=0.3", **FIXED)
    text = body["messages"][0]["content"]
    ceiling = money_for(10, daemon, body)
    standin.reset()
    agent = daemon.open(usd(ceiling))
    command = [sys.executable, "-c", SWARM, agent.base_url, agent.token, "50", text]
    swarm = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    ends = [end for process in swarm for end in process.communicate(timeout=90)[0].split()]
    bill = standin.bill()
    assert (ends.count("served"), ends.count("400")) == (10, 190)
    assert bill["requests"] == 10
    assert 0 < bill["billed_nanos"] <= ceiling
    assert nanos(agent.at_rest()["settled_usd"]) == bill["billed_nanos"]


def test_40_at_once_on_a_tiny_session(
    daemon: Daemon, standin: StandinProcess, pool: ThreadPoolExecutor
) -> None:
    agent = daemon.open(0.003)
    body = chat("tokens=40 head_delay=0.05", model="gpt-4o", max_tokens=40)
    ends = list(pool.map(lambda _: agent.post(body=body), range(40)))
    served = [reply for reply in ends if reply.status == 200]
    assert {reply.status for reply in ends} == {200, 400}
    assert all(reply.denied == "agent_budget_exceeded" for reply in ends if reply.status == 400)
    bill = standin.bill()
    assert bill["requests"] == len(served) > 0
    assert nanos(agent.at_rest()["settled_usd"]) == bill["billed_nanos"] <= 3_000_000


def test_holds_that_come_to_little_refuse_nobody(
    daemon: Daemon, standin: StandinProcess, pool: ThreadPoolExecutor
) -> None:
    """Worst-case holds pin a budget though next to nothing is spent (litellm#38647): 60 calls
    that ask for all there is, on a session that could hold two of them, are all served."""
    body = chat("tokens=5", model="gpt-4o", max_tokens=16_000)
    agent = daemon.open(0.4)
    ends = list(pool.map(lambda _: agent.post(body=body).status, range(60)))
    assert ends == [200] * 60
    assert nanos(agent.at_rest()["settled_usd"]) == standin.bill()["billed_nanos"]


# ---- waiting


@pytest.fixture
def busy(
    daemon: Daemon, standin: StandinProcess, pool: ThreadPoolExecutor
) -> Iterator[tuple[Agent, Callable[..., Future[Reply]]]]:
    """A session whose money is held by one call, and a way to ask for more of it."""
    body = chat("tokens=10", **FIXED)
    each = hold_of(daemon, body)
    agent = daemon.open(usd(each * 3 // 2))
    first = agent.begin(body=chat("tokens=10 head_delay=300", **FIXED))
    out(daemon, 1)
    try:
        yield agent, lambda: pool.submit(agent.post, body=body)
    finally:
        first.hang_up()
        agent.do("kill")
        agent.at_rest()


Busy = tuple[Agent, Callable[[], "Future[Reply]"]]


def test_a_raised_ceiling_is_not_noticed_by_who_waits(daemon: Daemon, busy: Busy) -> None:
    """LifeOS#1176."""
    agent, ask = busy
    asked = ask()
    waiting(daemon, 1)
    assert agent.show()["state"] == "active"
    agent.set_budget(1.0)
    began = time.monotonic()
    assert asked.result(20).status == 200
    assert time.monotonic() - began < 5


def test_a_resume_is_not_noticed_by_who_waits(daemon: Daemon, busy: Busy) -> None:
    agent, ask = busy
    asked = ask()
    waiting(daemon, 1)
    agent.do("pause")
    agent.set_budget(1.0)
    assert daemon.get("/v1/status")["waiting"] == 1
    late = ask().result(20)
    assert (late.status, late.denied) == (400, "session_paused")
    assert not asked.done()
    agent.do("resume")
    assert asked.result(20).status == 200


@pytest.mark.parametrize(("verb", "reason"), [("kill", "killed"), ("close", "closed")])
def test_who_waits_is_told_when_the_session_ends(
    daemon: Daemon, busy: Busy, verb: str, reason: str
) -> None:
    agent, ask = busy
    asked = [ask() for _ in range(3)]
    waiting(daemon, 3)
    agent.do(verb)
    for each in asked:
        assert each.result(20).denied == f"session_{reason}"


def test_who_hangs_up_while_waiting_leaves_a_trace(
    daemon: Daemon, standin: StandinProcess, busy: Busy
) -> None:
    agent, _ = busy
    held = agent.held
    for rst in (False, True):
        sent = agent.begin(body=chat("tokens=10", **FIXED))
        waiting(daemon, 1)
        sent.hang_up(rst=rst)
        waiting(daemon, 0)
    shown = agent.show()
    assert nanos(shown["held_usd"]) == held
    assert (shown["iterations"], shown["refusals"], standin.bill()["requests"]) == (1, 0, 1)


def test_a_later_small_call_starves_an_earlier_big_one(
    start_daemon: Callable[..., Daemon], standin: StandinProcess, pool: ThreadPoolExecutor
) -> None:
    daemon = start_daemon()
    small = chat("tokens=5 head_delay=0.5", model="gpt-4", max_tokens=400)
    big = chat("tokens=7", model="gpt-4", max_tokens=1_700)
    # room for four small ones and for half of the big one
    agent = daemon.open(usd(4 * hold_of(daemon, small) + hold_of(daemon, big) // 2))
    first = [pool.submit(agent.post, body=small) for _ in range(4)]
    out(daemon, 4)
    asked = pool.submit(agent.post, body=big)
    waiting(daemon, 1)
    after = [pool.submit(agent.post, body=small) for _ in range(6)]
    assert all(each.result(30).status == 200 for each in [*first, asked, *after])
    assert asked.result().headers["x-agentwatch-iteration"] == "5"


def test_a_wait_has_no_end(
    start_daemon: Callable[..., Daemon], standin: StandinProcess, pool: ThreadPoolExecutor
) -> None:
    daemon = start_daemon(enforcement_hold_wait_s="1")
    each = hold_of(daemon, chat("tokens=10", **FIXED))
    agent = daemon.open(usd(each * 3 // 2))
    with agent.begin(body=chat("tokens=10 head_delay=300", **FIXED)):
        out(daemon, 1)
        began = time.monotonic()
        ended = list(pool.map(lambda _: agent.post(body=chat("tokens=2", **FIXED)), range(20)))
        took = time.monotonic() - began
        # what is left pays for 256 tokens and more: it is put in when the wait has ended
        limits = [
            int(reply.headers["x-agentwatch-clamped"]) for reply in ended if reply.status == 200
        ]
        refused = [reply for reply in ended if reply.status == 400]
        assert len(limits) >= 1 and min(limits) >= 256
        assert len(limits) + len(refused) == 20
        assert 0.9 < took < 20


# ---- a stream that goes on past its hold


def stream_to_its_end(sdk: openai.OpenAI, api: str, text: str, model: str) -> Iterator[Any]:
    if api == "chat":
        messages: Any = [{"role": "user", "content": text}]
        yield from sdk.chat.completions.create(model=model, messages=messages, stream=True)
    else:
        yield from sdk.responses.create(model=model, input=text, stream=True)


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_stream_that_heeds_no_limit_ends_as_if_complete(
    daemon: Daemon, standin: StandinProcess, api: str
) -> None:
    """It is extended while there is money, and ended with an error that the SDK raises on."""
    agent = daemon.open(0.006)
    text = "hello [[standin: endless ignore_limit delay=0.001]]"
    seen: list[Any] = []
    with agent.sdk(max_retries=0) as sdk, pytest.raises(openai.APIError) as raised:
        seen.extend(stream_to_its_end(sdk, api, text, "gpt-4o"))
    error = raised.value
    assert error.code == "agent_budget_exceeded"
    assert f"agentwatch sessions budget {agent.id}" in error.message
    settled = nanos(agent.at_rest()["settled_usd"])
    wait_until(lambda: standin.bill()["in_flight"] == 0, what="the upstream's stream ended")
    billed = standin.bill()["billed_nanos"]
    assert settled >= 5_900_000
    # what was on its way when the money ended: a few tokens at $10 a million
    assert billed <= 6_000_000 + 50 * 10_000
    assert settled >= billed - 50 * 10_000


def test_a_stream_past_its_hold_is_cut_though_there_is_money(
    daemon: Daemon, standin: StandinProcess
) -> None:
    agent = daemon.open(5.0)
    body = chat("tokens=3000 ignore_limit", model="gpt-4o", max_tokens=50, stream=True)
    reply = agent.post(body=body)
    assert reply.status == 200 and b"[DONE]" in reply.body
    assert nanos(agent.at_rest()["settled_usd"]) == standin.bill()["billed_nanos"]
    assert agent.show()["overdraft_usd"] == 0


def test_a_fast_stream_past_the_ceiling_is_charged_what_was_seen(
    daemon: Daemon, standin: StandinProcess
) -> None:
    """It may come in one piece, far beyond the ceiling, before it can be ended."""
    agent = daemon.open(0.004)
    body = chat("tokens=2000 ignore_limit", model="gpt-4o", max_tokens=50, stream=True)
    reply = agent.post(body=body)
    assert b"agent_budget_exceeded" in reply.body
    shown = agent.at_rest()
    seen = reply.body.count(b'"content":"') - 1
    assert nanos(shown["settled_usd"]) >= seen * 10_000
    assert shown["state"] in ("active", "exhausted")
    assert agent.post(body=chat("tokens=900", model="gpt-4o")).denied == "agent_budget_exceeded"


# ---- budgets above the session


def test_a_projects_month_binds_all_its_sessions(
    daemon: Daemon, standin: StandinProcess, pool: ThreadPoolExecutor
) -> None:
    for kind in ("project", "team"):
        name = f"{kind}:all-{kind}"
        body = chat("tokens=1000 head_delay=0.1", **FIXED)
        ceiling = money_for(3, daemon, body)
        standin.reset()
        daemon.call("PUT", f"/v1/budgets/{name}", {"monthly_usd": usd(ceiling)})
        agents = [daemon.open(1.0, **{kind: f"all-{kind}"}) for _ in range(8)]
        ends = list(pool.map(lambda agent: agent.post(body=body), agents))  # noqa: B023
        assert sorted(reply.status for reply in ends) == [200] * 3 + [400] * 5
        told = next(reply for reply in ends if reply.status == 400).json["error"]["message"]
        assert name in told and f"agentwatch budgets set {name} --monthly USD" in told
        billed = standin.bill()["billed_nanos"]
        assert sum(agent.settled for agent in agents) == billed <= ceiling
        daemon.call("PUT", f"/v1/budgets/{name}", {"monthly_usd": None})
        assert agents[0].post(body=body).status == 200


# ---- modes


def test_observe_refuses(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(0.0001, mode="observe")
    for _ in range(3):
        assert agent.post(body=chat("tokens=500", model="gpt-4o")).status == 200
    assert nanos(agent.at_rest()["settled_usd"]) == standin.bill()["billed_nanos"] > 100_000


def test_soft_lets_through_what_is_over(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(0.004, mode="soft")
    body = chat("tokens=500", model="gpt-4o")
    assert agent.post(body=body).status == 200  # 0.005
    agent.at_rest()
    reply = agent.post(body=body)
    assert (reply.status, reply.denied) == (400, "agent_budget_exceeded")
    assert nanos(agent.at_rest()["settled_usd"]) == standin.bill()["billed_nanos"]


def test_no_ceiling_only_counts(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(None)
    reply = agent.post(body=chat("tokens=500", model="gpt-4o"))
    assert reply.status == 200 and reply.headers["x-agentwatch-remaining-usd"] is None
    assert nanos(agent.at_rest()["settled_usd"]) == standin.bill()["billed_nanos"]


def test_threads_of_one_client_share_connections(daemon: Daemon, standin: StandinProcess) -> None:
    """Keep-alive connections carry one call after the other without mixing them up."""
    agent = daemon.open(5.0)
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            for turn in range(5):
                said = f"{number}-{turn}"
                answer = sdk.chat.completions.create(**chat(f"say={said}"))
                assert answer.choices[0].message.content == said
        except Exception as error:
            failures.append(error)

    with agent.sdk() as sdk:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert failures == []
    assert nanos(agent.at_rest()["settled_usd"]) == standin.bill()["billed_nanos"]
    assert agent.show()["iterations"] == 40
