"""`up`, `down`, `restart`, `status`, `logs` as a user types them."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from agentwatch.errors import AgentWatchError
from agentwatch_cli import launch
from agentwatch_cli.commands import daemon

FAKE = Path(__file__).parent.parent / "daemon" / "fake_supervisor.py"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in list(os.environ):
        if name.startswith("AGENTWATCH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AGENTWATCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AGENTWATCH_PORT", "0")
    monkeypatch.setattr(
        launch, "daemon_command", lambda told: [sys.executable, str(FAKE), "--port", str(told.port)]
    )
    yield tmp_path / "home"
    type_in("down")


def type_in(*words: str) -> Result:
    app = typer.Typer()
    daemon.register(app)
    return CliRunner().invoke(app, words)


def test_a_day_with_the_daemon(home: Path) -> None:
    up = type_in("up")
    assert (up.exit_code, up.stdout) == (0, "")
    assert "serves: http://127.0.0.1:" in up.stderr
    again = type_in("up")
    assert again.exit_code == 0
    assert "runs already" in again.stderr
    first = json.loads(type_in("status", "--json").stdout)
    assert "replaced" in type_in("restart").stderr
    second = json.loads(type_in("status", "--json").stdout)
    assert second["pid"] != first["pid"]
    assert second["port"] == first["port"]
    assert "has ended" in type_in("down").stderr
    down = type_in("down")
    assert down.exit_code == 0
    assert "no daemon is running" in down.stderr


def test_a_slip_in_prices_toml_ends_no_daemon_that_serves(home: Path) -> None:
    type_in("up")
    first = json.loads(type_in("status", "--json").stdout)
    (home / "prices.toml").write_text('[openai."gpt-4o"]\ninput = "cheap"\n')
    done = type_in("restart")
    assert isinstance(done.exception, AgentWatchError)
    assert done.exception.exit_code == 1
    assert "prices.toml, line 2" in str(done.exception)
    assert "goes on by its old configuration" in str(done.exception)
    assert json.loads(type_in("status", "--json").stdout)["pid"] == first["pid"]


def test_a_channel_that_can_not_be_is_reported_as_taken_in(home: Path) -> None:
    type_in("up")
    first = json.loads(type_in("status", "--json").stdout)
    (home / "config.toml").write_text('[alerts]\nnotify = ["nowhere://x"]\n')
    done = type_in("restart")
    assert isinstance(done.exception, AgentWatchError)
    assert done.exception.exit_code == 1
    assert "[alerts] notify" in str(done.exception)
    assert json.loads(type_in("status", "--json").stdout)["pid"] == first["pid"]


def test_a_configuration_that_no_look_found_wrong_is_reported_as_taken_in(home: Path) -> None:
    """It was changed after it was looked at: the next process goes by the one before."""
    type_in("up")
    first = json.loads(type_in("status", "--json").stdout)
    (home / "config.toml").write_text("# not so\n")
    done = type_in("restart")
    assert isinstance(done.exception, AgentWatchError)
    assert done.exception.exit_code == 1
    assert str(done.exception) == "this is not so. The daemon goes on by its old configuration"
    second = json.loads(type_in("status", "--json").stdout)
    assert second["running"] and second["pid"] != first["pid"]
    (home / "config.toml").write_text("# but so\n")
    assert "replaced" in type_in("restart").stderr


def test_status_has_the_contract_s_keys_whether_it_runs_or_not(home: Path) -> None:
    keys = {"running", "pid", "port", "socket", "version", "state_url", "started_at"}
    keys |= {"sessions", "fail_open", "schema_version"}
    without = type_in("status", "--json")
    assert without.exit_code == 1
    assert set(json.loads(without.stdout)) == keys
    assert json.loads(without.stdout)["running"] is False
    type_in("up")
    with_one = type_in("status", "--json")
    assert with_one.exit_code == 0
    assert keys <= set(json.loads(with_one.stdout))
    assert json.loads(with_one.stdout)["running"] is True


def test_status_for_people(home: Path) -> None:
    without = type_in("status")
    assert without.exit_code == 1
    assert "agentwatch up" in without.stderr
    type_in("up")
    said = type_in("status").stdout
    assert str(home / "agentwatch.sock") in said
    assert "undurable 1 since " in said


def test_a_port_that_can_not_be_had_twice_is_said(home: Path) -> None:
    type_in("up")
    said = type_in("up", "--port", "4142")
    assert said.exit_code == 0
    assert "`agentwatch down` first" in said.stderr


def test_the_log_is_shown_harmless_and_from_its_end(home: Path) -> None:
    assert "no log yet" in type_in("logs").stderr
    home.mkdir(mode=0o700)
    lines = [f"line {number} \x1b[2J" for number in range(30_000)]
    (home / "daemon.log").write_text("\n".join(lines) + "\n")
    shown = type_in("logs", "-n", "2").stdout
    assert shown == "line 29998 \\x1b[2J\nline 29999 \\x1b[2J\n"
    assert type_in("logs", "-n", "0").stdout == ""
    assert len(type_in("logs", "-n", "29999").stdout.splitlines()) == 29_999


def test_a_followed_log_goes_on_over_a_rotation(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir(mode=0o700)
    log = home / "daemon.log"
    log.write_text("before\n")
    monkeypatch.setattr(daemon, "_FOLLOW_S", 0.01)
    lines = daemon._grow(log)
    seen: list[str] = []

    def write(text: str, *, fresh: bool = False) -> None:
        with log.open("w" if fresh else "a") as file:
            file.write(text)

    timer = threading.Timer(0.1, write, ("half",))
    timer.start()
    threading.Timer(0.2, write, (" a line\n",)).start()
    seen.append(next(lines))
    threading.Timer(0.1, write, ("new\n",), {"fresh": True}).start()
    seen.append(next(lines))
    assert seen == ["half a line", "new"]


def test_an_agent_ends_its_guard(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in("up")
    monkeypatch.setenv("AGENTWATCH_SESSION_TOKEN", "aws_x")
    for words in (["down"], ["restart"], ["up", "--foreground"]):
        refused = type_in(*words)
        assert "not from inside a session" in str(refused.exception)
    monkeypatch.delenv("AGENTWATCH_SESSION_TOKEN")
    assert type_in("status").exit_code == 0


def test_the_commands_load_nothing_heavy() -> None:
    code = (
        "import sys, agentwatch_cli.commands.daemon, agentwatch_cli.commands.keys;"
        "heavy = {'aiohttp', 'rich.console', 'httpx', 'msgspec', 'agentwatch.daemon'};"
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_slip_in_the_configuration_keeps_nobody_from_looking_and_stopping(home: Path) -> None:
    assert type_in("up").exit_code == 0
    (home / "config.toml").write_text("prot = 1\n")
    looked = type_in("status", "--json")
    assert (looked.exit_code, json.loads(looked.stdout)["running"]) == (0, True)
    assert "did you mean 'port'" in looked.stderr
    assert type_in("logs").exit_code == 0
    assert "has ended" in type_in("down").stderr
