"""A program under `agentwatch run` whose clients have budgets of their own: parts of the run's
session. What stops a part for want of the whole's money concerns the whole, and so does what a part
does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from harness import Daemon, chat, wait_until

import agentwatch
from agentwatch import AgentBudgetExceeded, WatchedOpenAI
from agentwatch.standin.process import StandinProcess

BEGINNING = """
import os, sys
import agentwatch, openai
RUN = os.environ["AGENTWATCH_SESSION_ID"]
def part():
    return agentwatch.WatchedOpenAI(agentwatch_session_budget_usd=5, max_retries=0)
def ask(client, said="hi"):
    client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": said}], max_tokens=50
    )
"""

UNTIL_REFUSED = """
client = part()
try:
    for _ in range(1000):
        ask(client)
except agentwatch.AgentBudgetExceeded as error:
    assert error.session_id == RUN, error.session_id
    assert error.limit == float(sys.argv[1]) >= error.spent, (error.spent, error.limit)
    assert f"the budget of session {RUN} does not allow" in str(error), error
    assert f"agentwatch sessions budget {RUN} USD" in str(error), error
else:
    sys.exit("not refused")
"""

FOR_EVER = """
client = part()
while True:
    try:
        ask(client)
    except agentwatch.AgentBudgetExceeded:
        pass
"""

ITS_OWN = """
try:
    ask(agentwatch.WatchedOpenAI(agentwatch_session_budget_usd=0.0000001))
except agentwatch.AgentBudgetExceeded as error:
    assert error.session_id != RUN and error.limit == 0.0000001, error
"""

GROWS = """
client, size = part(), 1000
try:
    for _ in range(8):
        ask(client, "four" * size)
        size *= 2
except (agentwatch.AgentSessionKilled, openai.APIStatusError) as error:
    print(error, flush=True)
    try:
        ask(part())  # another part is none the better
    except (agentwatch.AgentSessionKilled, openai.APIStatusError) as error:
        print(error, flush=True)
