"""The daemon dies, at random under load and at each step of a call: no charge is lost.

Each session calls a model of its own, so that the stand-in's bill can be told apart by session.
AGENTWATCH_TEST_KILLS says how often it is killed under load, at random moments and again at the
steps of its calls (default 24 each; `make crash N=100`).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import CHEAP, Agent, Daemon, chat, environment, nanos, wait_until

from agentwatch.daemon import failpoints
from agentwatch.standin.process import StandinProcess

KILLS = int(os.environ.get("AGENTWATCH_TEST_KILLS", "24"))
MODELS = ("gpt-4o-mini", "gpt-4.1-nano", "gpt-4.1-mini", "gpt-4o")
LOAD = Path(__file__).with_name("crash_load.py")
#: what a client may see when the daemon is killed
BROKEN = {"served", "broken", "cut"}

Start = Callable[..., Daemon]


class Load:
    """Sessions, each with a model of its own and a process that calls on its money."""

    def __init__(self, daemon: Daemon, threads: int = 3) -> None:
        self.agents = {model: daemon.open(1000.0) for model in MODELS}
        self.seen = Counter[str]()
        self._least = dict.fromkeys(MODELS, 0)
        self._processes = [
            subprocess.Popen(
                [sys.executable, str(LOAD), str(daemon.port), agent.token, model, str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for model, agent in self.agents.items()
        ]

    def stop(self) -> None:
        """End it, and add up what the clients saw."""
        for process in self._processes:
            said, _ = process.communicate("", timeout=90)
            self.seen.update(json.loads(said))
        self._processes.clear()

    def check_running(self) -> None:
        """No session begins again: what it has settled never falls."""
        for model, agent in self.agents.items():
            settled = agent.settled
            assert settled >= self._least[model], f"{agent.id} lost charges"
            self._least[model] = settled

    def check_books(self, standin: StandinProcess) -> None:
        """Every session has settled at least what the provider billed for it."""
        billed = Counter[str]()
        for row in standin.bill()["by_request"]:
            billed[row["model"]] += row["nanos"]
        for model, agent in self.agents.items():
            shown = agent.show()
            assert shown["held_usd"] == 0
            assert nanos(shown["settled_usd"]) >= billed[model] > 0

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


def check_after(daemon: Daemon, load: Load, standin: StandinProcess) -> None:
    """The load is over: the books are right, what clients saw is what a kill may do, and all of
    it goes on."""
    load.stop()
    for agent in load.agents.values():
        agent.at_rest(10)
    load.check_books(standin)
    for agent in load.agents.values():
        assert agent.post(body=chat("tokens=3")).status == 200
    assert daemon.get("/v1/verify")["ledger"] == "ok"
    assert set(load.seen) <= BROKEN, load.seen
    assert load.seen["served"] > KILLS


def child_of(supervisor: int) -> int | None:
    """The process that a supervisor has started, be it ready or not."""
    with contextlib.suppress(OSError):
        found = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        return int(found[0]) if found else None
    return None


def supervisor_of(daemon: Daemon) -> int:
    told = json.loads((daemon.home / "daemon.json").read_text())
    return int(told["supervisor"]["pid"])


def serves_another(daemon: Daemon, pid: int) -> int:
    """The pid of the process that serves after the one that had `pid`."""

    def look() -> int | None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            now = daemon.pid
            return now if now != pid else None
        return None

    found = wait_until(look, what="nobody serves")
    assert found is not None
    return found


def die(daemon: Daemon) -> float:
    """Kill the process that serves; seconds until another answers."""
    pid = daemon.pid
    killed_at = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    serves_another(daemon, pid)
    return time.monotonic() - killed_at


def die_while_starting(daemon: Daemon) -> None:
    """Kill the process that serves, and the next one before it does."""
    supervisor, pid = supervisor_of(daemon), daemon.pid
    os.kill(pid, signal.SIGKILL)

    def another() -> int | None:
        found = child_of(supervisor)
        return found if found not in (None, pid) else None

    second = wait_until(another)
    assert second is not None
    time.sleep(random.uniform(0, 0.4))
    os.kill(second, signal.SIGKILL)
    serves_another(daemon, second)


# ---- under load


@pytest.fixture(scope="module")
def frail(module_standin: StandinProcess) -> Iterator[tuple[Daemon, Path]]:
    """A daemon that dies where its file says."""
    home = Path(tempfile.mkdtemp(prefix="aw-"))
    file = home / "failpoint"
    environ = {**environment(home, module_standin), failpoints.VARIABLE: str(file)}
    daemon = Daemon(home, environ)
    try:
        daemon.up()
        yield daemon, file
    finally:
        daemon.down()
        shutil.rmtree(home, ignore_errors=True)


def test_killed_at_random_under_load_no_charge_is_lost(
    start_daemon: Start, standin: StandinProcess, record_property: Callable[[str, object], None]
) -> None:
    daemon = start_daemon()
    gaps = []
    with Load(daemon) as load:
        for number in range(KILLS):
            time.sleep(random.uniform(0.05, 0.4))
            if number % 8 == 5:
                die_while_starting(daemon)
            else:
                gaps.append(die(daemon))
            load.check_running()
        check_after(daemon, load, standin)
    told = f"p50 {statistics.median(gaps):.2f} s, most {max(gaps):.2f} s; calls {dict(load.seen)}"
    record_property("gap", told)
    print(f"\n{KILLS} kills; from the kill to the next answer: {told}")
    assert statistics.median(gaps) < 5.0


def test_killed_at_random_steps_under_load_no_charge_is_lost(
    frail: tuple[Daemon, Path], standin: StandinProcess
) -> None:
    """Many calls are out, each at another step, when one of them comes to where it dies."""
    daemon, file = frail
    points = [failpoints.POINTS[number % len(failpoints.POINTS)] for number in range(KILLS)]
    random.shuffle(points)
    file.write_text("\n".join(f"{point}:{random.randint(1, 12)}" for point in points))
    with Load(daemon) as load:
        os.kill(daemon.pid, signal.SIGKILL)
        for left in range(KILLS - 1, -1, -1):
            wait_until(lambda left=left: lines_of(file) <= left, what=f"{left} deaths are left")
        serves_another(daemon, 0)
        load.check_running()
        check_after(daemon, load, standin)
    print(f"\n{KILLS} deaths at the steps of calls under load; calls {dict(load.seen)}")


def lines_of(file: Path) -> int:
    """Deaths that are still to be died."""
    try:
        return len(file.read_text().split())
    except FileNotFoundError:
        return 0


def test_a_restart_under_load_refuses_and_breaks_nothing(
    start_daemon: Start, standin: StandinProcess
) -> None:
    daemon = start_daemon()
    with Load(daemon) as load:
        with load.agents[CHEAP].sdk() as sdk:
            for _ in range(3):
                before = daemon.pid
                done = daemon.command("restart")
                assert done.returncode == 0, done.stderr
                assert daemon.pid != before
                # its connection was kept open, and closed by the daemon that went
                sdk.chat.completions.create(**chat("tokens=3"))
                load.check_running()
        load.stop()
        for agent in load.agents.values():
            agent.at_rest(10)
        load.check_books(standin)
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
    "before_settle": SENT,
    "after_settle": SENT,
}


def test_every_failpoint_is_died_at() -> None:
    assert {step.partition(":")[0] for step in STEPS} == set(failpoints.POINTS)


def test_killed_at_each_step_of_a_call(frail: tuple[Daemon, Path], standin: StandinProcess) -> None:
    daemon, file = frail
    # an answer that is not streamed comes in one piece
    deaths = [(step, kind) for step in STEPS for kind in (True, False) if kind or step != "chunk:3"]
    file.write_text("\n".join(step for step, _ in deaths))
    die(daemon)
    died = [_die_at(daemon, step, stream, standin) for step, stream in deaths]
    assert not file.exists()
    for agent, shown in died:
        # what it was charged is still there, many deaths later, and it goes on
        assert agent.show() == shown
        assert agent.post(body=chat("tokens=20")).status == 200
        after = agent.at_rest(10)
        assert after["iterations"] == shown["iterations"] + 1
        assert after["settled_usd"] > shown["settled_usd"]
    assert daemon.get("/v1/verify")["ledger"] == "ok"


def _die_at(
    daemon: Daemon, step: str, stream: bool, standin: StandinProcess
) -> tuple[Agent, dict[str, Any]]:
    """One call, of which the process dies; its session, and how it stands afterwards."""
    standin.reset()
    agent = daemon.open(1.0)
    body = chat("tokens=20 delay=0.01", stream=stream, max_completion_tokens=40)
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
