"""Claude, when something is wrong: refusals that Anthropic's SDK understands and does not repeat,
limits that are put in, streams that break, clients that vanish, keys in either slot."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from harness import PATIENCE_S, Agent, Daemon, nanos, wait_until

from agentwatch.standin.process import StandinProcess

MODEL = "claude-sonnet-5"
#: nanos for a token of output
RATE = 10_000


@pytest.fixture(scope="module")
def module_daemon(module_start: Callable[..., Daemon]) -> Daemon:
    """One that reads on for half a second after a client has gone."""
    return module_start(enforcement_drain_s="0.5")


@pytest.fixture(scope="module")
def line() -> Iterator[anthropic.DefaultHttpxClient]:
    """The connections of all clients: making them costs more than a call."""
    with anthropic.DefaultHttpxClient() as client:
        yield client


@pytest.fixture
def sdk(
    daemon: Daemon, line: anthropic.DefaultHttpxClient
) -> Callable[[Agent], anthropic.Anthropic]:
    """Anthropic's client for an agent, with its own retries."""
    base = f"http://127.0.0.1:{daemon.port}/anthropic"
    return lambda agent: anthropic.Anthropic(
        http_client=line, base_url=base, api_key=agent.token, timeout=PATIENCE_S
    )


def asked(directive: str = "", **fields: Any) -> dict[str, Any]:
    said = f"hello [[standin: {directive}]]" if directive else "hello"
    messages = [{"role": "user", "content": said}]
    return {"model": MODEL, "max_tokens": 1000, "messages": messages, **fields}


def post(agent: Agent, body: Any, path: str = "/v1/messages", **headers: str) -> Any:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return agent.post(path, body, told, base="/anthropic")


# ---- refusals


def test_a_refusal_is_retried_by_the_sdk(daemon: Daemon, standin: StandinProcess, sdk: Any) -> None:
    agent = daemon.open(0.0000001)
    with pytest.raises(anthropic.APIStatusError) as raised:
        sdk(agent).messages.create(**asked())
    answer = raised.value
    assert (answer.status_code, type(answer).__name__) == (402, "PaymentRequiredError")
    assert answer.body["error"]["type"] == "billing_error"
    assert answer.body["error"]["code"] == "agent_budget_exceeded"
    assert answer.response.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.response.headers
    assert answer.response.headers["x-agentwatch-denied"] == "agent_budget_exceeded"
    assert f"agentwatch sessions budget {agent.id} USD" in answer.body["error"]["message"]
    assert (agent.show()["refusals"], standin.bill()["requests"]) == (1, 0)


def test_a_refused_stream_is_an_error_before_its_first_byte(daemon: Daemon, sdk: Any) -> None:
    with (
        pytest.raises(anthropic.APIStatusError, match="does not allow this call"),
        sdk(daemon.open(0.0000001)).messages.stream(**asked()) as events,
    ):
        events.get_final_message()


@pytest.mark.parametrize(
    ("path", "change", "status", "reason"),
    [
        ("/v1/messages", {"model": "claude-nobody"}, 403, "model_not_priced"),
        ("/v1/messages", {"model": "gpt-4o"}, 403, "model_not_priced"),
        ("/v1/messages", {"speed": "fast"}, 403, "model_not_priced"),
        ("/v1/messages", {"speed": "ludicrous"}, 403, "model_not_priced"),
        ("/v1/messages", {"inference_geo": "moon"}, 403, "model_not_priced"),
        ("/v1/messages", {"tools": [{"type": "code_execution_20260521"}]}, 403, "model_not_priced"),
        ("/v1/messages", {"max_tokens": -1}, 400, "bad_request"),
        ("/v1/messages", {"stream": 1}, 400, "bad_request"),
        ("/v1/messages/batches", {}, 403, "path_not_governed"),
        ("/v1/sessions", {}, 403, "path_not_governed"),
    ],
)
def test_what_can_not_be_governed_is_sent(
    daemon: Daemon,
    standin: StandinProcess,
    path: str,
    change: dict[str, Any],
    status: int,
    reason: str,
) -> None:
    reply = post(daemon.open(1.0), asked(**change), path)
    assert (reply.status, reply.denied) == (status, reason)
    assert reply.json["type"] == "error"
    assert reply.json["error"]["code"] == reason
    assert standin.bill()["requests"] == 0


@pytest.mark.parametrize(
    ("verb", "reason"), [("kill", "session_killed"), ("pause", "session_paused")]
)
def test_a_session_that_was_stopped_goes_on(daemon: Daemon, verb: str, reason: str) -> None:
    agent = daemon.open(1.0)
    agent.do(verb)
    reply = post(agent, asked())
    assert (reply.status, reply.json["error"]["type"]) == (403, "permission_error")
    assert reply.json["error"]["code"] == f"session_{verb}".rstrip("e") + "ed"


