"""`agentwatch alerts`, against the real daemon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import PATIENCE_S, Agent, Daemon, chat, wait_until


def loop(daemon: Daemon, **terms: object) -> Agent:
    """A session with one alert."""
    agent = daemon.open(1.0, **terms)
    for _ in range(5):
        agent.post(body=chat("tokens=3"))
    return agent


def test_a_listing_has_no_rows_or_tells_half(daemon: Daemon) -> None:
    agent = loop(daemon)
    told = json.loads(daemon.command("alerts", "ls", "--json", "--session", agent.id).stdout)
    assert told["schema_version"] == 1
    (alert,) = told["alerts"]
    table = daemon.command("alerts", "ls", "--session", agent.id).stdout
    heading, row = table.splitlines()
    assert heading.split()[:2] == ["ALERT", "WHEN"]
    assert alert["id"] in row and "repeated_request" in row and "open" in row


def test_nothing_wrong_is_shown_as_something(daemon: Daemon) -> None:
    quiet = daemon.open(1.0)
    done = daemon.command("alerts", "ls", "--session", quiet.id)
    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing looked wrong" in done.stderr


def test_what_was_acknowledged_is_listed_as_new(daemon: Daemon) -> None:
    agent = loop(daemon)
    (alert,) = daemon.get(f"/v1/alerts?session_id={agent.id}")["alerts"]
    done = daemon.command("alerts", "ack", alert["id"])
    assert (done.returncode, done.stdout) == (0, "")
    assert "1 acknowledged" in done.stderr
    unacked = ("alerts", "ls", "--unacked", "--json", "--session", agent.id)
    assert json.loads(daemon.command(*unacked).stdout)["alerts"] == []
    assert "done before" in daemon.command("alerts", "ack", alert["id"]).stderr
    unknown = daemon.command("alerts", "ack", "al0")
    assert (unknown.returncode, "agentwatch alerts ls" in unknown.stderr) == (1, True)
    for wrong in (["alerts", "ack"], ["alerts", "ack", "x", "--all"]):
        assert daemon.command(*wrong).returncode == 2


def test_the_last_alerts_are_one_a_line(daemon: Daemon) -> None:
    agent = loop(daemon)
    (line,) = daemon.command("alerts", "tail", "--session", agent.id).stdout.splitlines()
    assert agent.id in line and "warning repeated_request: the same request" in line
    told = daemon.command("alerts", "tail", "--session", agent.id, "--json").stdout
    assert json.loads(told)["kind"] == "repeated_request"
    assert daemon.command("alerts", "tail", "-n", "0").stdout == ""


@contextmanager
def following(daemon: Daemon, *more: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "agentwatch_cli", "alerts", "tail", "-f", "--json", *more]
    process = subprocess.Popen(command, env=daemon.environ, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


def test_who_follows_hears_of_it_when_it_is_over(daemon: Daemon) -> None:
    first = loop(daemon)
    with following(daemon) as tail:
        assert tail.stdout is not None
        lines = iter(tail.stdout.readline, "")
        seen = next(json.loads(line) for line in lines if first.id in line)
        second = loop(daemon)
        alert = next(json.loads(line) for line in lines if second.id in line)
        assert alert["kind"] == seen["kind"] == "repeated_request"


def test_who_follows_ends_otherwise_than_who_follows_a_log(daemon: Daemon) -> None:
    first = loop(daemon)
    with following(daemon) as tail:
        assert tail.stdout is not None
        assert any(first.id in line for line in tail.stdout)
        tail.send_signal(signal.SIGINT)
        assert tail.wait(PATIENCE_S) == 130


def test_a_restart_ends_who_follows_or_tells_it_twice(daemon: Daemon) -> None:
    first = loop(daemon)
    with following(daemon, "-n", "1") as tail:
        assert tail.stdout is not None
        assert first.id in tail.stdout.readline()
        daemon.command("restart")
        wait_until(lambda: daemon.get("/v1/status")["pid"], what="it serves again")
        second = loop(daemon)
        assert second.id in tail.stdout.readline()


def test_nobody_to_follow_is_waited_for_without_a_word(home: Path) -> None:
    environ = {**os.environ, "AGENTWATCH_HOME": str(home), "AGENTWATCH_PORT": "0"}
    for options in ([], ["-f"], ["-f", "-n", "0"]):
        command = [sys.executable, "-m", "agentwatch_cli", "alerts", "tail", *options]
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert (done.returncode, "agentwatch up" in done.stderr) == (1, True), done.stderr


def test_a_report_says_nothing_of_alerts(daemon: Daemon) -> None:
    agent = loop(daemon)
    assert "repeated_request" in daemon.command("report", agent.id).stdout
    assert "repeated_request" in daemon.command("sessions", "show", agent.id).stdout
    report = json.loads(daemon.command("report", agent.id, "--format", "json").stdout)
    assert [each["kind"] for each in report["alerts"]] == ["repeated_request"]


def test_a_run_that_is_killed_for_its_loop_goes_on(daemon: Daemon) -> None:
    program = (
        "import json, os, time, urllib.request as u\n"
        "ask = u.Request(os.environ['OPENAI_BASE_URL'] + '/chat/completions',"
        " json.dumps({'model': 'gpt-4o-mini', 'max_tokens': 5, 'messages':"
        " [{'role': 'user', 'content': 'again'}]}).encode(),"
        " {'Authorization': 'Bearer ' + os.environ['OPENAI_API_KEY']})\n"
        "while True:\n    try:\n        u.urlopen(ask).read()\n"
        "    except Exception:\n        pass\n    time.sleep(0.05)\n"
    )
    done = daemon.command(
        "run", "--budget", "1", "--on-anomaly", "kill", "--", sys.executable, "-c", program
    )
    assert done.returncode == 124, done.stderr
    assert "1 alert (repeated_request)" in done.stderr
    assert "was killed for repeated_request: the same request, 5 times" in done.stderr
