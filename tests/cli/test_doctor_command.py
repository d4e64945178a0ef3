"""`agentwatch doctor` on homes that are well, and on homes to which something has happened."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Daemon, chat, environment, new_home, running

from agentwatch.standin.process import StandinProcess
from agentwatch.upstreams import PROVIDERS
from agentwatch_cli import doctor_checks

Start = Callable[..., Daemon]


def diagnosis(daemon: Daemon, *, code: int = 0) -> dict[str, dict[str, str]]:
    """The checks by name; the worst one where a name comes twice."""
    done = daemon.command("doctor", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["schema_version"] == 1
    assert told["ok"] == (code == 0)
    worst: dict[str, dict[str, str]] = {}
    order = ["ok", "warn", "fail"]
    for check in told["checks"]:
        before = worst.get(check["name"])
        if before is None or order.index(check["verdict"]) > order.index(before["verdict"]):
            worst[check["name"]] = check
    return worst


@pytest.fixture
def stopped(home: Path, standin: StandinProcess) -> Daemon:
    """A home in which no daemon runs yet."""
    return Daemon(home, environment(home, standin))


@pytest.fixture(scope="module")
def left_behind(module_standin: StandinProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a daemon that was ended after some money was spent has left in its home."""
    with new_home() as folder:
        with running(Daemon(folder, environment(folder, module_standin))) as daemon:
            assert daemon.open(1.0, session_id="s").post(body=chat("tokens=3")).status == 200
        kept = tmp_path_factory.mktemp("left") / "home"
        return Path(shutil.copytree(folder, kept))


@pytest.fixture
def spent(left_behind: Path, home: Path, standin: StandinProcess) -> Iterator[Daemon]:
    """A home of its own with that in it, and no daemon."""
    shutil.copytree(left_behind, home, dirs_exist_ok=True)
    daemon = Daemon(home, environment(home, standin))
    yield daemon
    daemon.down()


def ledger(daemon: Daemon) -> Path:
    return daemon.home / "ledger.sqlite3"


def flip_a_byte(path: Path, near: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(near) + len(near)] ^= 1
    path.write_bytes(data)


def test_a_new_home_is_well_and_stays_empty(stopped: Daemon) -> None:
    found = diagnosis(stopped)
    assert found["ledger"]["verdict"] == "ok"
    assert found["daemon"]["verdict"] == "ok"
    assert not ledger(stopped).exists()


def test_a_running_daemon_is_well(daemon: Daemon) -> None:
    assert daemon.open(1.0).post(body=chat("tokens=3")).status == 200
    found = diagnosis(daemon)
    for name in ("configuration", "home", "files", "daemon", "version", "supervisor", "fail-open"):
        assert found[name]["verdict"] == "ok", found[name]
    # they are counted anew at each start
    assert re.search(r"without cover since \d{4}-", found["fail-open"]["found"])
    assert "sound" in found["ledger"]["found"]
    assert found["keys"]["verdict"] == "ok"
    assert set(found["keys"]["found"].split(", ")) == set(PROVIDERS)
    assert "ms" in found["disk"]["found"]


