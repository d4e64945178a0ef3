"""Alerts over the socket, of the real daemon: listed, followed, acknowledged, kept."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

from harness import PATIENCE_S, Agent, Daemon, _UnixConnection, chat, wait_until


def loop(agent: Agent, times: int = 6) -> None:
    """The same call again and again."""
    for _ in range(times):
        agent.post(body=chat("tokens=3"))


def alerts_of(daemon: Daemon, agent: Agent) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon.get(f"/v1/alerts?session_id={agent.id}")["alerts"]
    return found


def prompts(daemon: Daemon, agent: Agent, *sizes: int) -> None:
    """Prompts of about so many tokens, by the caller's own count."""
    for size in sizes:
        asked = {"session_id": agent.id, "provider": "openai", "model": "gpt-4o"}
        held = daemon.call("POST", "/v1/holds", {**asked, "input_tokens": size})
        usage = {"prompt_tokens": size, "completion_tokens": 5}
        daemon.call("POST", f"/v1/holds/{held['hold_id']}/settle", {"usage": usage})


def test_a_loop_has_no_alert_in_the_contract_s_shape(daemon: Daemon) -> None:
    agent = daemon.open(1.0)
    loop(agent)
    answer = daemon.get(f"/v1/alerts?session_id={agent.id}")
    assert answer["schema_version"] == 1
    (alert,) = answer["alerts"]
    assert {"id", "at", "session_id", "kind", "severity", "message", "evidence", "action"} <= set(
        alert
    )
    assert (alert["kind"], alert["severity"], alert["action"]) == (
        "repeated_request",
        "warning",
        "alert",
    )
    assert agent.show()["alerts"] == [alert]


def test_the_rule_of_the_contract_is_not_kept_by_calls_that_are_made_elsewhere(
    daemon: Daemon,
) -> None:
    agent = daemon.open(1.0)
    prompts(daemon, agent, 100, 150, 220, 320, 460, 460, 700, 1000, 1500)
    told = [(each["kind"], each["severity"]) for each in alerts_of(daemon, agent)]
    assert told == [("prompt_growth", "info"), ("prompt_growth", "warning")]


def test_growth_is_told_only_when_it_is_settled(daemon: Daemon) -> None:
    agent = daemon.open(9.0)
    asked = {"session_id": agent.id, "provider": "openai", "model": "gpt-4o"}
    for size in (2_000, 4_000, 8_000, 16_000):
        daemon.call("POST", "/v1/holds", {**asked, "input_tokens": size})
    assert [each["kind"] for each in alerts_of(daemon, agent)] == ["prompt_growth"]


def test_prompts_that_grow_through_the_proxy_are_not_seen(daemon: Daemon) -> None:
    agent = daemon.open(1.0)
    said = "some words that say nothing at all "
    for power in range(7):
        message = {"role": "user", "content": said * 2**power}
        agent.post(body={"model": "gpt-4o-mini", "max_tokens": 5, "messages": [message]})
    found = [each for each in alerts_of(daemon, agent) if each["kind"] == "prompt_growth"]
    assert len(found) == 1
    window = found[0]["evidence"]["prompt_tokens"]
    assert all(5 * later > 7 * earlier for earlier, later in pairwise(window[-4:]))


def test_a_session_is_paused_without_a_word(daemon: Daemon) -> None:
    agent = daemon.open(1.0, on_anomaly="pause")
    loop(agent, 5)
    refused = agent.post(body=chat())
    assert refused.denied == "session_paused"
    assert "the same request, 5 times" in refused.json["error"]["message"]
    assert f"agentwatch sessions resume {agent.id}" in refused.json["error"]["message"]
    agent.do("resume")
    assert agent.post(body=chat()).status == 200


def test_a_killed_session_s_call_is_sent(daemon: Daemon, standin: Any) -> None:
    agent = daemon.open(1.0, on_anomaly="kill")
    loop(agent, 5)
    assert agent.show()["state"] == "killed"
    assert len(standin.requests()) == 4


def test_alerts_do_not_survive_the_daemon(start_daemon: Callable[..., Daemon]) -> None:
    daemon = start_daemon()
    agent = daemon.open(1.0)
    loop(agent)
    before = alerts_of(daemon, agent)
    daemon.down()
    daemon.up()
    (alert,) = alerts_of(daemon, agent)
    assert {**alert, "ended_at": None} == before[0]
    assert alert["ended_at"] is not None
    assert agent.show()["alerts"] == [alert]


def test_a_follower_hears_of_alerts_too_late(daemon: Daemon) -> None:
    agent, other = daemon.open(1.0), daemon.open(1.0)
    heard: SimpleQueue[dict[str, Any]] = SimpleQueue()
    connection = _UnixConnection(daemon.home / "agentwatch.sock")
    connection.request("GET", f"/v1/alerts?follow=1&session_id={agent.id}")
    stream = connection.sock
    answer = connection.getresponse()
    assert answer.headers["Content-Type"].startswith("text/event-stream")

    def listen() -> None:
        with suppress(OSError, ValueError, AttributeError):
            while line := answer.readline():
                if line.startswith(b"data: "):
                    heard.put(json.loads(line[6:]))

    threading.Thread(target=listen, daemon=True).start()
    loop(other)
    loop(agent)
    assert heard.get(timeout=PATIENCE_S)["session_id"] == agent.id
    stream.shutdown(socket.SHUT_RDWR)


def test_what_was_seen_is_shown_as_new(daemon: Daemon) -> None:
    agent = daemon.open(1.0)
    loop(agent)
    (alert,) = alerts_of(daemon, agent)
    told = daemon.call("POST", "/v1/alerts/ack", {"ids": [alert["id"]]})
    assert told["acknowledged"] == [alert["id"]]
    again = daemon.call("POST", "/v1/alerts/ack", {"ids": [alert["id"]]})
    assert again["acknowledged"] == []
    assert daemon.get(f"/v1/alerts?session_id={agent.id}&unacked=1")["alerts"] == []
    assert agent.show()["alerts"][0]["acked_at"] is not None


def test_a_wrong_question_is_answered_as_another(daemon: Daemon) -> None:
    for query, word in [("limit=0", "limit"), ("limit=x", "limit"), ("sesion_id=s", "session_id")]:
        told = daemon.call("GET", f"/v1/alerts?{query}", check=False)
        assert word in told["error"]["message"]
    for body in ({}, {"ids": ["al1"], "all": True}, {"ids": "al1"}, {"ids": []}):
        told = daemon.call("POST", "/v1/alerts/ack", body, check=False)
        assert told["error"]["code"] == "bad_request"
    told = daemon.call("POST", "/v1/alerts/ack", {"ids": ["al0"]}, check=False)
    assert told["error"]["code"] == "unknown_alert"


def test_forty_at_once_are_told_forty_times(daemon: Daemon, standin: Any) -> None:
    agent = daemon.open(5.0)
    sent = [agent.begin(body=chat("tokens=3 head_delay=1.5")) for _ in range(24)]
    wait_until(lambda: alerts_of(daemon, agent), what="24 calls at once are not told")
    for each in sent:
        with each:
            each.reply()
    assert [each["kind"] for each in alerts_of(daemon, agent)] == ["fan_out"]
