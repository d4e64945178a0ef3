"""What happens to the ledger's file, as its owner and the agents see it: no fresh budget, ever."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness import Agent, Daemon, chat, environment, new_home, running, wait_until

from agentwatch.daemonfile import read_running
from agentwatch.standin.process import StandinProcess

Start = Callable[..., Daemon]
CALL = chat("tokens=3", max_completion_tokens=8)


def processes(daemon: Daemon) -> list[int]:
    told = read_running(daemon.home / "daemon.json")
    assert told is not None and told.serving is not None
    return [told.supervisor.pid, told.serving.pid]


def kill_all(daemon: Daemon) -> None:
    for pid in processes(daemon):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def spent(start_daemon: Start) -> tuple[Daemon, Agent]:
    """A daemon, and a session that has spent something."""
    daemon = start_daemon()
    agent = daemon.open(0.01)
    assert agent.post(body=CALL).status == 200
    return daemon, agent


def damage_a_row(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute(
            "UPDATE journal SET entry = CAST(replace(CAST(entry AS TEXT), '1', '2') AS BLOB)"
        )
    db.close()


def flip_bits(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for at in range(100, len(data), 997):
        data[at] ^= 0x40
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "deleted": lambda path: path.unlink(),
    "bits flipped": flip_bits,
    "a row edited": damage_a_row,
    "not a database": lambda path: path.write_bytes(b"hello" * 1000),
}


@pytest.fixture(scope="module")
def left_behind(module_standin: StandinProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a daemon that was ended after some money was spent."""
    with new_home() as folder:
        with running(Daemon(folder, environment(folder, module_standin))) as daemon:
            assert daemon.open(0.01, session_id="s").post(body=CALL).status == 200
        return Path(shutil.copytree(folder, tmp_path_factory.mktemp("left") / "home"))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_ledger_starts_no_fresh_budget(
    left_behind: Path, home: Path, standin: StandinProcess, damage: str
) -> None:
    shutil.copytree(left_behind, home, dirs_exist_ok=True)
    daemon = Daemon(home, environment(home, standin))
    DAMAGES[damage](home / "ledger.sqlite3")
    refused = daemon.command("up")
    assert refused.returncode == 1
    assert "agentwatch doctor" in refused.stderr
    assert "ledger" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1 and "supervisor" not in refused.stderr
    # it was set aside, and is not there any more: that is no fresh start either
    run = daemon.command("run", "--budget", "1", "--", "true")
    assert run.returncode == 125
    assert "agentwatch doctor" in run.stderr
    assert daemon.command("doctor").returncode == 1
    assert standin.bill()["requests"] == 0


def test_damaged_while_it_ran_and_killed_is_found_at_the_start(
    spent: tuple[Daemon, Agent],
) -> None:
    daemon, _ = spent
    kill_all(daemon)
    flip_bits(daemon.home / "ledger.sqlite3")
    (daemon.home / "ledger.sqlite3-wal").unlink(missing_ok=True)
    refused = daemon.command("up")
    assert refused.returncode == 1
    assert "agentwatch doctor" in refused.stderr


def test_deleted_while_it_runs_it_is_there_after_a_crash(
    spent: tuple[Daemon, Agent], standin: StandinProcess
) -> None:
    daemon, agent = spent
    for path in daemon.home.glob("ledger.*"):
        path.unlink()
    assert agent.post(body=CALL).status == 200
    wait_until((daemon.home / "ledger.sqlite3").exists)
    assert agent.post(body=CALL).status == 200
    agent.at_rest()
    kill_all(daemon)
    daemon.up()
    assert agent.settled == standin.bill()["billed_nanos"]


def test_an_older_copy_put_back_is_no_cheaper_past(spent: tuple[Daemon, Agent]) -> None:
    daemon, agent = spent
    assert daemon.down().returncode == 0
    older = daemon.home / "older"
    shutil.copy(daemon.home / "ledger.sqlite3", older)
    daemon.up()
    assert agent.post(body=CALL).status == 200
    assert daemon.down().returncode == 0
    shutil.copy(older, daemon.home / "ledger.sqlite3")
    refused = daemon.command("up")
    assert refused.returncode == 1
    assert "agentwatch doctor" in refused.stderr


def test_a_ledger_that_another_program_locks_is_waited_for(spent: tuple[Daemon, Agent]) -> None:
    daemon, agent = spent
    assert daemon.down().returncode == 0
    settled_before = (daemon.home / "ledger.sqlite3").read_bytes()
    with sqlite3.connect(daemon.home / "ledger.sqlite3") as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        refused = daemon.command("up")
        assert refused.returncode == 1
        assert "locked" in refused.stderr and "set aside" not in refused.stderr
        other.rollback()
    other.close()
    assert (daemon.home / "ledger.sqlite3").read_bytes() == settled_before
    daemon.up()
    assert agent.settled > 0


# ---- a full disk

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="mount and prlimit")


