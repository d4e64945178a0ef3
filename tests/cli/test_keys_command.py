"""`agentwatch keys` as a user types it; a value is on no screen and in no argument."""

import json
import os
from pathlib import Path

import pytest
import typer
from harness import Daemon
from typer.testing import CliRunner, Result

from agentwatch.errors import UsageError
from agentwatch.keyfile import KeyFile
from agentwatch.standin.process import StandinProcess
from agentwatch_cli.commands import keys

CANARY = "sk-canary-0123456789"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyFile:
    for name in list(os.environ):
        if name.startswith("AGENTWATCH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AGENTWATCH_HOME", str(tmp_path / "home"))
    return KeyFile(tmp_path / "home" / "keys.json")


def type_in(*words: str, text: str = "") -> Result:
    app = typer.Typer()
    keys.register(app)
    app.command()(lambda: None)
    return CliRunner().invoke(app, ["keys", *words], input=text)


def test_a_key_is_read_from_standard_input_and_not_shown(file: KeyFile) -> None:
    done = type_in("set", "openai", text=CANARY + "\n")
    assert done.exit_code == 0
    assert CANARY not in done.output
    assert file.read().providers["openai"].value == CANARY


def test_a_key_is_asked_for_unseen_on_a_terminal(
    file: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: CANARY)
    assert keys._read_value("openai") == CANARY


def test_a_key_can_not_be_given_as_an_argument(file: KeyFile) -> None:
    done = type_in("set", "openai", CANARY)
    assert isinstance(done.exception, UsageError)
    assert CANARY not in done.output + str(done.exception)
    assert not file.path.exists()


def test_what_comes_after_keys_set_finds_a_daemon_that_knows_the_key(
    file: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([[], [], ["openai"]])
    monkeypatch.setattr(
        "agentwatch_cli.launch.status", lambda settings: {"providers": next(answers)}
    )
    assert type_in("set", "openai", text=CANARY).exit_code == 0
    assert next(answers, "asked until it knew") == "asked until it knew"


def test_two_lines_are_no_key(file: KeyFile) -> None:
    done = type_in("set", "openai", text=f"{CANARY}\nx-evil: 1\n")
    assert isinstance(done.exception, UsageError)
    assert CANARY not in str(done.exception)
    assert not file.path.exists()


def test_an_issued_key_is_the_only_thing_on_stdout_and_only_once(file: KeyFile) -> None:
    done = type_in("issue", "ci")
    key = done.stdout.strip()
    assert key.startswith("awk_")
    assert key not in done.stderr
    for listing in (type_in("ls"), type_in("ls", "--json")):
        assert key not in listing.output
        assert "ci" in listing.output


def test_the_listing_has_the_contract_s_shape(file: KeyFile) -> None:
    assert json.loads(type_in("ls", "--json").stdout) == {"schema_version": 1, "keys": []}
    file.set_provider("openai", CANARY, 5.0)
    file.issue("ci", 6.0)
    shown = json.loads(type_in("ls", "--json").stdout)
    assert shown["keys"] == [
        {"name": "openai", "kind": "provider", "created_at": 5.0},
        {"name": "ci", "kind": "agentwatch", "created_at": 6.0},
    ]


def test_keys_that_only_the_daemon_has_are_listed_without_a_value(
    daemon: Daemon, standin: StandinProcess
) -> None:
    shown = daemon.command("keys", "ls")
    assert "no keys yet" not in shown.stderr
    assert "openai     provider  from the daemon's environment" in shown.stdout
    assert standin.key not in shown.stdout
    rows = json.loads(daemon.command("keys", "ls", "--json").stdout)["keys"]
    assert {"name": "openai", "kind": "provider", "created_at": None} in rows


def test_without_keys_the_next_step_is_told(file: KeyFile) -> None:
    assert "keys set openai" in type_in("ls").stderr


def test_a_removed_key_is_gone(file: KeyFile) -> None:
    file.set_provider("openai", CANARY, 5.0)
    assert type_in("rm", "openai").exit_code == 0
    assert file.read().providers == {}
    assert "keys ls" in str(type_in("rm", "openai").exception)


def test_an_agent_changes_keys(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.set_provider("openai", CANARY, 5.0)
    monkeypatch.setenv("AGENTWATCH_SESSION_TOKEN", "aws_x")
    for words in (["set", "openai"], ["issue", "ci"], ["rm", "openai"]):
        assert "not from inside a session" in str(type_in(*words, text="sk-other").exception)
    assert file.read().providers["openai"].value == CANARY
    assert file.read().agentwatch == {}
