"""With the daemon away: what is known stays known, and a part of a whole does not widen it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

import openai
import pytest
from harness import Daemon, chat, wait_until

import agentwatch
from agentwatch import (
    AgentBudgetCheckUnavailable,
    AgentBudgetExceeded,
    AgentSessionKilled,
    WatchedOpenAI,
)
from agentwatch.standin.process import StandinProcess


@pytest.fixture
def mortal(start_daemon: Any, program: pytest.MonkeyPatch) -> Daemon:
    """A daemon that this program runs beside, and that the test may end."""
    daemon: Daemon = start_daemon()
    program.setenv("AGENTWATCH_HOME", str(daemon.home))
    return daemon


def with_key(standin: StandinProcess, **terms: Any) -> WatchedOpenAI:
    """A client that could go straight."""
    return WatchedOpenAI(api_key=standin.key, base_url=standin.url, max_retries=0, **terms)


def ask(client: openai.OpenAI, directive: str = "") -> None:
    client.chat.completions.create(**chat(directive, max_tokens=50))


def test_an_older_call_s_success_wipes_out_a_refusal(
    mortal: Daemon, standin: StandinProcess
) -> None:
    client = with_key(standin, agentwatch_session_budget_usd=1.0)
    session = client.agentwatch_session
    older = threading.Thread(target=ask, args=(client, "head_delay=2"))
    older.start()
    wait_until(lambda: standin.bill()["in_flight"] == 1)
    mortal.call("PUT", f"/v1/sessions/{session.id}/budget", {"budget_usd": 0.0000001})
    with pytest.raises(AgentBudgetExceeded):
        ask(client)
    older.join()
    mortal.down()
    with pytest.raises(AgentBudgetExceeded):
        ask(client)
    assert standin.bill()["requests"] == 1
    mortal.up()
    mortal.call("PUT", f"/v1/sessions/{session.id}/budget", {"budget_usd": 1})
    ask(client)
    mortal.down()
    ask(client)
    assert standin.bill()["requests"] == 3


def test_a_refused_hold_is_forgotten(mortal: Daemon) -> None:
    spent, killed = agentwatch.session(0.001), agentwatch.session(1.0)
    killed.open()
    mortal.call("POST", f"/v1/sessions/{killed.id}/kill")
    for _ in range(2):
        with pytest.raises(AgentBudgetExceeded):
            spent.hold("openai", "gpt-4o", input_tokens=1_000_000).__enter__()
        with pytest.raises(AgentSessionKilled):
            killed.hold("openai", "gpt-4o", input_tokens=1).__enter__()
        mortal.down()


def test_a_hold_that_was_granted_leaves_a_refusal_standing(mortal: Daemon) -> None:
    session = agentwatch.session(0.001)
    with pytest.raises(AgentBudgetExceeded):
        session.hold("openai", "gpt-4o", input_tokens=1_000_000).__enter__()
    with session.hold("openai", "gpt-4o", input_tokens=1, max_output_tokens=1) as hold:
        hold.void()
    mortal.down()
    with session.hold("openai", "gpt-4o") as hold:
        assert hold.id is None
        hold.void()


def test_a_part_goes_where_its_whole_may_not(mortal: Daemon, standin: StandinProcess) -> None:
    with agentwatch.session(1.0, fail_open=False):
        closed = with_key(standin, agentwatch_session_budget_usd=0.5)
    with agentwatch.session(0.0000001) as outer:
        with pytest.raises(AgentBudgetExceeded):
            ask(with_key(standin))
        with agentwatch.session(0.5) as inner:
            spent = with_key(standin)
    mortal.down()
    with pytest.raises(AgentBudgetCheckUnavailable):
        ask(closed)
    with pytest.raises(AgentBudgetExceeded) as refused:
        ask(spent)
    assert refused.value.session_id in (outer.id, inner.id)
    assert standin.bill()["requests"] == 0


INSIDE = """
import agentwatch, os, sys
os.environ["AGENTWATCH_SOCKET"] = "/nowhere"
client = agentwatch.WatchedOpenAI(api_key="sk-own", base_url=sys.argv[1], max_retries=0)
try:
    client.models.list()
except agentwatch.AgentBudgetCheckUnavailable:
    sys.exit(7)
"""


def test_a_program_inside_of_run_fail_closed_fails_open(
    beside: Daemon, standin: StandinProcess
) -> None:
    told = beside.command(
        *("run", "--fail-closed", "--budget", "1", "--"),
        *(sys.executable, "-c", INSIDE, standin.url),
    )
    assert told.returncode == 7, told.stderr
    assert standin.bill()["requests"] == 0


def killed_outright(daemon: Daemon) -> None:
    """Supervisor and serving process, with no word to anybody."""
    serving = daemon.pid
    with open(f"/proc/{serving}/stat") as stat:
        supervisor = int(stat.read().rpartition(")")[2].split()[1])
    for pid in (supervisor, serving):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{serving}/fd/0"))


def test_a_daemon_that_was_just_heard_and_is_dead_breaks_a_call(
    start_daemon: Any, program: pytest.MonkeyPatch, standin: StandinProcess
) -> None:
    """Within the time in which its last answer proves it there."""
    daemon: Daemon = start_daemon()
    program.setenv("AGENTWATCH_HOME", str(daemon.home))
    opened, closed = (
        with_key(standin, agentwatch_enforcement_fail_open=fail_open) for fail_open in (True, False)
    )
    for client in (opened, closed):
        ask(client)
    killed_outright(daemon)
    for client in (opened, closed):
        client.agentwatch_session.door.heard()
    ask(opened)
    with pytest.raises(AgentBudgetCheckUnavailable):
        ask(closed)
    closed.agentwatch_session.door.heard()
    with pytest.raises(AgentBudgetCheckUnavailable):
        closed.agentwatch_session.hold("openai", "gpt-4o").__enter__()
    opened.agentwatch_session.door.heard()
    with opened.agentwatch_session.hold("openai", "gpt-4o") as hold:
        assert hold.id is None
        hold.void()
    assert standin.bill()["requests"] == 3
