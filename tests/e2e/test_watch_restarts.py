"""A runaway is not forgiven because the daemon was started again: what `prompt_growth` is judged by
is kept, and what it told stays told."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from harness import Agent, Daemon, chat, wait_until

Restart = Callable[[Daemon], None]


def dies(daemon: Daemon) -> None:
    """The serving process is killed, and its supervisor starts another."""
    pid = daemon.pid
    os.kill(pid, signal.SIGKILL)

    def another() -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            return daemon.pid != pid
        return False

    wait_until(another, what="nobody serves")


def down_and_up(daemon: Daemon) -> None:
    assert daemon.down().returncode == 0
    daemon.up()


def prompts(agent: Agent, *sizes: int, thread: str = "main") -> None:
    """Calls with about so many tokens in."""
    for size in sizes:
        said = [{"role": "user", "content": "four" * size}]
        reply = agent.post(body=chat() | {"messages": said}, headers={"thread-id": thread})
        assert reply.status == 200


def growth(agent: Agent) -> list[dict[str, Any]]:
    """The session's alerts of it, the oldest first."""
    return [each for each in agent.show()["alerts"] if each["kind"] == "prompt_growth"]


@pytest.mark.parametrize("restart", [dies, down_and_up])
def test_a_runaway_that_outlives_the_daemon_begins_with_a_clean_window(
    start_daemon: Callable[..., Daemon], restart: Restart
) -> None:
    daemon = start_daemon()
    agent = daemon.open(5.0)
    prompts(agent, 2_000, 4_000, 8_000)
    prompts(agent, 100, thread="title")
    assert growth(agent) == []
    restart(daemon)
    prompts(agent, 100, thread="title")
    prompts(agent, 16_000)
    (alert,) = growth(agent)
    assert (alert["severity"], alert["ended_at"]) == ("warning", None)
    assert alert["evidence"]["thread"] == "main"
    assert len(alert["evidence"]["prompt_tokens"]) == 4

    # it was told, and is not told again before a ratio of at most 1.4 was seen
    restart(daemon)
    assert growth(agent) == [alert]
    prompts(agent, 32_000, 50_000)
    assert growth(agent) == [alert]
    prompts(agent, 60_000)
    (over,) = growth(agent)
    assert over == alert | {"ended_at": over["ended_at"]} and over["ended_at"] > over["at"]
    prompts(agent, 1_000, 2_000, 4_000, 8_000)
    assert [each["ended_at"] is None for each in growth(agent)] == [False, True]
    assert daemon.get("/v1/verify")["ledger"] == "ok"


def test_a_session_that_was_resumed_is_still_judged_by_what_it_did_before(
    start_daemon: Callable[..., Daemon],
) -> None:
    daemon = start_daemon()
    agent = daemon.open(5.0, on_anomaly="pause")
    prompts(agent, 2_000, 4_000, 8_000, 16_000)
    assert agent.show()["state"] == "paused"
    dies(daemon)
    agent.do("resume")
    assert growth(agent)[0]["ended_at"] is not None
    dies(daemon)
    prompts(agent, 32_000, 64_000, 64_000)
    assert (agent.show()["state"], len(growth(agent))) == ("active", 1)