def test_nobody_is_known_by_a_key_of_anthropics(daemon: Daemon) -> None:
    reply = post(daemon.open(1.0), asked(), Authorization="", x_api_key="sk-ant-api03-x")
    assert (reply.status, reply.json["error"]["type"]) == (401, "authentication_error")
    assert reply.denied == "unknown_credential"


# ---- keys, paths, headers


@pytest.mark.parametrize("slot", ["Authorization", "x-api-key", "both"])
@pytest.mark.parametrize("path", ["/messages", "/v1/messages", "/v1/v1/messages?beta=true"])
def test_the_key_is_swapped_in_the_slot_it_came_in(
    daemon: Daemon, standin: StandinProcess, slot: str, path: str
) -> None:
    agent = daemon.open(1.0)
    headers = {
        "Authorization": "" if slot == "x-api-key" else f"Bearer {agent.token}",
        "x-api-key": "" if slot == "Authorization" else agent.token,
        "anthropic-version": "2026-10-21",
        "anthropic-beta": "context-management-2025-06-27",
    }
    told = {name: value for name, value in headers.items() if value or name == "Authorization"}
    assert agent.post(path, asked("tokens=3"), told, base="/anthropic").status == 200
    (seen,) = standin.requests()
    assert seen["credential_ok"] and seen["leaks"] == []
    kept = {"authorization", "x-api-key"} & set(seen["headers"])
    assert kept == {"x-api-key"} if slot == "x-api-key" else {"authorization"}
    assert {"anthropic-version", "anthropic-beta"} <= set(seen["headers"])
    assert nanos(agent.at_rest()["settled_usd"]) == standin.bill()["billed_nanos"] > 0


def test_counting_and_listing_cost_nothing(
    daemon: Daemon, standin: StandinProcess, sdk: Any
) -> None:
    agent = daemon.open(0.0000001)
    client = sdk(agent)
    free = {key: value for key, value in asked().items() if key != "max_tokens"}
    assert client.messages.count_tokens(**free).input_tokens == 14
    assert client.beta.messages.count_tokens(**free).input_tokens == 14
    assert len(list(client.models.list(limit=20))) > 5
    assert client.models.retrieve(MODEL).id == MODEL
    assert (agent.settled, agent.show()["iterations"]) == (0, 0)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_openai_compatible_path(daemon: Daemon, standin: StandinProcess, stream: bool) -> None:
    agent = daemon.open(1.0)
    base = f"http://127.0.0.1:{daemon.port}/anthropic/v1"
    body = asked("tokens=12")
    with openai.OpenAI(base_url=base, api_key=agent.token, timeout=PATIENCE_S) as client:
        answer = client.chat.completions.create(**body, stream=stream)
        assert not stream or all(chunk.choices for chunk in answer)
        assert nanos(agent.at_rest()["settled_usd"]) == standin.bill()["billed_nanos"] > 0
        agent.set_budget(0.0000001)
        with pytest.raises(openai.BadRequestError) as raised:
            client.chat.completions.create(**body)
    assert raised.value.code == "agent_budget_exceeded"


def _plain(body: bytes) -> bytes:
    """Without what differs from call to call."""
    return re.sub(rb"req-\d+", b"req", body)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("odd", ["", "eol=crlf", "eol=cr", "write=7", "utf8", "usage=every"])
