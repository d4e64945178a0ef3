"""The session of a run as it is told: a ceiling that is none, one that sinks, a session that is
over."""

from __future__ import annotations

import pytest


def test_a_budget_above_the_session_is_not_told_as_no_limit(fake_daemon):
    told = fake_daemon.agentwatch("run", "--team", "t", "--", "true").stderr
    assert "only a budget of team:t refuses calls" in told
    assert "none is refused" not in told


@pytest.mark.parametrize(("state", "code"), [("killed", 124), ("closed", 125)])
def test_a_session_that_is_over_starts_no_command_and_keeps_its_ceiling(
    fake_daemon, tmp_path, state, code
):
    fake_daemon.open({"session_id": "over", "budget_usd": 9.0})
    fake_daemon.sessions["over"]["state"] = state
    trace = tmp_path / "trace"
    run = ["run", "--session", "over", "--budget", "5", "--", "touch", str(trace)]
    done = fake_daemon.agentwatch(*run)
    assert (done.returncode, trace.exists()) == (code, False)
    assert f"session over is {state}, and stays so: nothing was started" in done.stderr
    assert "Leave out --session" in done.stderr
    done = fake_daemon.agentwatch("env", "--session", "over")
    assert (done.returncode, done.stdout) == (1, "false\n")
    assert "is open" not in done.stderr
    assert fake_daemon.asked("POST", "/v1/sessions") == []


def test_a_shell_whose_session_is_over_starts_no_command(fake_daemon):
    fake_daemon.open({"session_id": "outer"})
    fake_daemon.sessions["outer"]["state"] = "closed"
    inside = {"AGENTWATCH_SESSION_ID": "outer", "AGENTWATCH_SESSION_TOKEN": "aws_t"}
    done = fake_daemon.agentwatch("run", "--", "echo", "started", env=inside)
    assert (done.returncode, done.stdout) == (125, "")
    assert "use another one" in done.stderr


def test_a_run_inside_a_run_tells_that_it_lowers_the_ceiling_of_both(fake_daemon):
    fake_daemon.open({"session_id": "outer", "budget_usd": 2.0})
    inside = {"AGENTWATCH_SESSION_ID": "outer", "AGENTWATCH_SESSION_TOKEN": "aws_t"}
    done = fake_daemon.agentwatch("run", "--budget", "0.5", "--", "true", env=inside)
    assert "inside session outer all share its ceiling, which is now $0.5000" in done.stderr


@pytest.mark.parametrize("report", ["missing/r.md", "file/r.md"])
def test_a_report_without_a_folder_is_told_before_anything_is_spent(fake_daemon, tmp_path, report):
    (tmp_path / "file").touch()
    done = fake_daemon.agentwatch("run", "--report", str(tmp_path / report), "--", "true")
    assert done.returncode == 125
    assert "folder" in done.stderr
    assert fake_daemon.sessions == {}