def test_no_key_and_no_token_is_shown(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(1.0)
    done = daemon.command("doctor")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr + json.dumps(diagnosis(daemon))
    assert standin.key not in said and agent.token not in said


def test_a_ledger_at_rest_is_read_and_left_as_it_is(spent: Daemon) -> None:
    before = ledger(spent).read_bytes()
    found = diagnosis(spent)
    assert found["ledger"]["found"].endswith("entries, chain and balances are sound")
    assert not found["ledger"]["found"].startswith("0 ")
    assert ledger(spent).read_bytes() == before


def test_a_ledger_that_a_crash_left_is_sound(start_daemon: Start) -> None:
    daemon = start_daemon()
    assert daemon.open(1.0).post(body=chat("tokens=3")).status == 200
    told = json.loads((daemon.home / "daemon.json").read_text())
    for name in ("supervisor", "serving"):
        os.kill(told[name]["pid"], 9)
    found = diagnosis(daemon)
    assert "sound" in found["ledger"]["found"]
    assert not found["ledger"]["found"].startswith("0 ")
    daemon.up()
    assert len(daemon.get("/v1/sessions")["sessions"]) == 1


def test_a_flipped_bit_is_found_without_a_daemon_and_the_file_stays(spent: Daemon) -> None:
    flip_a_byte(ledger(spent), b'"kind":"opened","session":"')
    found = diagnosis(spent, code=1)
    assert found["ledger"]["verdict"] == "fail"
    assert "damaged" in found["ledger"]["found"]
    assert "--start-over" in found["ledger"]["todo"]
    assert ledger(spent).exists()


def test_a_balance_that_was_edited_is_found(spent: Daemon) -> None:
    edit = """replace(CAST(body AS TEXT), '"settled":', '"settled":-')"""
    with sqlite3.connect(ledger(spent)) as db:
        db.execute(f"UPDATE accounts SET body = CAST({edit} AS BLOB)")
    db.close()
    assert "was changed" in diagnosis(spent, code=1)["ledger"]["found"]


def test_a_deleted_ledger_is_no_fresh_start_until_its_owner_says_so(spent: Daemon) -> None:
    ledger(spent).unlink()
    assert "gone" in diagnosis(spent, code=1)["ledger"]["found"]
    refused = spent.command("up")
    assert refused.returncode == 1
    assert "--start-over" in refused.stderr
    unsaid = spent.command("doctor", "--start-over")
    assert unsaid.returncode == 2
    assert "--yes" in unsaid.stderr
    said = spent.command("doctor", "--start-over", "--yes")
    assert said.returncode == 0, said.stderr
    assert "forgotten" in said.stderr
    spent.up()
    assert spent.get("/v1/sessions")["sessions"] == []


def test_a_damaged_ledger_is_kept_when_one_starts_over(spent: Daemon) -> None:
    flip_a_byte(ledger(spent), b'"kind":"opened","session":"')
    refused = spent.command("up")
    assert refused.returncode == 1
    assert "set aside" in refused.stderr and "agentwatch doctor" in refused.stderr
    assert "Traceback" not in refused.stderr
    said = spent.command("doctor", "--start-over", "--yes")
    assert said.returncode == 0, said.stderr
    assert ".damaged-" in said.stderr
    spent.up()
    assert diagnosis(spent)["set aside"]["verdict"] == "warn"


def test_one_starts_over_without_having_tried_to_start(spent: Daemon) -> None:
    ledger(spent).write_bytes(ledger(spent).read_bytes()[:5000])
    assert spent.command("doctor", "--start-over", "--yes").returncode == 0
    assert list(spent.home.glob("*.damaged-*"))
    spent.up()


def test_nobody_starts_over_from_a_sound_ledger(spent: Daemon, daemon: Daemon) -> None:
    sound = spent.command("doctor", "--start-over", "--yes")
    assert sound.returncode == 2
    assert "sound" in sound.stderr
    running = daemon.command("doctor", "--start-over", "--yes")
    assert running.returncode == 2
    assert "agentwatch down" in running.stderr


def test_an_agent_does_not_start_over(spent: Daemon) -> None:
    ledger(spent).unlink()
    spent.environ["AGENTWATCH_SESSION_TOKEN"] = "aws_x"
    try:
        refused = spent.command("doctor", "--start-over", "--yes")
    finally:
        del spent.environ["AGENTWATCH_SESSION_TOKEN"]
    assert refused.returncode == 2
    assert "not from inside" in refused.stderr
    assert (spent.home / "ledger.witness").exists()


def test_files_that_others_may_read_are_told(spent: Daemon) -> None:
    ledger(spent).chmod(0o644)
    spent.home.chmod(0o755)
    found = diagnosis(spent, code=1)
    assert found["files"]["todo"] == f"chmod 600 {ledger(spent)}"
    assert found["home"]["todo"] == f"chmod 700 {spent.home}"


def test_a_configuration_that_is_wrong_does_not_hide_the_rest(spent: Daemon) -> None:
    (spent.home / "config.toml").write_text("[enforcement]\nhold_wait = 3\n")
    found = diagnosis(spent, code=1)
    assert "hold_wait_s" in found["configuration"]["found"]
    assert "sound" in found["ledger"]["found"]


def test_a_channel_that_can_not_be_is_found_by_the_start_alone(spent: Daemon) -> None:
    (spent.home / "config.toml").write_text('[alerts]\nnotify = ["nowhere://x"]\n')
    assert "[alerts] notify" in diagnosis(spent, code=1)["configuration"]["found"]


def test_a_provider_of_ones_own_is_unknown_to_its_prices(spent: Daemon) -> None:
    (spent.home / "config.toml").write_text(
        '[providers.deep-seek]\nwire = "openai"\nbase_url = "https://a.example/v1"\n'
    )
    (spent.home / "prices.toml").write_text("[deep-seek.gpt-4o]\ninput = 1\noutput = 2\n")
    assert diagnosis(spent)["prices"]["verdict"] == "ok"


def test_a_ledger_removed_under_the_daemon_is_put_back(start_daemon: Start) -> None:
    daemon = start_daemon()
    agent = daemon.open(1.0)
    assert agent.post(body=chat("tokens=3")).status == 200
    settled = agent.settled
    shutil.move(ledger(daemon), daemon.home / "moved")
    assert diagnosis(daemon)["ledger"]["verdict"] == "ok"
    assert ledger(daemon).exists()
    assert "was put back" in daemon.log
    assert daemon.down().returncode == 0
    daemon.up()
    assert agent.settled == settled


def test_one_that_can_not_be_put_back_is_told(start_daemon: Start) -> None:
    daemon = start_daemon()
    assert daemon.open(1.0).post(body=chat("tokens=3")).status == 200
    (daemon.home / "ledger.fresh").mkdir()
    shutil.move(ledger(daemon), daemon.home / "moved")
    found = diagnosis(daemon, code=1)
    assert "removed under the daemon" in found["ledger"]["found"]
    (daemon.home / "ledger.fresh").rmdir()


def test_a_network_proxy_that_would_see_the_calls_is_told(stopped: Daemon) -> None:
    stopped.environ |= {"HTTP_PROXY": "http://10.0.0.1:3128"}
    stopped.environ.pop("NO_PROXY", None), stopped.environ.pop("no_proxy", None)
    assert diagnosis(stopped)["proxy"]["verdict"] == "warn"
    stopped.environ |= {"NO_PROXY": "127.0.0.1,localhost"}
    assert diagnosis(stopped)["proxy"]["verdict"] == "ok"


def test_a_slow_disk_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AGENTWATCH_HOME", str(tmp_path))
    from agentwatch.settings import load_settings

    settings = load_settings(environ={"AGENTWATCH_HOME": str(tmp_path)})
    patient = doctor_checks.Patient(paths=settings.paths, settings=settings)
    monkeypatch.setattr(doctor_checks, "sync_seconds", lambda folder: 0.05)
    slow: Any = list(doctor_checks.disk(patient))[-1]
    assert slow.verdict == "warn" and 'durability = "process"' in slow.todo


def test_nothing_heavy_is_loaded_before_it_is_asked_for() -> None:
    code = (
        "import sys, agentwatch_cli.commands.doctor;"
        "print({'aiohttp', 'sqlite3', 'msgspec', 'rich.console'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
