"""Telemetry of a real daemon: each call's record, what is kept by which setting, and that what was
purged is in no file."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from harness import Agent, Daemon, chat, nanos, wait_until

from agentwatch.standin.process import StandinProcess

MAIL = "alice.canary@example.com"
SECRET = "gh" + "p_aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5"
WORD = "canary-prompt-31415926"
BLOB = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo" * 40
START = Callable[..., Daemon]


def said(*texts: str, **fields: Any) -> dict[str, Any]:
    """A chat that says these."""
    return chat(**fields) | {"messages": [{"role": "user", "content": text} for text in texts]}


def exported(agent: Agent, daemon: Daemon, *options: str) -> list[dict[str, Any]]:
    """The session's records, by the command line."""
    told = daemon.command("sessions", "export", agent.id, *options)
    assert told.returncode == 0, told.stderr
    return [json.loads(line) for line in told.stdout.splitlines()]


def files_with(home: Path, text: str) -> list[str]:
    """The files below a home that hold this."""
    return [
        path.name
        for path in home.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    ]


def test_each_call_has_its_record(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(1.0, project="shop", team="web")
    agent.post(body=said("hello", f"write to {MAIL}"))
    agent.post(body=said("hello", stream=True))
    agent.post(body=chat("status=429"))
    agent.post(body=said("hello", max_tokens=-1))
    agent.set_budget(0.0000001)
    agent.post(body=said("hello"))
    shown = agent.at_rest()
    whole, streamed, failed, bad, poor = exported(agent, daemon)
    for record in (whole, streamed):
        assert record["basis"] == "usage"
        assert record["ended"] == "complete"
        assert record["status"] == 200
        assert record["output_tokens"] == record["usage"]["output_tokens"] > 0
        assert 0 < record["first_byte_s"] <= record["seconds"]
        assert record["answer_bytes"] > 100
    assert [whole["iteration"], streamed["iteration"], failed["iteration"]] == [1, 2, 3]
    assert [whole["stream"], streamed["stream"]] == [False, True]
    assert (whole["project"], whole["team"], whole["provider"]) == ("shop", "web", "openai")
    assert whole["risks"] == ["PII_EMAIL"]
    assert streamed["risks"] == []
    assert (failed["ended"], failed["basis"], failed["status"]) == ("failed", "void", 429)
    assert (bad["verdict"], bad["reason"]) == ("refused", "bad_request")
    assert (poor["verdict"], poor["reason"]) == ("refused", "agent_budget_exceeded")
    assert shown["risks"] == {"PII_EMAIL": 1}
    cost = sum(nanos(record["cost_usd"]) for record in (whole, streamed, failed, bad, poor))
    assert cost == nanos(shown["settled_usd"]) > 0


def test_calls_made_elsewhere_have_theirs(daemon: Daemon) -> None:
    agent = daemon.open(1.0, project="shop")
    call = {"session_id": agent.id, "provider": "openai", "model": "gpt-4o", "input_tokens": 900}
    for verb, body in (
        ("settle", {"usage": {"prompt_tokens": 800, "completion_tokens": 20}}),
        ("settle", {}),
        ("void", {}),
    ):
        held = daemon.call("POST", "/v1/holds", call | {"max_output_tokens": 100})
        daemon.call("POST", f"/v1/holds/{held['hold_id']}/{verb}", body)
    refused = daemon.call("POST", "/v1/holds", call | {"input_tokens": 10**8}, check=False)
    assert refused["error"]["code"] == "agent_budget_exceeded"
    record = {"model": "gpt-4o", "prompt_tokens": 700, "completion_tokens": 10, "latency_ms": 2000}
    told_of = daemon.call("POST", "/v1/ingest", {**record, "session_id": agent.id})
    assert told_of["charged_usd"] > 0
    shown = agent.at_rest()
    *allowed, poor, told = exported(agent, daemon)
    settled, in_full, given_back = allowed
    assert [each["ended"] for each in allowed] == ["complete", "lost", "not_sent"]
    assert {each["verdict"] for each in allowed} == {"allowed"}
    assert (settled["held_usd"], settled["cost_usd"]) == (held["held_usd"], 0.0022)
    assert (in_full["cost_usd"], given_back["cost_usd"]) == (held["held_usd"], 0)
    assert (poor["verdict"], poor["reason"]) == ("refused", "agent_budget_exceeded")
    assert (told["verdict"], told["ended"], told["seconds"]) == ("elsewhere", "complete", 2.0)
    assert {each["project"] for each in (*allowed, poor, told)} == {"shop"}
    assert [each["iteration"] for each in (*allowed, told)] == [1, 2, 3, 4]
    assert len({each["request_id"] for each in (*allowed, told)}) == 4
    calls = (*allowed, told)
    assert sum(nanos(each["cost_usd"]) for each in calls) == nanos(shown["settled_usd"])
    row = shown["by_model"]["gpt-4o"]
    assert row["calls"] == 3
    assert sum(each["input_tokens"] for each in calls) == row["input_tokens"] == 1500
    spans = daemon.command("sessions", "export", agent.id, "--format", "otlp").stdout
    assert len(spans.splitlines()) == 4


@pytest.mark.parametrize("payloads", ["none", "metadata", "redacted", "full"])
def test_what_is_said_is_in_the_files_as_the_setting_allows(
    start_daemon: START, payloads: str
) -> None:
    daemon = start_daemon(telemetry_payloads=payloads, log_level="debug")
    agent = daemon.open(1.0)
    text = f"{WORD} {MAIL} {SECRET} data:image/png;base64,{BLOB}"
    agent.post(body=said(text))
    agent.post(body=said(text, stream=True))
    records = exported(agent, daemon)
    assert len(records) == 2
    assert all(record["risks"] == ["PII_EMAIL", "SECRET_GITHUB"] for record in records)
    told = json.dumps([record.get("payload") for record in records])
    kept = payloads in ("redacted", "full")
    assert (WORD in told) == kept
    assert (MAIL in told) == (SECRET in told) == (BLOB in told) == (payloads == "full")
    assert ("[PII_EMAIL] [SECRET_GITHUB]" in told) == (payloads == "redacted")
    daemon.down()
    # what is kept is compressed, so that it can be met in no file as it is
    for canary in (WORD, MAIL, SECRET, BLOB):
        assert files_with(daemon.home, canary) == []


def test_what_was_purged_is_in_no_file(start_daemon: START) -> None:
    daemon = start_daemon(telemetry_payloads="full")
    doomed, spared = (daemon.open(1.0, session_id=name) for name in ("doomed", "spared"))
    for agent, word in ((doomed, WORD), (spared, "spared-words"), (doomed, WORD)):
        agent.post(body=said(word))
    ids = [record["request_id"] for record in exported(doomed, daemon)]
    assert hidden_in(daemon.home, WORD) and hidden_in(daemon.home, "spared-words")
    assert telemetry_with(daemon.home, ids)
    told = daemon.command("purge", "--session", "doomed", "--json")
    assert json.loads(told.stdout)["removed"] == 2, told.stderr
    assert exported(doomed, daemon) == []
    assert hidden_in(daemon.home, WORD) == [] and hidden_in(daemon.home, "spared-words")
    assert telemetry_with(daemon.home, ids) == []
    # its money is another matter
    assert doomed.settled > 0
    told = daemon.command("purge", "--before", "2024-01-01", "--yes")
    assert told.stdout == "0 records removed\n"
    told = daemon.command("purge", "--all", "--yes", "--json")
    assert json.loads(told.stdout)["removed"] == 1, told.stderr
    assert hidden_in(daemon.home, "spared-words") == []
    # a slip in the id is no removal
    told = daemon.command("purge", "--session", "domed")
    assert (told.returncode, told.stdout) == (1, "") and "domed" in told.stderr
    assert daemon.command("purge", "--session", "doomed").stdout == "0 records removed\n"


def hidden_in(home: Path, text: str) -> list[str]:
    """The files below a home that hold this, compressed, be it in pages that are in use or not."""
    found = []
    for path in home.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        for match in re.finditer(re.escape(b"\x28\xb5\x2f\xfd"), data):
            with contextlib.suppress(zstandard.ZstdError):
                unpacked = (
                    zstandard.ZstdDecompressor()
                    .decompressobj()
                    .decompress(data[match.start() : match.start() + 4096])
                )
                if text.encode() in unpacked:
                    found.append(path.name)
    return found


def telemetry_with(home: Path, texts: list[str]) -> list[str]:
    """The telemetry's files that hold one of these."""
    return [
        path.name
        for path in home.glob("telemetry*")
        if any(text.encode() in path.read_bytes() for text in texts)
    ]


def test_records_survive_the_daemon_s_sudden_death_and_that_of_its_process(
    start_daemon: START,
) -> None:
    daemon = start_daemon()
    agent = daemon.open(1.0)
    agent.post(body=said("one"))
    assert len(exported(agent, daemon)) == 1
    worker = worker_of(daemon)
    subprocess.run(["kill", "-KILL", str(worker)], check=True)
    agent.post(body=said("two"))
    wait_until(lambda: len(_lenient(agent, daemon)) == 2, what="a record after the process died")
    serving = daemon.pid
    subprocess.run(["kill", f"-{signal.SIGKILL}", str(serving)], check=True)
    wait_until(lambda: daemon.command("status").returncode == 0 and daemon.pid != serving)
    agent.post(body=said("three"))
    wait_until(lambda: len(_lenient(agent, daemon)) == 3, what="a record after the daemon died")


def _lenient(agent: Agent, daemon: Daemon) -> list[str]:
    return daemon.command("sessions", "export", agent.id).stdout.splitlines()


def worker_of(daemon: Daemon) -> int:
    """The telemetry process of a daemon."""
    serving = daemon.pid
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            if parent == serving and "telemetry_worker" in (path.parent / "cmdline").read_text():
                return int(path.parent.name)
        except OSError:
            continue
    return 0


def test_what_is_blocked_is_not_sent_and_costs_nothing(
    start_daemon: START, standin: StandinProcess
) -> None:
    daemon = start_daemon(
        risks_tags='{SECRET_GITHUB = "block", EMPLOYEE_ID = "redact", PII_PHONE = "off"}',
        risks_patterns='{EMPLOYEE_ID = "EMP-[0-9]{6}"}',
        risks_allow="*@allowed.example, EMP-000000",
        telemetry_payloads="full",
    )
    agent = daemon.open(1.0)
    reply = agent.post(body=said(f"push with {SECRET}"))
    assert (reply.status, reply.denied) == (400, "bad_request")
    assert "SECRET_GITHUB" in reply.json["error"]["message"]
    assert SECRET not in reply.body.decode()
    assert reply.headers["x-should-retry"] == "false"
    assert standin.bill()["requests"] == 0 and agent.settled == 0
    assert (
        agent.post(body=said("EMP-123456 EMP-000000 a@allowed.example +49 30 901820")).status == 200
    )
    blocked, sent = exported(agent, daemon)
    assert (blocked["verdict"], blocked["reason"]) == ("refused", "bad_request")
    assert sent["risks"] == ["EMPLOYEE_ID"]
    request = json.dumps(sent["payload"]["request"])
    assert "[EMPLOYEE_ID] EMP-000000 a@allowed.example" in request


def test_a_queue_that_can_t_be_written_delays_no_call(start_daemon: START) -> None:
    """The process is stopped: calls go on, and nothing of them is lost once it runs again."""
    daemon = start_daemon()
    agent = daemon.open(10.0)
    agent.post(body=said("first"))
    assert len(exported(agent, daemon)) == 1
    worker = worker_of(daemon)
    subprocess.run(["kill", "-STOP", str(worker)], check=True)
    try:
        begun = time.monotonic()
        for _ in range(20):
            assert agent.post(body=said("x" * 50_000)).status == 200
        assert time.monotonic() - begun < 20
    finally:
        subprocess.run(["kill", "-CONT", str(worker)], check=True)
    assert len(exported(agent, daemon)) == 21


def test_metrics_have_no_session_and_are_not_on_the_port_unless_asked(
    daemon: Daemon, start_daemon: START
) -> None:
    agent = daemon.open(1.0, session_id="private-name", project="private-project")
    agent.post(body=said(MAIL))
    exported(agent, daemon)
    told = _plain(daemon, "/metrics")
    assert 'agentwatch_calls_total{ended="complete",provider="openai"}' in told
    assert 'agentwatch_risks_total{tag="PII_EMAIL"}' in told
    assert "private" not in told
    assert _on_port(daemon, "/metrics").startswith("HTTP/1.1 404")
    shown = start_daemon(telemetry_metrics_on_port="true")
    assert "agentwatch_sessions" in _on_port(shown, "/metrics")


def _plain(daemon: Daemon, path: str) -> str:
    from harness import _UnixConnection

    connection = _UnixConnection(daemon.home / "agentwatch.sock")
    connection.request("GET", path)
    try:
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def _on_port(daemon: Daemon, path: str) -> str:
    import socket

    with socket.create_connection(("127.0.0.1", daemon.port), timeout=30) as sock:
        host = f"127.0.0.1:{daemon.port}"
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        told = b""
        while piece := sock.recv(65536):
            told += piece
    return told.decode()