def test_bytes_are_changed_on_their_way(
    daemon: Daemon, standin: StandinProcess, odd: str, stream: bool
) -> None:
    agent = daemon.open(1.0)
    body = asked(f"tokens=12 {odd}", stream=stream)
    through = post(agent, body)
    request = urllib.request.Request(
        standin.of("anthropic") + "/v1/messages",
        json.dumps(body).encode(),
        {"x-api-key": standin.key, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as direct:
        assert _plain(through.body) == _plain(direct.read())
    assert nanos(agent.at_rest()["settled_usd"]) * 2 == standin.bill()["billed_nanos"]


# ---- limits that are put in


def test_a_small_session_gets_a_limit_that_its_thinking_fits_into(
    daemon: Daemon, standin: StandinProcess
) -> None:
    """Claude Code asks for 32,000 tokens and more: refused, the first call would be the last."""
    agent = daemon.open(0.5)
    thinking = {"type": "enabled", "budget_tokens": 50_000}
    reply = post(agent, asked("tokens=200 reasoning=99", max_tokens=128_000, thinking=thinking))
    assert reply.status == 200, reply.body
    clamped = int(reply.headers["x-agentwatch-clamped"])
    assert 4096 <= clamped < 50_000
    assert standin.requests()[0]["limit"] == clamped
    assert nanos(agent.at_rest()["settled_usd"]) == standin.bill()["billed_nanos"] > 0


def test_filling_the_cache_is_held_and_billed(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(1.0)
    keep = {"type": "ephemeral", "ttl": "1h"}
    body = asked("density=1 write_long=30", max_tokens=0, cache_control=keep)
    assert post(agent, body).status == 200
    assert nanos(agent.at_rest()["settled_usd"]) == standin.bill()["billed_nanos"] > 30 * 4_000


# ---- streams that break


@pytest.mark.parametrize("how", ["cut", "end", "reset", "error"])
def test_a_stream_breaks_and_nothing_is_charged(
    daemon: Daemon, standin: StandinProcess, how: str
) -> None:
    """Nor is its input charged at its bound: that had been told."""
    agent = daemon.open(1.0)
    body = asked(f"tokens=40 {how}=20", system="w" * 20_000, stream=True)
    assert post(agent, body).status == 200
    shown = agent.at_rest()
    settled, billed = nanos(shown["settled_usd"]), standin.bill()["billed_nanos"]
    assert shown["estimated"] == 1
    # 5,000 tokens of input, 20 of output; and what may have been thought unseen
    assert 0 < billed <= settled < billed + 1_000 * RATE


def test_an_error_in_mid_stream_is_raised(daemon: Daemon, sdk: Any) -> None:
    with (
        pytest.raises(anthropic.APIStatusError, match="Overloaded"),
        sdk(daemon.open(1.0)).messages.stream(**asked("tokens=40 error=20")) as events,
    ):
        list(events)


@pytest.mark.parametrize("usage", ["missing", "null", "zero", "negative", "huge", "text", "small"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_report_that_can_not_be_meant(
    daemon: Daemon, standin: StandinProcess, usage: str, stream: bool
) -> None:
    agent = daemon.open(1.0)
    assert post(agent, asked(f"tokens=64 usage={usage}", stream=stream)).status == 200
    shown = agent.at_rest()
    if usage == "small" and not stream:
        return  # a whole answer's text alone does not give it away
    assert nanos(shown["settled_usd"]) >= standin.bill()["billed_nanos"] > 0
    assert shown["estimated"] == 1


def test_a_kill_ends_a_stream_with_an_error_that_the_sdk_raises(
    daemon: Daemon, standin: StandinProcess, sdk: Any
) -> None:
    agent = daemon.open(1.0)

    def kill_in_the_middle() -> None:
        with sdk(agent).messages.stream(**asked("tokens=900 delay=0.02")) as events:
            for number, _ in enumerate(events):
                if number == 9:
                    agent.do("kill")

    with pytest.raises(anthropic.APIStatusError, match="was killed") as raised:
        kill_in_the_middle()
    assert raised.value.body["error"]["code"] == "session_killed"
    assert nanos(agent.at_rest()["settled_usd"]) >= standin.bill()["billed_nanos"] > 0


def test_a_stream_that_goes_past_its_limit_is_ended_where_the_money_ends(
    daemon: Daemon, standin: StandinProcess, sdk: Any
) -> None:
    agent = daemon.open(0.012)
    with (
        pytest.raises(anthropic.APIStatusError, match="used up during this answer") as raised,
        sdk(agent).messages.stream(**asked("endless ignore_limit delay=0.001")) as events,
    ):
        list(events)
    assert raised.value.body["error"]["type"] == "billing_error"
    assert agent.at_rest()["overdraft_usd"] < 0.01


@pytest.mark.parametrize("rst", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize(
    ("directive", "stream"),
    [
        ("tokens=900 delay=0.02", True),
        ("hang=after_head", True),
        ("tokens=40 head_delay=0.2", False),
    ],
    ids=["in mid-stream", "after the head", "before a whole answer"],
)
def test_a_client_vanishes(
    daemon: Daemon, standin: StandinProcess, directive: str, stream: bool, rst: bool
) -> None:
    agent = daemon.open(1.0)
    sent = agent.begin("/v1/messages", asked(directive, stream=stream), base="/anthropic")
    wait_until(lambda: standin.bill()["in_flight"] == 1)
    if stream:
        sent.head()
    sent.hang_up(rst=rst)
    shown = agent.at_rest()
    wait_until(lambda: standin.bill()["in_flight"] == 0, what="the upstream's call ended")
    settled, billed = nanos(shown["settled_usd"]), standin.bill()["billed_nanos"]
    assert settled >= billed > 0
    assert settled < 1000 * RATE


def test_the_providers_own_refusals_cost_nothing(
    daemon: Daemon, standin: StandinProcess, sdk: Any
) -> None:
    agent = daemon.open(1.0)
    with pytest.raises(anthropic.APIStatusError) as raised:
        sdk(agent).messages.create(**asked("status=529"))
    assert raised.value.status_code == 529
    assert standin.bill()["requests"] == 3  # the SDK asks again: each is a call of its own
    shown = agent.at_rest()
    assert (shown["settled_usd"], shown["iterations"]) == (0, 3)


def test_an_answer_that_is_packed_is_read(
    daemon: Daemon, standin: StandinProcess, sdk: Any
) -> None:
    agent = daemon.open(1.0)
    assert sdk(agent).messages.create(**asked("tokens=9 gzip=on")).usage.output_tokens == 9
    with sdk(agent).messages.stream(**asked("tokens=9 gzip=on")) as events:
        assert events.get_final_message().usage.output_tokens == 9
    assert nanos(agent.at_rest()["settled_usd"]) == standin.bill()["billed_nanos"] > 0
