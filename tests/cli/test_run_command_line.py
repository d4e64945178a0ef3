"""A slip in the order of words never runs a command without the ceiling that was typed."""

from __future__ import annotations

import pytest

from agentwatch_cli.run_command_line import check_command, option_behind
from agentwatch_cli.run_process import CommandError


def test_a_budget_behind_the_command_starts_nothing_without_a_ceiling(fake_daemon):
    done = fake_daemon.agentwatch("run", "echo", "started", "--budget", "2")
    assert (done.returncode, done.stdout) == (125, "")
    assert "put --budget before the command, or `--` before echo" in done.stderr
    assert fake_daemon.sessions == {}


@pytest.mark.parametrize("given", [["--budget", "1"], ["--session", "mine"]])
def test_beside_a_ceiling_it_is_said_and_left_to_the_command(fake_daemon, given):
    done = fake_daemon.agentwatch("run", *given, "echo", "--budget=2")
    assert (done.returncode, done.stdout) == (0, "--budget=2\n")
    assert "put --budget before the command" in done.stderr


def test_what_stands_behind_two_dashes_is_the_commands_in_silence(fake_daemon):
    for words in (["--", "echo", "--budget", "2"], ["echo", "--", "--budget", "2"]):
        done = fake_daemon.agentwatch("run", *words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("--budget 2\n")
        assert "stands behind" not in done.stderr
    assert option_behind(["git", "--help"], {"--budget", "--json"}) is None


@pytest.mark.parametrize(
    ("name", "meant", "code"),
    [
        ("agent.py", "`python ./agent.py`?", 127),
        ("agent", "`./agent`?", 127),
        ("./agent.py", "`python ./agent.py`?", 126),
        ("sh agent.py 1", "quoted whole", 127),
    ],
)
def test_a_command_that_is_none_is_told_what_may_be_meant(tmp_path, monkeypatch, name, meant, code):
    for file in ("agent.py", "agent"):
        (tmp_path / file).touch(mode=0o600)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError) as told:
        check_command(name)
    assert meant in str(told.value)
    assert told.value.exit_code == code
