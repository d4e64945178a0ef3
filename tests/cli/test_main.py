"""The frame: help in the contract's groups, one clear line for an error, a quick start."""

from __future__ import annotations

import subprocess
import sys

import pytest

from agentwatch_cli.main import GROUPS, build

CLI = [sys.executable, "-m", "agentwatch_cli"]
HEAVY = {"rich", "aiohttp", "httpx", "sqlite_utils", "sqlite3", "genai_prices", "tiktoken"}


def _run(*args, **kw):
    return subprocess.run([*CLI, *args], capture_output=True, text=True, timeout=20, **kw)


def test_help_groups_the_commands():
    out = _run("--help").stdout
    headings = [out.index(f"{heading}:") for heading in GROUPS]
    assert headings == sorted(headings)
    assert "More:" not in out
    assert out.index("run ") < out.index("The daemon:") < out.index("sessions ")


def test_no_command_is_wrong_usage_not_success():
    assert _run().returncode == 2
    assert _run("sessions").returncode == 2


def test_the_version_is_told():
    done = _run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("agentwatch ")


def test_a_mistyped_command_is_answered_with_the_nearest():
    done = _run("sesions")
    assert done.returncode == 2
    assert "sessions" in done.stderr


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom agentwatch_cli.main import build\nbuild()\n"
        "print(' '.join(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert not HEAVY & set(done.stdout.split())


def test_a_configuration_at_fault_is_one_line_and_exit_2(fake_daemon):
    done = fake_daemon.agentwatch("sessions", "ls", env={"AGENTWATCH_RUN_KILL_GRACE": "5"})
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "AGENTWATCH_RUN_KILL_GRACE_S" in done.stderr


def test_json_errors_leave_stdout_empty(fake_daemon):
    fake_daemon.stop()
    done = fake_daemon.agentwatch("sessions", "ls", "--json")
    assert (done.returncode, done.stdout) == (1, "")


def test_a_reader_that_goes_away_is_no_traceback(fake_daemon):
    for number in range(300):
        fake_daemon.open({"session_id": f"session-{number}-{'x' * 100}"})
    script = f"{sys.executable} -m agentwatch_cli sessions ls --json | head -1"
    done = subprocess.run(
        ["sh", "-c", script],
        env=fake_daemon.environment(),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.stdout, done.stderr) == ("{\n", "")


@pytest.mark.parametrize("path", [[], ["sessions"], ["budgets"], ["keys"], ["prices"]])
def test_every_command_has_its_own_help(path):
    import typer

    group = typer.main.get_command(build())
    for name in path:
        group = group.commands[name]
    for name, command in group.commands.items():
        assert command.help, f"{' '.join([*path, name])} has no help"


def test_a_word_that_is_none_of_the_choices_is_told_in_plain_words():
    for words in (("run", "--mode", "obsrve", "--", "true"), ("report", "--format", "pdf")):
        told = _run(*words).stderr
        assert "Value error" not in told
        assert "is not one of" in told


def test_a_negative_amount_is_taken_for_an_option():
    done = _run("sessions", "budget", "x", "-1")
    assert done.returncode == 2
    assert "can't be negative" in done.stderr


def test_the_version_is_told_to_who_asks_for_it_as_a_command():
    done = _run("version")
    assert (done.returncode, done.stdout) == (0, _run("--version").stdout)
