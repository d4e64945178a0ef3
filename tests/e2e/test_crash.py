"""The daemon dies, at random under load and at each step of a call: no charge is lost.

By default it is killed over 200 times, and each death is one that its supervisor has seen.
AGENTWATCH_TEST_KILLS says how often it is killed under load, at random moments and again at the
steps of its calls (`make crash N=100`); in parts, so that both of pytest's processes have some.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crashing import Frail, Load, die, die_while_starting, serves_another, supervisor_of
from harness import CHEAP, Agent, Daemon, chat, nanos, wait_until

from agentwatch.daemon import failpoints
from agentwatch.standin.process import StandinProcess

USUAL_KILLS = 84
KILLS = int(os.environ.get("AGENTWATCH_TEST_KILLS", USUAL_KILLS))
#: of so many kills at random one is followed by another before anybody serves
TWICE_IN = 8

Start = Callable[..., Daemon]


def parts_of(kills: int) -> list[int]:
    """So many kills, in three tests."""
    return [kills // 3, kills // 3, kills - 2 * (kills // 3)]


def deaths_at_random(kills: int) -> int:
    """With those of a process that was killed before it served."""
    return kills + len(range(0, kills, TWICE_IN))


# ---- under load

#: these take their time on a machine that others use as well
in_parts = pytest.mark.parametrize("kills", parts_of(KILLS), ids=("first", "second", "third"))
patient = pytest.mark.timeout(max(120, 5 * KILLS))


@pytest.fixture(scope="module")
def frail(module_standin: StandinProcess) -> Iterator[Frail]:
    """A daemon that dies where its file says."""
    home = Path(tempfile.mkdtemp(prefix="aw-"))
    daemon = Frail(home, module_standin)
    try:
        daemon.up()
        yield daemon
    finally:
        daemon.down()
        shutil.rmtree(home, ignore_errors=True)


@patient
@in_parts
def test_killed_at_random_under_load_no_charge_is_lost(
    frail: Frail,
    standin: StandinProcess,
    kills: int,
    record_property: Callable[[str, object], None],
) -> None:
    before, gaps = frail.deaths, []
    with Load(frail, standin) as load:
        for number in range(kills):
            time.sleep(random.uniform(0.02, 0.3))
            if number % TWICE_IN == 0:
                die_while_starting(frail)
            else:
                gaps.append(die(frail))
            load.check_covered()
        load.check_after()
    deaths = frail.deaths - before
    assert deaths == deaths_at_random(kills)
    assert load.seen["served"] > kills
    told = f"p50 {statistics.median(gaps):.2f} s, most {max(gaps):.2f} s; calls {dict(load.seen)}"
    record_property("gap", told)
    print(f"\n{deaths} deaths; from the kill to the next answer: {told}")
    assert statistics.median(gaps) < 5.0


@patient
@in_parts
def test_killed_at_random_steps_under_load_no_charge_is_lost(
    frail: Frail, standin: StandinProcess, kills: int
) -> None:
    """Many calls are out, each at another step, when one of them comes to where it dies."""
    points = [failpoints.POINTS[number % len(failpoints.POINTS)] for number in range(kills)]
    random.shuffle(points)
    frail.failpoints.write_text("\n".join(f"{point}:{random.randint(1, 12)}" for point in points))
    before = frail.deaths
    with Load(frail, standin) as load:
        die(frail)
        for left in range(kills - 1, -1, -1):
            wait_until(lambda left=left: frail.deaths_left <= left, what=f"{left} deaths are left")
            load.check_covered()
        serves_another(frail, 0)
        load.check_covered()
        load.check_after()
    deaths = frail.deaths - before
    # the first has it read its file
    assert deaths == 1 + kills
    print(f"\n{deaths} deaths at the steps of calls under load; calls {dict(load.seen)}")


def test_it_is_killed_two_hundred_times_if_nobody_says_otherwise() -> None:
    """What each of these tests has counted, all told."""
    parts = parts_of(USUAL_KILLS)
    under_load = sum(deaths_at_random(kills) + 1 + kills for kills in parts)
    assert under_load + 1 + len(DEATHS) >= 200


def test_a_restart_under_load_refuses_and_breaks_nothing(
    start_daemon: Start, standin: StandinProcess
) -> None:
    daemon = start_daemon()
    with Load(daemon, standin) as load:
        with load.agents[CHEAP].sdk() as sdk:
            for _ in range(3):
                before = daemon.pid
                done = daemon.command("restart")
                assert done.returncode == 0, done.stderr
                assert daemon.pid != before
                # its connection was kept open, and closed by the daemon that went
                sdk.chat.completions.create(**chat("tokens=3"))
                load.check_covered()
        load.stop()
        for agent in load.agents.values():
            agent.at_rest(10)
        load.check_books()
    assert set(load.seen) == {"served"}, load.seen
    bill = standin.bill()["billed_nanos"]
    assert sum(agent.settled for agent in load.agents.values()) == bill


# ---- the supervisor


def test_the_supervisor_is_killed_and_the_daemon_goes_on(
    start_daemon: Start, standin: StandinProcess
) -> None:
    daemon = start_daemon()
    agent = daemon.open(1.0)
    assert agent.post(body=chat("tokens=3")).status == 200
    before = agent.settled
    serving = daemon.pid
    os.kill(supervisor_of(daemon), signal.SIGKILL)
    assert agent.post(body=chat("tokens=3")).status == 200
    assert "agentwatch restart" in daemon.command("status").stderr
    restarted = daemon.command("restart")
    assert restarted.returncode == 0, restarted.stderr
    daemon.port = daemon.get("/v1/status")["port"]
    assert daemon.pid != serving
    assert agent.settled == standin.bill()["billed_nanos"] > before
    # and there is one again that keeps it alive
    die(daemon)
    assert agent.post(body=chat("tokens=3")).status == 200


def test_both_are_killed_and_the_next_up_knows_what_was_spent(
    start_daemon: Start, standin: StandinProcess
) -> None:
    daemon = start_daemon()
    agent = daemon.open(1.0)
    assert agent.post(body=chat("tokens=3")).status == 200
    before = agent.settled
    out = agent.begin(body=chat("tokens=30 delay=10 ", stream=True, max_completion_tokens=30))
    with out:
        out.head()
        held = agent.held
        for pid in (supervisor_of(daemon), daemon.pid):
            os.kill(pid, signal.SIGKILL)
    assert held > 0
    assert "agentwatch up" in daemon.command("status").stderr
    daemon.up()
    assert agent.held == 0
    assert agent.settled == before + held
    assert agent.post(body=chat("tokens=3")).status == 200


def test_down_and_up_lose_nothing(start_daemon: Start, standin: StandinProcess) -> None:
    daemon = start_daemon()
    agent = daemon.open(1.0)
    for _ in range(3):
        assert agent.post(body=chat("tokens=3")).status == 200
        before = agent.show()
        assert daemon.down().returncode == 0
        daemon.up()
        assert agent.show() == before
    assert agent.settled == standin.bill()["billed_nanos"]


def test_a_daemon_that_was_killed_leaves_killed_sessions_killed(start_daemon: Start) -> None:
    daemon = start_daemon()
    agent, paused = daemon.open(1.0), daemon.open(1.0)
    agent.do("kill")
    paused.do("pause")
    die(daemon)
    assert agent.post(body=chat()).denied == "session_killed"
    assert paused.post(body=chat()).denied == "session_paused"


# ---- at each step of a call


#: how the hold stands, and whether the provider had been asked, where it died
BEFORE, PERHAPS, HELD, SENT = "no hold", "a hold or none", "a hold, nothing sent", "sent"
STEPS = {
    "before_hold": BEFORE,
    "after_hold": PERHAPS,
    "after_written": HELD,
    "before_send": HELD,
    "after_head": SENT,
    "chunk": SENT,
    "chunk:3": SENT,
    "after_extend": SENT,
    "before_settle": SENT,
    "after_settle": SENT,
}


def test_every_failpoint_is_died_at() -> None:
    assert {step.partition(":")[0] for step in STEPS} == set(failpoints.POINTS)


#: an answer that is not streamed comes in one piece, whatever its limit
STREAMED = {"chunk:3", "after_extend"}
DEATHS = [(step, kind) for step in STEPS for kind in (True, False) if kind or step not in STREAMED]


def test_killed_at_each_step_of_a_call(frail: Frail, standin: StandinProcess) -> None:
    before = frail.deaths
    frail.failpoints.write_text("\n".join(step for step, _ in DEATHS))
    die(frail)
    died = [_die_at(frail, step, stream, standin) for step, stream in DEATHS]
    assert frail.deaths_left == 0
    deaths = frail.deaths - before
    assert deaths == 1 + len(DEATHS)
    print(f"\n{deaths} deaths at each step of one call")
    for agent, shown in died:
        # what it was charged is still there, many deaths later, and it goes on
        assert agent.show() == shown
        assert agent.post(body=chat("tokens=20")).status == 200
        after = agent.at_rest(10)
        assert after["iterations"] == shown["iterations"] + 1
        assert after["settled_usd"] > shown["settled_usd"]
    assert frail.get("/v1/verify")["ledger"] == "ok"


def _die_at(
    daemon: Daemon, step: str, stream: bool, standin: StandinProcess
) -> tuple[Agent, dict[str, Any]]:
    """One call, of which the process dies; its session, and how it stands afterwards."""
    standin.reset()
    agent = daemon.open(1.0)
    said = "tokens=60 ignore_limit" if step == "after_extend" else "tokens=20"
    body = chat(f"{said} delay=0.01", stream=stream, max_completion_tokens=40)
    pid = daemon.pid
    answer: Any = None
    with contextlib.suppress(OSError, http.client.HTTPException):
        answer = agent.post(body=body)
    assert answer is None or answer.broken, f"it did not die {step}"
    serves_another(daemon, pid)
    shown = agent.show()
    assert shown["held_usd"] == 0
    _check(STEPS[step], nanos(shown["settled_usd"]), standin.bill())
    return agent, shown


def _check(state: str, settled: int, bill: dict[str, Any]) -> None:
    assert (bill["requests"] > 0) == (state == SENT)
    assert settled >= bill["billed_nanos"]
    if state == BEFORE:
        assert settled == 0
    if state in (HELD, SENT):
        assert settled > 0
