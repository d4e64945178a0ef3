"""Sessions that a program leaves behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time

import pytest
from harness import Daemon

from agentwatch import WatchedOpenAI

PROGRAM = """
import os, sys, agentwatch
def ask(client):
    client.embeddings.create(model="text-embedding-3-small", input="x")
    return client.agentwatch_session.id
def work():
    return ask(agentwatch.WatchedOpenAI())
"""


def ask(client: WatchedOpenAI) -> str:
    client.embeddings.create(model="text-embedding-3-small", input="x")
    return client.agentwatch_session.id


def run(daemon: Daemon, code: str, **variables: str) -> list[str]:
    """The words that a program says, which ends in its own time."""
    environ = {**daemon.environ, "OPENAI_API_KEY": "", **variables}
    program = [sys.executable, "-c", PROGRAM + code]
    done = subprocess.run(
        program, env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def states(daemon: Daemon, ids: list[str]) -> list[str]:
    return [daemon.get(f"/v1/sessions/{each}")["state"] for each in ids]


@pytest.mark.parametrize(
    ("code", "state"),
    [
        # the client has gone before the program has
        ("print(work())", "closed"),
        ("client = agentwatch.WatchedOpenAI(); print(ask(client))", "closed"),
        ("print(ask(agentwatch.WatchedOpenAI(agentwatch_project='p'))); sys.exit(0)", "closed"),
        ("print(ask(agentwatch.WatchedOpenAI(agentwatch_session_id='again')))", "active"),
        # who else goes on with it is not known
        ("client = agentwatch.WatchedOpenAI(); print(ask(client)); os.fork()", "active"),
        ("print(work(), flush=True); os._exit(0)", "active"),
    ],
)
def test_a_session_stays_when_its_program_has_ended(beside: Daemon, code: str, state: str) -> None:
    ids = run(beside, code)
    assert states(beside, ids[:1]) == [state]


def test_what_a_program_inside_leaves_is_closed_and_the_whole_is_not(beside: Daemon) -> None:
    outer = beside.open(1.0)
    inside = {"AGENTWATCH_SESSION_ID": outer.id, "AGENTWATCH_SESSION_TOKEN": outer.token}
    code = "print(ask(agentwatch.WatchedOpenAI(agentwatch_session_budget_usd=0.5)), work())"
    part, whole = run(beside, code, **inside)
    assert whole == outer.id
    assert states(beside, [outer.id, part]) == ["active", "closed"]


def test_clients_that_come_and_go_leave_a_heap(beside: Daemon) -> None:
    ids = []
    for _ in range(3):
        ids.append(ask(WatchedOpenAI()))
        gc.collect()
    assert states(beside, ids) == ["closed", "closed", "active"]


def test_a_session_that_is_opened_again_by_its_id_is_closed(beside: Daemon) -> None:
    session_id = ask(WatchedOpenAI())
    gc.collect()
    ask(WatchedOpenAI(agentwatch_session_id=session_id))
    ask(WatchedOpenAI())
    assert states(beside, [session_id]) == ["active"]


def test_a_spent_session_forgets_why_it_ended(beside: Daemon) -> None:
    (session_id,) = run(
        beside,
        """
client = agentwatch.WatchedOpenAI(agentwatch_session_budget_usd=0.000000001)
print(client.agentwatch_session.id)
try:
    ask(client)
except agentwatch.AgentBudgetExceeded:
    pass
""",
    )
    assert states(beside, [session_id]) == ["exhausted"]


def test_a_daemon_that_hangs_holds_an_exit_up(beside: Daemon) -> None:
    code = "import signal, time\nprint(work())\n"
    code += f"os.kill({beside.pid}, signal.SIGSTOP)\nprint(time.time())"
    try:
        _, stopped_at = run(beside, code)
        took_s = time.time() - float(stopped_at)
    finally:
        os.kill(beside.pid, signal.SIGCONT)
    # a quarter of a second, and what a busy machine makes of an interpreter's end
    assert took_s < 5
