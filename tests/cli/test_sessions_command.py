"""sessions, budgets, report and env as they are typed, against a daemon's socket."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time

import pytest

from agentwatch_cli.top import Burn
from agentwatch_cli.views import ago, burn_per_minute, span

EVIL = "m\x1b[2J\u202e[red]"


@pytest.fixture
def two(fake_daemon):
    fake_daemon.open({"session_id": "first", "budget_usd": 2.0})
    fake_daemon.open({"session_id": "second"})
    fake_daemon.sessions["second"].update(opened_at=time.time() + 5, models=[EVIL])
    return fake_daemon


def test_ls_lists_the_newest_first_and_harmlessly(two):
    done = two.agentwatch("sessions", "ls")
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["SESSION", "STATE"]
    assert [line.split()[0] for line in lines[1:]] == ["second", "first"]
    assert "\x1b" not in done.stdout and "\u202e" not in done.stdout
    assert "$2.00" in lines[2] and "none" in lines[1]


def test_json_is_versioned_and_under_its_plural(two):
    listed = json.loads(two.agentwatch("sessions", "ls", "--json").stdout)
    assert listed["schema_version"] == 1
    assert [s["session_id"] for s in listed["sessions"]] == ["second", "first"]
    one = json.loads(two.agentwatch("sessions", "show", "first", "--json").stdout)
    assert (one["schema_version"], one["session_id"]) == (1, "first")


def test_an_empty_listing_is_no_error_and_says_what_to_do(fake_daemon):
    done = fake_daemon.agentwatch("sessions", "ls")
    assert (done.returncode, done.stdout) == (0, "")
    assert "agentwatch run" in done.stderr


def test_a_slip_in_the_configuration_keeps_nobody_from_stopping_a_session(two):
    (two.home / "config.toml").write_text("prot = 4141\n")
    done = two.agentwatch("sessions", "kill", "first")
    assert (done.returncode, two.sessions["first"]["state"]) == (0, "killed")
    assert "unknown key 'prot'" in done.stderr


def test_show_tells_one_session(two):
    done = two.agentwatch("sessions", "show", "first")
    assert "remaining   $2.00" in done.stdout


def test_an_unknown_session_is_one_line_and_exit_1(two):
    done = two.agentwatch("sessions", "show", "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "agentwatch: no session nobody\n"


def test_a_ceiling_is_set_exactly(two):
    done = two.agentwatch("sessions", "budget", "first", "$5.000000001")
    assert done.returncode == 0, done.stderr
    assert two.asked("PUT", "/v1/sessions/first/budget") == [{"budget_usd": 5.000000001}]
    assert two.agentwatch("sessions", "budget", "first", "nan").returncode == 2


@pytest.mark.parametrize(
    ("verb", "state"),
    [("kill", "killed"), ("pause", "paused"), ("resume", "active"), ("close", "closed")],
)
def test_each_verb_does_what_it_says_to_all(two, verb, state):
    done = two.agentwatch("sessions", verb, "first", "second")
    assert done.returncode == 0
    assert {s["state"] for s in two.sessions.values()} == {state}


def test_one_that_fails_does_not_keep_the_others(two):
    done = two.agentwatch("sessions", "kill", "nobody", "first")
    assert done.returncode == 1
    assert "nobody" in done.stderr
    assert two.sessions["first"]["state"] == "killed"


def test_a_mistyped_id_stops_all_before_anything_is_done(two):
    assert two.agentwatch("sessions", "kill", "first", "a/b").returncode == 2
    assert two.sessions["first"]["state"] == "active"


@pytest.mark.parametrize(("answer", "state"), [("n\n", "active"), ("y\n", "killed")])
def test_killing_several_on_a_terminal_asks_first(two, answer, state):
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    two.agentwatch("sessions", "kill", "first", "second", stdin=theirs)
    os.close(ours)
    os.close(theirs)
    assert {s["state"] for s in two.sessions.values()} == {state}


def test_top_without_a_terminal_is_a_table_of_what_is_open(two):
    two.sessions["first"]["state"] = "closed"
    done = two.agentwatch("sessions", "top")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["SESSION", "second"]


def test_top_draws_on_a_terminal_and_q_ends_it(two):
    ours, theirs = pty.openpty()
    run = two.popen("sessions", "top", stdin=theirs, stdout=theirs, env={"TERM": "xterm"})
    shown = b""
    while b"second" not in shown:
        shown += os.read(ours, 65536)
    os.write(ours, b"q")
    assert run.wait(timeout=10) == 0
    run.stderr.close()
    assert b"\x1b[2J" not in shown.replace(b"\x1b[2J\x1b[H", b"")
    os.close(ours)
    os.close(theirs)


def test_without_a_daemon_every_command_names_the_next_step(fake_daemon):
    fake_daemon.stop()
    for command in (["sessions", "ls"], ["budgets", "ls"], ["report"], ["sessions", "kill", "x"]):
        done = fake_daemon.agentwatch(*command)
        assert done.returncode == 1
        assert "agentwatch up" in done.stderr


def test_budgets_are_listed_and_set(fake_daemon):
    fake_daemon.budgets = [
        {
            "name": "project:x",
            "monthly_usd": 500,
            "settled_usd": 1.5,
            "held_usd": 0,
            "remaining_usd": 498.5,
            "month": "2026-11",
        }
    ]
    assert "project:x  2026-11  $1.50" in fake_daemon.agentwatch("budgets", "ls").stdout
    done = fake_daemon.agentwatch("budgets", "set", "team:a", "--monthly", "20")
    assert done.stdout == "team:a: $20.00 a month\n"
    assert fake_daemon.asked("PUT", "/v1/budgets/team:a") == [{"monthly_usd": 20.0}]
    assert fake_daemon.agentwatch("budgets", "set", "x", "--monthly", "20").returncode == 2


def test_report_takes_the_last_session_where_none_is_named(two):
    assert "session    second" in two.agentwatch("report").stdout
    assert "session    first" in two.agentwatch("report", "first").stdout
    as_json = json.loads(two.agentwatch("report", "--format", "json").stdout)
    assert as_json["calls"] == 0 and as_json["session_id"] == "second"


def test_env_lines_put_a_shell_under_the_session(fake_daemon):
    script = (
        f'eval "$({sys.executable} -m agentwatch_cli env --budget 2)"\n'
        'echo "$OPENAI_API_KEY $OPENAI_BASE_URL ${ANTHROPIC_AUTH_TOKEN-unset} $ODD"'
    )
    done = subprocess.run(
        ["sh", "-c", script],
        env=fake_daemon.environment(ANTHROPIC_AUTH_TOKEN="real-auth-token", ODD="it's $odd"),
        capture_output=True,
        text=True,
        timeout=20,
    )
    url = "http://127.0.0.1:4999/openai/v1"
    assert done.stdout == f"aws_token_of_s-1 {url} unset it's $odd\n"
    (body,) = fake_daemon.asked("POST", "/v1/sessions")
    assert body == {"budget_usd": 2.0, "wrapper": False}
    assert fake_daemon.sessions["s-1"]["state"] == "active"


@pytest.mark.parametrize(
    ("config", "option"), [("prot = 1", ""), ("", "--bugdet 2"), ("", "--budget x")]
)
def test_env_that_fails_fails_the_eval_and_nothing_runs_ungoverned(fake_daemon, config, option):
    (fake_daemon.home / "config.toml").write_text(config)
    script = f'eval "$({sys.executable} -m agentwatch_cli env {option})" || exit; echo ungoverned'
    done = subprocess.run(
        ["sh", "-c", script],
        env=fake_daemon.environment(),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr != ""
    assert fake_daemon.sessions == {}


def test_env_explains_itself_without_a_failure(fake_daemon):
    done = fake_daemon.agentwatch("env", "--help")
    assert (done.returncode, "false\n" in done.stdout.splitlines(keepends=True)) == (0, False)


def test_env_on_a_terminal_shows_how_it_is_used_and_no_token(fake_daemon):
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "agentwatch_cli", "env"],
        env=fake_daemon.environment(),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        timeout=20,
    )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert 'eval "$(agentwatch env' in done.stderr
    assert fake_daemon.sessions == {}


def test_money_that_goes_is_told_as_time_to_the_ceiling():
    burn = Burn()
    session = {"session_id": "s", "state": "active", "remaining_usd": 1.0, "settled_usd": 0.0}
    burn.rows([session], 0.0)
    (row,) = burn.rows([{**session, "settled_usd": 0.5}], 60.0)
    assert row[-2:] == ["$0.5000", "2 min"]
    assert burn_per_minute([(1.0, 0.5)]) == 0.0


def test_times_are_told_in_their_largest_unit():
    assert [span(s) for s in (0, 59.9, 60, 7200, 90000)] == ["0 s", "59 s", "1 min", "2 h", "1 d"]
    assert (ago(None, 5), ago(10, 5)) == ("-", "0 s ago")


@pytest.mark.parametrize("state", ["killed", "closed"])
def test_a_new_ceiling_is_not_taken_for_the_return_of_a_session(two, state):
    two.sessions["first"]["state"] = state
    done = two.agentwatch("sessions", "budget", "first", "5")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"first stays {state}" in done.stderr
    assert two.asked("PUT", "/v1/sessions/first/budget") == []


def test_a_budget_is_refused_a_name_that_a_run_takes(two):
    for name in ("project:-my", "team:\u00e4", "project:", "web"):
        done = two.agentwatch("budgets", "set", name, "--monthly", "5")
        assert done.returncode == 2
        assert "ASCII" in done.stderr
