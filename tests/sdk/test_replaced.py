"""Watched clients while the process that serves is replaced, and still has calls that are out."""

from __future__ import annotations

import threading

import pytest
from harness import Daemon, chat, wait_until

from agentwatch import WatchedOpenAI, draining
from agentwatch.sdk.session import Through
from agentwatch.standin.process import StandinProcess


def test_a_daemon_that_lets_its_calls_end_is_taken_for_one_that_hangs(
    beside: Daemon, standin: StandinProcess, program: pytest.MonkeyPatch
) -> None:
    """`timeout_seconds` is short, and the client could go alone."""
    client = WatchedOpenAI(
        api_key="sk-own", base_url=standin.url, timeout_seconds=0.2, max_retries=0
    )
    client.chat.completions.create(**chat())
    out = beside.open(1.0)
    slow = threading.Thread(target=lambda: out.post(body=chat("tokens=3 head_delay=3")))
    slow.start()
    wait_until(lambda: beside.get(f"/v1/sessions/{out.id}")["held_usd"] > 0)
    before = beside.pid
    restart = threading.Thread(target=lambda: beside.command("restart"))
    restart.start()
    socket = str(beside.home / "agentwatch.sock")
    wait_until(lambda: draining.lasts_until(socket) > 0)
    # as one is let through again that the old process closed its connection on
    again = client.agentwatch_session.admit(can_go_alone=True, anew=True)
    assert isinstance(again, Through)
    client.chat.completions.create(**chat())
    slow.join()
    restart.join()
    status = beside.get("/v1/status")
    assert status["pid"] != before
    assert status["fail_open"] == {}
    assert standin.bill()["requests"] == 3
    assert draining.lasts_until(socket) == 0
