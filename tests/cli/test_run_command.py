"""`agentwatch run` as it is used: a real process, real children, a real socket."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

PY = sys.executable
SHORT_GRACE = {"AGENTWATCH_RUN_KILL_GRACE_S": "0.3"}

USED = {
    "settled_usd": 0.0132,
    "iterations": 7,
    "input_tokens": 12345,
    "output_tokens": 678,
    "refusals": 1,
    "longest_call_s": 3.21,
    "by_model": {
        "gpt-4o": {"calls": 7, "input_tokens": 12345, "output_tokens": 678, "cost_usd": 0.0132}
    },
}


def _alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def _wait_for(condition: Any, seconds: float = 10) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def _pids(file: Path, count: int) -> list[int]:
    def read() -> list[int] | None:
        found = [int(n) for n in file.read_text().split()] if file.exists() else []
        return found if len(found) >= count else None

    return list(_wait_for(read))


#: forks twice, leads a session of its own with a clean environment, ignores SIGTERM, writes its pid
STUBBORN = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(sys.argv[1], "a") as f: f.write(f"{os.getpid()}\\n")
        time.sleep(60)
    os._exit(0)
os.wait()
with open(sys.argv[1], "a") as f: f.write(f"{os.getpid()}\\n")
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("code", [0, 1, 2, 77])
def test_the_exit_code_is_the_commands_own(fake_daemon, code):
    done = fake_daemon.agentwatch("run", "--budget", "1", "--", "sh", "-c", f"exit {code}")
    assert done.returncode == code, done.stderr


def test_a_command_that_dies_of_a_signal_ends_run_by_the_same_signal(fake_daemon):
    done = fake_daemon.agentwatch("run", "--budget", "1", "--", "sh", "-c", "kill -TERM $$")
    assert done.returncode == -signal.SIGTERM
    shell = subprocess.run(
        ["sh", "-c", f"{PY} -m agentwatch_cli run -- sh -c 'kill -9 $$'; echo $?"],
        env=fake_daemon.environment(),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert shell.stdout.strip() == "137"


def test_a_command_that_is_not_there_is_127_and_opens_no_session(fake_daemon):
    done = fake_daemon.agentwatch("run", "--", "no-such-program-at-all")
    assert done.returncode == 127
    assert "not found" in done.stderr
    assert fake_daemon.sessions == {}


def test_a_command_that_cannot_run_is_126(fake_daemon, tmp_path):
    plain = tmp_path / "plain.txt"
    plain.write_text("words")
    assert fake_daemon.agentwatch("run", "--", str(plain)).returncode == 126
    plain.chmod(0o700)
    assert fake_daemon.agentwatch("run", "--", str(plain)).returncode == 126
    assert all(s["state"] == "closed" for s in fake_daemon.sessions.values())


@pytest.mark.parametrize(
    "args",
    [
        ["--budget", "lots", "--", "true"],
        ["--budget", "-1", "--", "true"],
        ["--report", "x.doc", "--", "true"],
        ["--session", "../x", "--", "true"],
        ["--no-such-flag", "--", "true"],
        ["--budget", "1"],
    ],
)
def test_wrong_usage_is_125_and_starts_nothing(fake_daemon, args):
    done = fake_daemon.agentwatch("run", *args)
    assert done.returncode == 125
    assert fake_daemon.sessions == {}


def test_the_closing_line_tells_what_was_spent(fake_daemon):
    fake_daemon.used = USED
    fake_daemon.open({"session_id": "elsewhere"})
    done = fake_daemon.agentwatch("run", "--budget", "2.00", "--", "true")
    # the session had used nothing when it was opened, and this by its end
    assert (
        "agentwatch: spent $0.0132 of $2.00 · 7 calls · 12,345 tokens in, 678 out · gpt-4o · "
        "1 refused · longest call 3.2 s · session s-2" in done.stderr
    )
    assert done.stdout == ""


def test_a_run_that_saw_no_call_says_that_nothing_was_governed(fake_daemon):
    done = fake_daemon.agentwatch("run", "--budget", "2.00", "--", "true")
    assert "nothing was governed" in done.stderr
    fake_daemon.used = USED
    assert "nothing was governed" not in fake_daemon.agentwatch("run", "--", "true").stderr


def test_a_run_without_ceiling_says_so(fake_daemon):
    assert "no ceiling" in fake_daemon.agentwatch("run", "--", "true").stderr


def test_what_is_asked_reaches_the_daemon(fake_daemon):
    flags = [
        "--budget",
        "2",
        "--project",
        "p",
        "--team",
        "t",
        "--mode",
        "soft",
        "--on-anomaly",
        "pause",
        "--fail-closed",
    ]
    fake_daemon.agentwatch("run", *flags, "--", "true")
    assert fake_daemon.asked("POST", "/v1/sessions") == [
        {
            "budget_usd": 2.0,
            "project": "p",
            "team": "t",
            "mode": "soft",
            "on_anomaly": "pause",
            "fail_open": False,
            "wrapper": True,
        }
    ]


def test_own_session_is_closed_and_a_given_one_left_open(fake_daemon):
    fake_daemon.agentwatch("run", "--", "true")
    fake_daemon.agentwatch("run", "--session", "mine", "--", "true")
    assert fake_daemon.sessions["s-1"]["state"] == "closed"
    assert fake_daemon.sessions["mine"]["state"] == "active"


def test_a_paused_session_is_joined_in_silence(fake_daemon):
    fake_daemon.open({"session_id": "mine"})
    fake_daemon.sessions["mine"]["state"] = "paused"
    told = fake_daemon.agentwatch("run", "--session", "mine", "--", "true").stderr
    assert "session mine is paused, and every call is refused" in told


def test_flags_after_the_command_are_the_commands(fake_daemon):
    done = fake_daemon.agentwatch("run", "--budget", "1", "echo", "--json", "-x", "--", "y")
    assert done.stdout == "--json -x -- y\n"


def test_the_command_finds_the_token_and_no_real_key(fake_daemon):
    real = {"OPENAI_API_KEY": "sk-real-openai-key", "MY_COPY": "sk-real-openai-key"}
    done = fake_daemon.agentwatch("run", "--", "env", env=real)
    assert "sk-real" not in done.stdout
    assert "OPENAI_API_KEY=aws_token_of_s-1\n" in done.stdout
    assert "OPENAI_BASE_URL=http://127.0.0.1:4999/openai/v1\n" in done.stdout
    assert "MY_COPY" in done.stderr


def test_the_command_is_marked_and_so_is_all_that_it_starts(fake_daemon):
    script = "env -i setsid grep 'Max file locks' /proc/self/limits"
    done = fake_daemon.agentwatch("run", "--", "sh", "-c", script)
    assert re.search(r"Max file locks\s+4141\s+4141", done.stdout)


def test_json_report_comes_last_on_stdout_and_files_by_their_ending(fake_daemon, tmp_path):
    fake_daemon.used = USED
    out = tmp_path / "r.json"
    done = fake_daemon.agentwatch(
        "run", "--budget", "2", "--json", "--report", str(out), "--", "sh", "-c", "echo hi; exit 3"
    )
    head, _, rest = done.stdout.partition("\n")
    report = json.loads(rest)
    assert head == "hi"
    assert report == json.loads(out.read_text())
    assert report["schema_version"] == 1
    assert (report["exit_code"], report["calls"], report["refusals"]) == (3, 7, 1)
    assert report["total_cost_usd"] == 0.0132
    assert report["by_model"]["gpt-4o"]["cost_usd"] == 0.0132
    assert "token" not in report and "aws_" not in out.read_text()


def test_ci_ends_with_124_where_the_budget_was_exceeded_and_writes_the_summary(
    fake_daemon, tmp_path
):
    summary = tmp_path / "summary.md"
    fake_daemon.used = {**USED, "state": "exhausted"}
    env = {"GITHUB_STEP_SUMMARY": str(summary)}
    assert fake_daemon.agentwatch("run", "--ci", "--", "true", env=env).returncode == 124
    assert "gpt-4o" in summary.read_text()
    assert fake_daemon.agentwatch("run", "--", "true").returncode == 0


def test_kill_ends_every_descendant_a_double_forked_one_too(fake_daemon, tmp_path):
    file = tmp_path / "pids"
    run = fake_daemon.popen(
        "run", "--budget", "1", "--", PY, "-c", STUBBORN, str(file), "60", env=SHORT_GRACE
    )
    pids = _pids(file, 2)
    fake_daemon.kill("s-1")
    started = time.monotonic()
    _out, err = run.communicate(timeout=10)
    assert run.returncode == 124, err
    assert time.monotonic() - started < 0.3 + 1.0
    assert not [pid for pid in pids if _alive(pid)]
    assert "killed" in err
    assert fake_daemon.asked("POST", "/v1/sessions/s-1/close") == []


def test_a_kill_is_noticed_though_the_daemon_was_restarted_meanwhile(fake_daemon):
    run = fake_daemon.popen("run", "--budget", "1", "--", "sleep", "60", env=SHORT_GRACE)
    _wait_for(lambda: fake_daemon.followers)
    fake_daemon.stop()
    _wait_for(lambda: not fake_daemon.followers)
    fake_daemon.sessions["s-1"]["state"] = "killed"
    fake_daemon.start()
    run.communicate(timeout=10)
    assert run.returncode == 124


def test_a_budget_refusal_ends_the_command_only_where_asked(fake_daemon):
    for flags, code in ((["--on-exceeded", "kill"], 124), ([], 0)):
        run = fake_daemon.popen("run", *flags, "--", "sleep", "1", env=SHORT_GRACE)
        fake_daemon.push(kind="refusal", reason="agent_budget_exceeded")
        _wait_for(lambda run=run: run.poll() is not None or fake_daemon.followers == 0)
        _out, err = run.communicate(timeout=10)
        assert run.returncode == code, err


@pytest.mark.parametrize("state", ["exhausted", "paused"])
def test_the_last_line_says_what_works_as_run_has_closed_the_session(fake_daemon, state):
    fake_daemon.used = {**USED, "state": state}
    done = fake_daemon.agentwatch("run", "--budget", "1", "--", "true")
    assert "its session is closed. To go on: run it again" in done.stderr.splitlines()[-1]
    assert len(fake_daemon.asked("POST", "/v1/sessions/s-1/close")) == 1


def test_another_refusal_does_not_end_the_command(fake_daemon):
    run = fake_daemon.popen("run", "--on-exceeded", "kill", "--", "sleep", "0.5")
    fake_daemon.push(kind="refusal", reason="path_not_governed")
    run.communicate(timeout=10)
    assert run.returncode == 0


def test_what_the_command_leaves_behind_is_ended_and_told(fake_daemon, tmp_path):
    file = tmp_path / "pids"
    done = fake_daemon.agentwatch(
        "run", "--", PY, "-c", STUBBORN, str(file), "0.1", env=SHORT_GRACE
    )
    assert done.returncode == 0
    assert "left behind" in done.stderr
    assert not [pid for pid in _pids(file, 2) if _alive(pid)]


def test_the_command_dies_when_run_is_killed_hard(fake_daemon, tmp_path):
    file = tmp_path / "pid"
    run = fake_daemon.popen("run", "--", "sh", "-c", f"echo $$ > {file}; exec sleep 60")
    (pid,) = _pids(file, 1)
    run.kill()
    run.communicate(timeout=10)
    _wait_for(lambda: not _alive(pid), 3)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_that_are_sent_to_run_reach_the_command(fake_daemon, signum):
    code = (
        "import signal,sys,time\n"
        f"signal.signal({int(signum)}, lambda *a: sys.exit(42))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    run = fake_daemon.popen("run", "--", PY, "-c", code)
    assert run.stdout.readline() == "ready\n"
    run.send_signal(signum)
    _out, err = run.communicate(timeout=10)
    assert run.returncode == 42, err


def _ends_without_daemon(fake_daemon: Any, *flags: str, code: int) -> tuple[int, str]:
    run = fake_daemon.popen(
        "run", *flags, "--", "sh", "-c", f"read x; exit {code}", stdin=subprocess.PIPE
    )
    _wait_for(lambda: fake_daemon.followers)
    fake_daemon.stop()
    fake_daemon.socket.unlink()
    _out, err = run.communicate("go\n", timeout=10)
    return run.returncode, err


def test_a_daemon_that_is_gone_at_the_end_costs_the_report_not_the_exit_code(fake_daemon):
    code, err = _ends_without_daemon(fake_daemon, code=5)
    assert code == 5
    assert "sessions show s-1" in err


@pytest.mark.parametrize(
    ("flags", "own", "code"),
    [(["--ci"], 0, 125), (["--report", "r.json"], 0, 125), (["--ci"], 3, 3), ([], 0, 0)],
)
def test_ci_is_not_green_where_nobody_knows_how_the_run_ended(
    fake_daemon, tmp_path, monkeypatch, flags, own, code
):
    monkeypatch.chdir(tmp_path)
    found, err = _ends_without_daemon(fake_daemon, *flags, code=own)
    assert found == code, err
    assert ("whether its budget held can't be told" in err) == (code == 125)
    assert ("r.json was not written" in err) == ("--report" in flags)


def test_a_run_inside_a_run_joins_it_and_can_only_lower_its_ceiling(fake_daemon):
    inner = f"{PY} -m agentwatch_cli run --budget"
    fake_daemon.agentwatch("run", "--budget", "2", "--", "sh", "-c", f"{inner} 9 -- true")
    assert list(fake_daemon.sessions) == ["s-1"]
    assert fake_daemon.asked("PUT", "/v1/sessions/s-1/budget") == []
    done = fake_daemon.agentwatch("run", "--budget", "2", "--", "sh", "-c", f"{inner} 1 -- env")
    assert "OPENAI_API_KEY=aws_token_of_s-2" in done.stdout
    assert fake_daemon.asked("PUT", "/v1/sessions/s-2/budget") == [{"budget_usd": 1.0}]
    shown = [
        auth for m, p, _, auth in fake_daemon.requests if (m, p) == ("GET", "/v1/sessions/s-2")
    ]
    assert "Bearer aws_token_of_s-2" in shown
    other = f"{PY} -m agentwatch_cli run --session other -- true"
    assert fake_daemon.agentwatch("run", "--", "sh", "-c", other).returncode == 125


def test_standard_input_and_output_are_the_commands(fake_daemon):
    run = fake_daemon.popen("run", "--", "cat", stdin=subprocess.PIPE)
    out, _err = run.communicate("through\n", timeout=10)
    assert out == "through\n"


def test_open_files_are_passed_on_as_a_shell_does(fake_daemon):
    reader, writer = os.pipe()
    code = f"import os; os.write({writer}, b'three')"
    fake_daemon.agentwatch("run", "--", PY, "-c", code, pass_fds=(writer,))
    os.close(writer)
    with os.fdopen(reader) as file:
        assert file.read() == "three"


def test_what_ends_by_itself_a_moment_later_is_not_reported_as_left_behind(fake_daemon):
    done = fake_daemon.agentwatch("run", "--budget", "1", "--", "sh", "-c", "sleep 0.1 & exit 3")
    assert done.returncode == 3
    assert "left behind" not in done.stderr