"""


class Ran:
    """What came of a run, and its report."""

    def __init__(
        self, daemon: Daemon, folder: Path, *options: str, code: str, told: str = ""
    ) -> None:
        self.daemon = daemon
        program, report = folder / "agent.py", folder / "report.json"
        program.write_text(BEGINNING + code)
        self.done: subprocess.CompletedProcess[str] = daemon.command(
            *("run", *options, "--report", str(report), "--"),
            *(sys.executable, str(program), told),
        )
        self.said = self.done.stdout + self.done.stderr
        assert report.exists(), self.said
        self.report: dict[str, Any] = json.loads(report.read_text())

    @property
    def parts(self) -> list[dict[str, Any]]:
        rows = self.daemon.get("/v1/sessions")["sessions"]
        return [each for each in rows if each["parent"] == self.report["session_id"]]


@pytest.mark.parametrize("budget", ["0.0003", "0.0000001"])
def test_a_run_takes_its_part_s_refusal_for_none_of_its_own(
    daemon: Daemon, tmp_path: Path, budget: str
) -> None:
    ran = Ran(daemon, tmp_path, "--budget", budget, "--ci", code=UNTIL_REFUSED, told=budget)
    assert ran.done.returncode == 124, ran.said
    assert (ran.report["state"], ran.report["refusals"]) == ("exhausted", 1)
    assert "1 refused" in ran.done.stderr
    assert "nothing was governed" not in ran.done.stderr
    # whom nobody closed: the program ended in the midst of it
    assert [each["state"] for each in ran.parts] == ["closed"]
    junit = daemon.command("report", ran.report["session_id"], "--format", "junit").stdout
    assert 'failures="1"' in junit


def test_a_part_that_is_refused_goes_on_though_the_run_is_to_be_ended(
    daemon: Daemon, tmp_path: Path
) -> None:
    ran = Ran(daemon, tmp_path, "--budget", "0.0003", "--on-exceeded", "kill", code=FOR_EVER)
    assert ran.done.returncode == 124, ran.said
    assert "the budget is exceeded: its command was ended" in ran.done.stderr


def test_a_part_s_own_ceiling_is_the_run_s(daemon: Daemon, tmp_path: Path) -> None:
    """It is counted, as the call was the run's; but the run's budget is not exceeded."""
    options = ("--budget", "1", "--ci", "--on-exceeded", "kill")
    ran = Ran(daemon, tmp_path, *options, code=ITS_OWN)
    assert ran.done.returncode == 0, ran.said
    assert ran.report["refusals"] == 1
    assert "nothing was governed" not in ran.done.stderr


def test_a_runaway_part_is_killed_and_the_run_goes_on(daemon: Daemon, tmp_path: Path) -> None:
    ran = Ran(daemon, tmp_path, "--budget", "1", "--on-anomaly", "kill", code=GROWS)
    assert ran.done.returncode == 124, ran.said
    assert ran.report["state"] == "killed"
    (alert,) = ran.report["alerts"]
    assert (alert["kind"], alert["action"]) == ("prompt_growth", "kill")
    assert f"its part {alert['session_id']} was killed for prompt_growth" in ran.done.stderr
    assert "1 alert (prompt_growth)" in ran.done.stderr
    # one that it opens before its end comes is no exception
    assert {each["state"] for each in ran.parts} == {"killed"}


def test_a_runaway_part_is_paused_and_another_goes_on(daemon: Daemon, tmp_path: Path) -> None:
    ran = Ran(daemon, tmp_path, "--budget", "1", "--on-anomaly", "pause", code=GROWS)
    assert ran.done.returncode == 0, ran.said
    run = ran.report["session_id"]
    # both are told whose pause it is, what for, and how it is ended
    assert ran.done.stdout.count(f"session {run} was paused (") == 2, ran.said
    assert ran.done.stdout.count(f"agentwatch sessions resume {run}") == 2
    assert ran.done.stdout.count("prompts grow by more than 1.4") == 2
    assert ran.report["refusals"] == 2
    assert "2 refused" in ran.done.stderr and "was paused for prompt_growth" in ran.done.stderr


def test_what_a_person_resumes_is_paused_for_what_was_before(beside: Daemon) -> None:
    whole = beside.open(5.0, on_anomaly="pause")
    part = beside.open(5.0, parent=whole.id)

    def grow() -> list[str | None]:
        sizes = (1_000, 2_000, 4_000, 8_000)
        said = ({"role": "user", "content": "four" * size} for size in sizes)
        return [part.post(body=chat(max_tokens=5) | {"messages": [each]}).denied for each in said]

    assert grow() == [None] * 4
    assert (whole.show()["state"], part.show()["state"]) == ("paused", "active")
    assert part.post(body=chat()).denied == "session_paused"
    whole.do("resume")
    # a growth that is all new is told, and stopped, again
    assert grow() == [None] * 4
    assert whole.show()["state"] == "paused"
    ended = [each["ended_at"] is not None for each in whole.show()["alerts"]]
    assert ended == [True, False]


# ---- money that the whole has not


def test_a_hold_of_a_part_is_refused_in_nobody_s_name(beside: Daemon) -> None:
    with agentwatch.session(0.0001) as outer, agentwatch.session(5.0) as inner:
        with pytest.raises(AgentBudgetExceeded) as refused:
            inner.hold("openai", "gpt-4o", input_tokens=1000, max_output_tokens=1000).__enter__()
        assert (refused.value.session_id, refused.value.limit) == (outer.id, 0.0001)
        assert f"agentwatch sessions budget {outer.id} USD" in str(refused.value)
        shown = beside.get(f"/v1/sessions/{outer.id}")
        assert (shown["state"], shown["refusals"]) == ("exhausted", 1)
        told = beside.get(f"/v1/sessions/{outer.id}/events")["events"]
        assert [each["session_id"] for each in told if each["kind"] == "refusal"] == [inner.id]


def test_a_stream_that_the_whole_can_not_pay_ends_in_its_part_s_name(
    beside: Daemon, standin: StandinProcess
) -> None:
    standin.script("endless ignore_limit delay=0.001")
    with agentwatch.session(0.006) as outer, agentwatch.session(5.0):
        client = WatchedOpenAI()
        with pytest.raises(AgentBudgetExceeded) as ended:
            for _ in client.chat.completions.create(**chat(model="gpt-4o", stream=True)):
                pass
        assert (ended.value.session_id, ended.value.limit) == (outer.id, 0.006)
        shown = beside.get(f"/v1/sessions/{outer.id}")
        assert ended.value.spent == shown["settled_usd"] >= 0.0059
        assert f"agentwatch sessions budget {outer.id} USD" in str(ended.value)
    wait_until(lambda: standin.bill()["in_flight"] == 0, what="the upstream's stream ended")
