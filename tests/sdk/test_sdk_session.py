"""Sessions of the SDK beside a real daemon: opened, nested, joined, seen exhausted, closed."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import openai
import pytest
from harness import Daemon, chat, nanos, wait_until

import agentwatch
from agentwatch import AgentBudgetCheckUnavailable, AgentBudgetExceeded, WatchedOpenAI
from agentwatch.errors import AgentWatchError, UsageError
from agentwatch.standin.process import StandinProcess

#: what one call of `ask` comes to at the stand-in, in USD, at most
CALL_USD = 0.0001


def ask(client: openai.OpenAI, **more: Any) -> None:
    client.chat.completions.create(**chat(max_tokens=50, **more))


def spend_all(client: openai.OpenAI) -> AgentBudgetExceeded:
    """Call until the ceiling stops it."""
    for _ in range(1000):
        try:
            ask(client)
        except AgentBudgetExceeded as error:
            return error
    raise AssertionError("nothing stopped it")


def test_the_snippet_of_the_brief(beside: Daemon, standin: StandinProcess) -> None:
    client = WatchedOpenAI(
        agentwatch_api_key="awk_any",
        agentwatch_project="checkout-service",
        agentwatch_team="payments-eng",
        agentwatch_session_id="ci-run-123",
        agentwatch_session_budget_usd=2.00,
        agentwatch_enforcement_mode=True,
    )
    # $0.30 a call
    for _ in range(3):
        client.chat.completions.create(**chat("tokens=200 density=1", model="gpt-4o"))
    shown = beside.get("/v1/sessions/ci-run-123")
    assert (shown["budget_usd"], shown["iterations"]) == (2.0, 3)
    assert (shown["project"], shown["team"]) == ("checkout-service", "payments-eng")
    assert nanos(shown["settled_usd"]) == standin.bill()["billed_nanos"]
    beside.call("PUT", "/v1/sessions/ci-run-123/budget", {"budget_usd": shown["settled_usd"]})
    with pytest.raises(AgentBudgetExceeded) as refused:
        client.chat.completions.create(**chat(model="gpt-4o"))
    assert refused.value.limit == refused.value.spent == shown["settled_usd"]
    assert standin.bill()["requests"] == 3


def test_enforcement_off_only_counts(beside: Daemon) -> None:
    client = WatchedOpenAI(
        agentwatch_session_budget_usd=0.000001, agentwatch_enforcement_mode=False
    )
    ask(client)
    shown = beside.get(f"/v1/sessions/{client.agentwatch_session.id}")
    assert (shown["mode"], shown["iterations"]) == ("observe", 1)


def test_a_monthly_budget_is_taken_and_ignored(beside: Daemon) -> None:
    client = WatchedOpenAI(agentwatch_project="m1", agentwatch_monthly_budget_usd=0.000001)
    with pytest.raises(AgentBudgetExceeded) as refused:
        ask(client)
    assert refused.value.limit == 0.000001
    assert "project:m1" in str(refused.value)
    # another program can't widen it
    with pytest.raises(AgentBudgetExceeded):
        ask(WatchedOpenAI(agentwatch_project="m1", agentwatch_monthly_budget_usd=100))


def test_twenty_threads_get_through_together(beside: Daemon, standin: StandinProcess) -> None:
    client = WatchedOpenAI(agentwatch_session_budget_usd=3 * CALL_USD, max_retries=0)
    refused: list[AgentBudgetExceeded] = []

    def call() -> None:
        refused.append(spend_all(client))

    threads = [threading.Thread(target=call) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 20
    assert 0 < standin.bill()["billed_nanos"] <= nanos(3 * CALL_USD)
    assert len(beside.get("/v1/sessions")["sessions"]) >= 1


def test_copies_and_event_loops_are_sessions_of_their_own(beside: Daemon) -> None:
    client = agentwatch.AsyncWatchedOpenAI(agentwatch_session_budget_usd=1.0)

    async def call() -> None:
        await client.with_options(timeout=50).chat.completions.create(**chat())
        await asyncio.gather(*(client.chat.completions.create(**chat()) for _ in range(3)))

    for _ in range(3):
        asyncio.run(call())
    shown = beside.get(f"/v1/sessions/{client.agentwatch_session.id}")
    assert shown["iterations"] == 12


def test_a_copy_with_an_http_client_of_its_own_is_free(
    beside: Daemon, standin: StandinProcess
) -> None:
    client = WatchedOpenAI(agentwatch_session_budget_usd=0.000001)
    other = client.with_options(http_client=openai.DefaultHttpxClient())
    with pytest.raises(AgentBudgetExceeded):
        ask(other)
    assert standin.bill()["requests"] == 0


def test_a_fork_calls_on_its_parent_s_connections(beside: Daemon) -> None:
    code = """
