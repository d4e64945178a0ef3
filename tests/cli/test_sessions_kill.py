"""`sessions kill` by description: what fits, what is asked, what is told."""

from __future__ import annotations

import json
import os
import pty
import time

import pytest

from agentwatch.errors import UsageError
from agentwatch_cli.sessions_kill import Wanted, age_s, chosen


@pytest.fixture
def three(fake_daemon):
    for name, project, spent, age in (
        ("a", "x", 0.5, 10),
        ("b", "x", 2.0, 4000),
        ("c", None, 2, 1),
    ):
        fake_daemon.open({"session_id": name, "project": project})
        fake_daemon.sessions[name].update(settled_usd=spent, opened_at=time.time() - age)
    return fake_daemon


def killed(daemon):
    return {name for name, session in daemon.sessions.items() if session["state"] == "killed"}


@pytest.mark.parametrize(
    ("selectors", "fitting"),
    [
        (["--all"], {"a", "b", "c"}),
        (["--project", "x"], {"a", "b"}),
        (["--older-than", "1h"], {"b"}),
        (["--over", "0.5"], {"b", "c"}),
        (["--project", "x", "--over", "1"], {"b"}),
        (["--project", "nobodys"], set()),
    ],
)
def test_what_fits_the_whole_description_is_killed(three, selectors, fitting):
    done = three.agentwatch("sessions", "kill", *selectors, "--yes")
    assert done.returncode == 0, done.stderr
    assert killed(three) == fitting


def test_a_session_that_is_over_is_left_alone(three):
    three.sessions["a"]["state"] = "closed"
    done = three.agentwatch("sessions", "kill", "--all", "--yes", "--json")
    told = json.loads(done.stdout)
    assert [each["session_id"] for each in told["sessions"]] == ["b", "c"]
    assert (told["schema_version"], told["failed"]) == (1, [])
    assert three.sessions["a"]["state"] == "closed"


def test_a_script_must_say_yes_to_a_description(three):
    done = three.agentwatch("sessions", "kill", "--all")
    assert (done.returncode, killed(three)) == (2, set())
    assert "kill 3 sessions (a, b, c)" in done.stderr and "--yes" in done.stderr


@pytest.mark.parametrize(("answer", "left"), [("n\n", 3), ("y\n", 1)])
def test_a_person_is_asked_and_shown_which(three, answer, left):
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    done = three.agentwatch("sessions", "kill", "--project", "x", stdin=theirs)
    os.close(ours)
    os.close(theirs)
    assert "kill 2 sessions (a, b)?" in done.stderr
    assert 3 - len(killed(three)) == left


def test_nothing_or_both_is_no_description(three):
    assert three.agentwatch("sessions", "kill").returncode == 2
    assert three.agentwatch("sessions", "kill", "a", "--all").returncode == 2
    assert killed(three) == set()


def test_what_was_ended_is_told(three):
    done = three.agentwatch("sessions", "kill", "b")
    assert done.stdout == "b: killed, $2.00 spent\n"


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1.5h", 5400), (" 2D ", 172_800)])
def test_ages(text, seconds):
    assert age_s(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1m", "1w", "1e3", "nan"])
def test_what_is_no_age(text):
    with pytest.raises(UsageError, match="write 90s"):
        age_s(text)


def test_exactly_so_old_or_dear_does_not_fit():
    one = {"state": "active", "project": None, "opened_at": 100.0, "settled_usd": 0.1}
    assert chosen([one], Wanted(older_than_s=50.0), 150.0) == []
    assert chosen([one], Wanted(older_than_s=50.0), 150.1) == [one]
    assert chosen([one], Wanted(over=100_000_000), 150.0) == []
    assert chosen([one], Wanted(over=99_999_999), 150.0) == [one]
