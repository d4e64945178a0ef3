"""Kill, pause and close, and the daemon's own graceful end, with calls in flight."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import openai
import pytest
from harness import Agent, Daemon, chat, nanos, wait_until

from agentwatch.standin.process import StandinProcess

#: the figures to hold are 100 ms and 50 ms; this machine may be busy with other tests
SLACK = 5


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def _stream(sdk: openai.OpenAI, api: str, seen: list[Any]) -> None:
    """Read a stream that never ends by itself."""
    text = "hello [[standin: endless delay=0.005]]"
    if api == "chat":
        messages: Any = [{"role": "user", "content": text}]
        seen.extend(sdk.chat.completions.create(model="gpt-4o", messages=messages, stream=True))
    else:
        seen.extend(sdk.responses.create(model="gpt-4o", input=text, stream=True))


class _Reader(threading.Thread):
    """An SDK that reads an endless stream, and what it raised in the end, and when."""

    def __init__(self, agent: Agent, api: str) -> None:
        super().__init__()
        self._agent, self._api = agent, api
        self.error: Exception | None = None
        self.ended_at = 0.0
        self.start()

    def run(self) -> None:
        with self._agent.sdk(max_retries=0) as sdk:
            try:
                _stream(sdk, self._api, [])
            except openai.OpenAIError as error:
                self.error = error
        self.ended_at = time.monotonic()


def _flowing(standin: StandinProcess, count: int = 1) -> None:
    def made() -> bool:
        rows = standin.bill()["by_request"]
        return sum(row["completion_tokens"] > 5 and not row["ended"] for row in rows) == count

    wait_until(made, what="the streams flow")


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_killed_stream_looks_complete(daemon: Daemon, standin: StandinProcess, api: str) -> None:
    agent = daemon.open(5.0)
    reader = _Reader(agent, api)
    _flowing(standin)
    agent.do("kill")
    killed_at = time.monotonic()
    reader.join(20)
    assert isinstance(reader.error, openai.APIError)
    assert reader.error.code == "session_killed"
    assert reader.ended_at - killed_at < 0.1 * SLACK
    shown = agent.at_rest()
    wait_until(lambda: standin.bill()["in_flight"] == 0)
    assert nanos(shown["settled_usd"]) >= standin.bill()["billed_nanos"] > 0
    assert shown["state"] == "killed"
    began = time.monotonic()
    reply = agent.post(body=chat())
    assert time.monotonic() - began < 0.05 * SLACK
    assert (reply.status, reply.denied) == (400, "session_killed")
    assert standin.bill()["requests"] == 1


def test_a_killed_call_that_has_not_begun_to_answer(
    daemon: Daemon, standin: StandinProcess, pool: ThreadPoolExecutor
) -> None:
    agent = daemon.open(5.0)
    bodies = [chat("head_delay=60", stream=stream) for stream in (True, False)]
    asked = [pool.submit(agent.post, body=body) for body in bodies]
    wait_until(lambda: standin.bill()["in_flight"] == 2)
    agent.do("kill")
    for each in asked:
        reply = each.result(20)
        assert (reply.status, reply.denied) == (400, "session_killed")
        assert reply.headers["x-should-retry"] == "false"
    settled = nanos(agent.at_rest()["settled_usd"])
    wait_until(lambda: standin.bill()["in_flight"] == 0)
    assert settled >= standin.bill()["billed_nanos"] > 0


def test_a_kill_ends_the_calls_of_others(daemon: Daemon, standin: StandinProcess) -> None:
    killed, other = daemon.open(5.0), daemon.open(5.0)
    with ExitStack() as stack:
        for agent in (killed, killed, other):
            sent = stack.enter_context(agent.begin(body=chat("tokens=100 delay=0.01", stream=True)))
            sent.head()
        killed.do("kill")
        assert b"[DONE]" in sent.reply().body
    other.at_rest()


@pytest.mark.parametrize("mode", ["observe", "soft", "enforce"])
def test_a_killed_session_goes_on_in_another_mode(daemon: Daemon, mode: str) -> None:
    agent = daemon.open(5.0, mode=mode)
    for verb, reason in (("pause", "session_paused"), ("kill", "session_killed")):
        agent.do(verb)
        assert agent.post(body=chat()).denied == reason
    again = daemon.open(100.0, session_id=agent.id)
    assert again.post(body=chat()).denied == "session_killed"
    assert "open a new one" in again.post(body=chat()).json["error"]["message"]


def test_pause_and_close_cut_what_is_out(daemon: Daemon, standin: StandinProcess) -> None:
    for verb, reason in (("pause", "session_paused"), ("close", "session_closed")):
        agent = daemon.open(5.0)
        with agent.begin(body=chat("tokens=60 delay=0.005", stream=True)) as sent:
            sent.head()
            agent.do(verb)
            assert agent.post(body=chat()).denied == reason
            assert b"[DONE]" in sent.reply().body
        agent.at_rest()


def test_a_session_outlives_its_time(daemon: Daemon) -> None:
    agent = daemon.open(5.0, ttl_s=0.2)
    wait_until(lambda: agent.post(body=chat("tokens=1")).denied == "session_closed")


# ---- the daemon's own end


@pytest.mark.parametrize("command", ["down", "restart"])
def test_calls_in_flight_are_cut_by_a_graceful_end(
    start_daemon: Callable[..., Daemon],
    standin: StandinProcess,
    pool: ThreadPoolExecutor,
    command: str,
) -> None:
    """Queued spend is lost on SIGTERM (litellm#38157)."""
    daemon = start_daemon()
    agent = daemon.open(5.0)
    bodies = [chat("tokens=40 delay=0.04", stream=stream) for stream in (True, False)]
    asked = [pool.submit(agent.post, body=body) for body in bodies]
    wait_until(lambda: standin.bill()["in_flight"] == 2)
    assert daemon.command(command).returncode == 0
    for each in asked:
        reply = each.result(20)
        assert reply.status == 200 and not reply.broken
    if command == "down":
        daemon.up()
    assert nanos(agent.at_rest()["settled_usd"]) == standin.bill()["billed_nanos"] > 0
    again = daemon.open(5.0, session_id=agent.id)
    assert again.post(body=chat("tokens=1")).status == 200


def test_calls_that_do_not_end_hold_up_the_daemons_end(
    start_daemon: Callable[..., Daemon], standin: StandinProcess, pool: ThreadPoolExecutor
) -> None:
    daemon = start_daemon(daemon_stop_grace_s="0.5")
    agent = daemon.open(5.0)
    reader = _Reader(agent, "chat")
    whole = pool.submit(agent.post, body=chat("head_delay=300"))
    _flowing(standin)
    wait_until(lambda: standin.bill()["in_flight"] == 2)
    began = time.monotonic()
    assert daemon.down().returncode == 0
    assert time.monotonic() - began < 20
    reader.join(20)
    assert isinstance(reader.error, openai.APIError)
    assert reader.error.code == "governance_unavailable"
    assert whole.result(20).status == 503
    wait_until(lambda: standin.bill()["in_flight"] == 0)
    daemon.up()
    shown = agent.show()
    assert shown["held_usd"] == 0
    assert nanos(shown["settled_usd"]) >= standin.bill()["billed_nanos"] > 0


def test_a_call_that_waits_for_money_is_forgotten_over_a_restart(
    start_daemon: Callable[..., Daemon], standin: StandinProcess, pool: ThreadPoolExecutor
) -> None:
    """It has sent nothing: its connection closes, and the SDK asks the next process."""
    daemon = start_daemon(daemon_stop_grace_s="0.5")
    body = chat("tokens=5", model="gpt-4", max_tokens=1_000)
    agent = daemon.open(0.1)
    first = agent.begin(body=chat("head_delay=300", model="gpt-4", max_tokens=1_000, stream=True))
    wait_until(lambda: standin.bill()["in_flight"] == 1)

    def ask() -> Any:
        with agent.sdk(max_retries=4) as sdk:
            return sdk.chat.completions.create(**body)

    asked = pool.submit(ask)
    wait_until(lambda: daemon.get("/v1/status")["waiting"] == 1)
    assert daemon.command("restart").returncode == 0
    assert asked.result(30).usage.completion_tokens == 5
    first.hang_up()
    settled = nanos(agent.at_rest()["settled_usd"])
    assert settled >= standin.bill()["billed_nanos"] > 0


def test_a_call_that_waits_for_money_is_sent_by_a_daemon_that_ends(
    start_daemon: Callable[..., Daemon], standin: StandinProcess, pool: ThreadPoolExecutor
) -> None:
    """The end of the calls that are out makes room for it, and nobody would wait for its end."""
    daemon = start_daemon(daemon_stop_grace_s="0.5")
    agent = daemon.open(0.1)
    first = agent.begin(body=chat("head_delay=300", model="gpt-4", max_tokens=1_000, stream=True))
    wait_until(lambda: standin.bill()["in_flight"] == 1)
    slow = chat("tokens=900 delay=0.1", model="gpt-4", max_tokens=1_000, stream=True)
    asked = pool.submit(agent.post, body=slow)
    wait_until(lambda: daemon.get("/v1/status")["waiting"] == 1)
    began = time.monotonic()
    assert daemon.down().returncode == 0
    assert time.monotonic() - began < 5
    with pytest.raises(ConnectionError):
        asked.result(20)
    first.hang_up()
    assert standin.bill()["requests"] == 1