import os, agentwatch
client = agentwatch.WatchedOpenAI(agentwatch_session_id="forked", max_retries=0)
def ask():
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role":"user","content":"hi"}])
ask()
children = []
for _ in range(4):
    child = os.fork()
    if not child:
        ask(); ask(); os._exit(0)
    children.append(child)
ask()
assert [os.waitstatus_to_exitcode(os.waitpid(each, 0)[1]) for each in children] == [0] * 4
"""
    environ = {**beside.environ, "OPENAI_API_KEY": ""}
    subprocess.run([sys.executable, "-c", code], env=environ, check=True, timeout=60)
    assert beside.get("/v1/sessions/forked")["iterations"] == 10


# ---- parts of a session


def test_a_part_spends_on_both_accounts(beside: Daemon) -> None:
    with agentwatch.session(1.0, project="whole") as outer:
        ask(WatchedOpenAI())
        with agentwatch.session(0.5) as inner:
            ask(WatchedOpenAI())
            ask(WatchedOpenAI(agentwatch_session_budget_usd=0.25))
        whole, part = (beside.get(f"/v1/sessions/{each.id}") for each in (outer, inner))
    assert (part["parent"], part["project"]) == (outer.id, "whole")
    assert (whole["iterations"], part["iterations"]) == (3, 2)
    assert nanos(whole["settled_usd"]) > nanos(part["settled_usd"]) > 0
    assert whole["by_model"] and sum(each["calls"] for each in whole["by_model"].values()) == 3
    assert beside.get(f"/v1/sessions/{inner.id}")["state"] == "closed"


def test_parts_get_more_together_than_the_whole_has(
    beside: Daemon, standin: StandinProcess
) -> None:
    ceiling = 0.0003
    with agentwatch.session(ceiling):
        parts = [WatchedOpenAI(agentwatch_session_budget_usd=1.0) for _ in range(3)]
        limits = {spend_all(part).limit for part in parts}
    assert limits == {ceiling}
    assert standin.bill()["billed_nanos"] <= nanos(ceiling)


def test_who_kills_the_whole_leaves_its_parts_going(
    beside: Daemon, standin: StandinProcess
) -> None:
    standin.script("endless delay=0.005")
    with agentwatch.session(1.0) as outer, agentwatch.session() as inner:
        client = WatchedOpenAI()
        with pytest.raises(agentwatch.AgentSessionKilled) as killed:  # noqa: PT012
            for number, _ in enumerate(client.chat.completions.create(**chat(stream=True))):
                if number == 3:
                    beside.call("POST", f"/v1/sessions/{outer.id}/kill")
        assert killed.value.session_id == inner.id
        with pytest.raises(agentwatch.AgentSessionKilled):
            ask(client)
    assert beside.get(f"/v1/sessions/{inner.id}")["state"] == "killed"


def test_what_only_the_whole_can_say_is_dropped_without_a_word(
    beside: Daemon, program: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for said in ({"agentwatch_project": "p"}, {"agentwatch_monthly_budget_usd": 0}):
        with agentwatch.session(1.0), pytest.raises(UsageError, match="say them there"):
            WatchedOpenAI(**said)
    run = beside.open(1.0)
    program.setenv("AGENTWATCH_SESSION_ID", run.id)
    program.setenv("AGENTWATCH_SESSION_TOKEN", run.token)
    ask(WatchedOpenAI(agentwatch_project="p"))
    assert "say them there" in caplog.text


def test_a_stranger_s_session_is_taken_for_a_part(beside: Daemon) -> None:
    beside.open(1.0, session_id="stranger")
    with agentwatch.session(1.0), pytest.raises(AgentWatchError, match="no part of"):
        agentwatch.session(0.5, session_id="stranger").open()


def test_each_call_of_a_decorated_function_has_an_account_of_its_own(beside: Daemon) -> None:
    seen = []

    @agentwatch.session(budget_usd=1.0)
    def work() -> None:
        client = WatchedOpenAI()
        ask(client)
        seen.append(client.agentwatch_session.id)

    @agentwatch.session(budget_usd=1.0)
    async def work_async() -> None:
        await asyncio.to_thread(work)

    work()
    work()
    asyncio.run(work_async())
    shown = [beside.get(f"/v1/sessions/{each}") for each in seen]
    assert [each["iterations"] for each in shown] == [1, 1, 1]
    assert len(set(seen)) == 3
    assert shown[0]["parent"] is None
    assert shown[2]["parent"] is not None


# ---- inside of `agentwatch run`

INSIDE = """
import agentwatch, openai, sys
def ask(client):
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role":"user","content":"hi"}])
ask(agentwatch.WatchedOpenAI())
ask(agentwatch.WatchedOpenAI(agentwatch_session_id="sub", agentwatch_session_budget_usd=0.5))
with agentwatch.session(0.000001) as part:
    for client in (agentwatch.WatchedOpenAI(), openai.OpenAI()):
        try:
            ask(client)
        except agentwatch.AgentBudgetExceeded as error:
            assert error.session_id == part.id, error
        else:
            sys.exit("not refused")