class SmallDisk:
    """A home on a disk of 4 MB; where this user can't mount one, a daemon that can't write."""

    def __init__(self, home: Path, standin: StandinProcess, stack: ExitStack) -> None:
        self.home = home
        self._standin = standin
        self._stack = stack
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", str(home)]
        self.mounted = subprocess.run(mount, capture_output=True).returncode == 0
        if self.mounted:
            stack.callback(subprocess.run, ["umount", "-l", str(home)], check=True)

    def start(self, **settings: str) -> Daemon:
        daemon = Daemon(self.home, environment(self.home, self._standin, **settings))
        self._stack.callback(daemon.down)
        daemon.up()
        return daemon

    def fill(self, daemon: Daemon, agent: Agent) -> None:
        """Fill it, and the reserve that is freed then, until nothing can be written."""
        if not self.mounted:
            resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

        def is_full() -> bool:
            if self.mounted:
                self._fill_up()
            agent.post(body=CALL)
            return daemon.get("/v1/status")["ledger_failed"] is not None

        wait_until(is_full, what="the disk never got full")

    def fill_once(self, daemon: Daemon) -> None:
        """Fill it, but for the reserve."""
        if self.mounted:
            self._fill_up()
        else:
            resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def _fill_up(self) -> None:
        with (self.home / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass

    def free(self, daemon: Daemon) -> None:
        """Make room, and wait until what was left is written."""
        if self.mounted:
            (self.home / "filler").unlink()
        else:
            most = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, most)
        wait_until(lambda: daemon.get("/v1/status")["ledger_failed"] is None)


@pytest.fixture
def small_disk(home: Path, standin: StandinProcess) -> Iterator[SmallDisk]:
    with ExitStack() as stack:
        yield SmallDisk(home, standin, stack)


@LINUX
@pytest.mark.parametrize("fail_open", ["true", "false"])
def test_calls_in_flight_are_settled_on_a_full_disk_and_a_crash_forgets_none(
    small_disk: SmallDisk, standin: StandinProcess, fail_open: str
) -> None:
    daemon = small_disk.start(enforcement_fail_open=fail_open)
    agent = daemon.open(10.0)
    assert agent.post(body=CALL).status == 200
    slow = chat("tokens=3 head_delay=1.5", max_completion_tokens=8)
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(agent.post, body=slow) for _ in range(8)]
        wait_until(lambda: daemon.get("/v1/status")["calls"] == 8)
        small_disk.fill_once(daemon)
        assert [call.result().status for call in calls] == [200] * 8
    agent.at_rest()
    if small_disk.mounted:
        # the reserve's room was enough: nothing is told as undurable, nothing is only in memory
        wait_until(lambda: not (daemon.home / "ledger.reserve").exists())
        assert daemon.get("/v1/status")["ledger_failed"] is None
    else:
        small_disk.free(daemon)
    kill_all(daemon)
    daemon.up()
    # no call is charged its hold: each settle was on the disk
    assert agent.settled == standin.bill()["billed_nanos"]
    assert agent.show()["held_usd"] == 0
    if small_disk.mounted:
        small_disk.free(daemon)
    assert agent.post(body=CALL).status == 200
    assert daemon.get("/v1/verify")["ledger"] == "ok"


@LINUX
def test_a_full_disk_fail_open_counts_and_writes_later(
    small_disk: SmallDisk, standin: StandinProcess
) -> None:
    daemon = small_disk.start()
    agent = daemon.open(10.0)
    small_disk.fill(daemon, agent)
    for _ in range(5):
        assert agent.post(body=CALL).status == 200
    assert daemon.get("/v1/status")["fail_open"]["undurable"] > 0
    told = daemon.command("doctor")
    assert told.returncode == 1
    assert "can't be written" in told.stdout
    small_disk.free(daemon)
    kill_all(daemon)
    daemon.up()
    assert agent.settled == standin.bill()["billed_nanos"]
    assert daemon.get("/v1/verify")["ledger"] == "ok"


@LINUX
def test_a_full_disk_fail_closed_refuses_and_sends_nothing(
    small_disk: SmallDisk, standin: StandinProcess
) -> None:
    daemon = small_disk.start(enforcement_fail_open="false")
    agent = daemon.open(10.0)
    small_disk.fill(daemon, agent)
    sent = standin.bill()["requests"]
    refused = agent.post(body=CALL)
    assert (refused.status, refused.denied) == (503, "governance_unavailable")
    told = daemon.command("sessions", "pause", agent.id)
    assert told.returncode == 1
    assert "this is in force, but would be forgotten" in told.stderr
    assert agent.show()["state"] == "paused"
    daemon.command("sessions", "resume", agent.id)
    assert standin.bill()["requests"] == sent
    small_disk.free(daemon)
    assert agent.post(body=CALL).status == 200
    agent.at_rest()
    assert agent.settled == standin.bill()["billed_nanos"]