try:
    agentwatch.session(5, session_id="stranger").open()
except agentwatch.AgentWatchError as error:
    print("refused:", error)
"""


def test_a_wrapped_program_leaves_its_session_by_the_sdk(beside: Daemon, tmp_path: Path) -> None:
    beside.open(100.0, session_id="stranger")
    report = tmp_path / "report.json"
    program = tmp_path / "agent.py"
    program.write_text(INSIDE)
    done = beside.command(
        *("run", "--budget", "1", "--report", str(report), "--", sys.executable, str(program))
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "refused:" in done.stdout
    told = __import__("json").loads(report.read_text())
    sub = beside.get("/v1/sessions/sub")
    assert told["calls"] == 2
    assert sub["parent"] == told["session_id"]
    assert told["settled_usd"] == pytest.approx(2 * sub["settled_usd"])
    assert beside.get("/v1/sessions/stranger")["iterations"] == 0


# ---- what is known goes on being known


def test_a_spent_session_goes_on_with_the_daemon_away(
    start_daemon: Any, program: pytest.MonkeyPatch, standin: StandinProcess
) -> None:
    daemon = start_daemon()
    program.setenv("AGENTWATCH_HOME", str(daemon.home))
    client = WatchedOpenAI(
        api_key=standin.key, base_url=standin.url, agentwatch_session_budget_usd=2 * CALL_USD
    )
    spend_all(client)
    made = standin.bill()["requests"]
    daemon.down()
    with pytest.raises(AgentBudgetExceeded):
        ask(client)
    assert standin.bill()["requests"] == made
    daemon.up()
    daemon.call("PUT", f"/v1/sessions/{client.agentwatch_session.id}/budget", {"budget_usd": 1})
    ask(client)
    daemon.down()
    ask(client)
    assert standin.bill()["requests"] == made + 2


def test_a_client_without_a_key_is_told_so_with_the_daemon_away(
    alone: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(AgentBudgetCheckUnavailable, match="no provider key of its own"):
        ask(WatchedOpenAI())


def test_each_call_that_goes_straight_is_warned_of(
    alone: Path, standin: StandinProcess, caplog: pytest.LogCaptureFixture
) -> None:
    client = WatchedOpenAI(api_key=standin.key, base_url=standin.url)
    with caplog.at_level(logging.WARNING, "agentwatch"):
        for _ in range(3):
            ask(client)
    assert len([each for each in caplog.records if "ungoverned" in each.message]) == 1
    assert standin.key not in caplog.text


def test_a_script_that_was_killed_in_mid_call_leaves_no_charge(
    start_daemon: Any, standin: StandinProcess, program: pytest.MonkeyPatch
) -> None:
    daemon = start_daemon()
    daemon.down()
    code = f"""
import agentwatch, os
client = agentwatch.WatchedOpenAI(agentwatch_session_id="cut", api_key={standin.key!r},
    base_url={standin.url!r}, agentwatch_session_budget_usd=1)
text = "hi [[standin: endless delay=0.01]]"
messages = [{{"role": "user", "content": text}}]
for number, _ in enumerate(client.chat.completions.create(
        model="gpt-4o-mini", messages=messages, stream=True, max_tokens=500)):
    if number == 5:
        os.kill(os.getpid(), 9)
"""
    environ = {**daemon.environ, "OPENAI_API_KEY": ""}
    subprocess.run([sys.executable, "-c", code], env=environ, check=False, timeout=60)
    assert len(list((daemon.home / "spool").iterdir())) == 1
    wait_until(lambda: standin.bill()["in_flight"] == 0)
    for _ in range(2):
        daemon.up()
        shown = daemon.get("/v1/sessions/cut")
        assert nanos(shown["settled_usd"]) >= standin.bill()["billed_nanos"] > 0
        assert (shown["iterations"], shown["fail_open"]) == (1, {"daemon_away": 1})
        daemon.down()
