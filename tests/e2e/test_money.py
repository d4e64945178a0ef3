"""What is settled is what the provider billed, to the nano-dollar, whatever API and form; and the
client gets what the provider sent."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable
from typing import Any

import openai
import pytest
from harness import Agent, Daemon, chat, nanos

from agentwatch.standin.process import StandinProcess


def _said(directive: str) -> str:
    return f"hello [[standin: {directive}]]"


def _call(sdk: openai.OpenAI, api: str, directive: str, stream: bool, **fields: Any) -> None:
    text = _said(directive)
    ways: dict[str, Any] = {
        "chat": (sdk.chat.completions.create, {"messages": [{"role": "user", "content": text}]}),
        "responses": (sdk.responses.create, {"input": text}),
        "completions": (sdk.completions.create, {"prompt": text, "max_tokens": 40}),
        "embeddings": (sdk.embeddings.create, {"input": text}),
    }
    models = {"completions": "gpt-3.5-turbo-instruct", "embeddings": "text-embedding-3-small"}
    create, given = ways[api]
    model = fields.pop("model", models.get(api, "gpt-4o-mini"))
    answer = create(model=model, **given, **({"stream": True} if stream else {}), **fields)
    if stream:
        assert list(answer)


def _agrees(agent: Agent, standin: StandinProcess) -> int:
    shown = agent.at_rest()
    bill = standin.bill()
    assert nanos(shown["settled_usd"]) == bill["billed_nanos"] > 0
    assert shown["overdraft_usd"] == 0
    assert bill["leaks"] == [] and bill["wrong_key"] == 0
    return int(bill["billed_nanos"])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("api", ["chat", "responses", "completions"])
def test_an_api_is_not_counted(
    daemon: Daemon, standin: StandinProcess, api: str, stream: bool
) -> None:
    agent = daemon.open(5.0)
    with agent.sdk() as sdk:
        _call(sdk, api, "tokens=23", stream)
        _call(sdk, api, "tokens=1 density=1", stream)
        _call(sdk, api, "tokens=60 utf8", stream)
    _agrees(agent, standin)
    assert agent.show()["estimated"] == 0


def test_embeddings_are_not_counted(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(1.0)
    with agent.sdk() as sdk:
        _call(sdk, "embeddings", "", False)
        sdk.embeddings.create(model="text-embedding-3-large", input=["one", "two two", "three"])
    _agrees(agent, standin)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("api", "directive", "fields"),
    [
        ("chat", "tokens=9 cached=6", {}),
        ("chat", "tokens=9 density=1 cached=10 cache_write=4", {"model": "gpt-5"}),
        ("chat", "tokens=9 reasoning=300", {"model": "gpt-5"}),
        ("chat", "tokens=9", {"n": 3}),
        ("chat", "tokens=9 answer_model=gpt-4o", {}),
        ("chat", "tokens=9 answer_tier=priority", {"model": "gpt-4o"}),
        ("chat", "tokens=9", {"model": "gpt-5", "service_tier": "flex"}),
        ("chat", "tokens=9 answer_tier=default", {"model": "gpt-5", "service_tier": "priority"}),
        ("chat", "tokens=9 usage=every", {}),
        ("responses", "tokens=9 cached=6", {"model": "gpt-5"}),
        ("responses", "tokens=9 reasoning=300", {"model": "o3"}),
        ("responses", "tokens=9 answer_model=gpt-4.1", {}),
        ("responses", "tokens=9 answer_tier=flex", {"model": "gpt-5-mini"}),
    ],
)
def test_cached_thinking_choices_models_and_tiers_are_billed_at_one_price(
    daemon: Daemon,
    standin: StandinProcess,
    api: str,
    directive: str,
    fields: dict[str, Any],
    stream: bool,
) -> None:
    agent = daemon.open(20.0)
    with agent.sdk() as sdk:
        _call(sdk, api, directive, stream, **fields)
    _agrees(agent, standin)


def test_the_long_context_tier_is_ignored(daemon: Daemon, standin: StandinProcess) -> None:
    """litellm#40002: $0.60 on a $0.45 cap."""
    agent = daemon.open(50.0)
    text = "w" * 300_000 + _said("density=1 tokens=5")
    with agent.sdk() as sdk:
        sdk.chat.completions.create(model="gpt-5.4", messages=[{"role": "user", "content": text}])
    assert _agrees(agent, standin) > 300_000 * 5_000  # $5, not $2.50, for a million


def test_an_earlier_response_that_is_gone_on_from_is_free(
    daemon: Daemon, standin: StandinProcess
) -> None:
    agent = daemon.open(20.0)
    with agent.sdk() as sdk:
        first = sdk.responses.create(model="gpt-5-mini", input=_said("tokens=200"))
        sdk.responses.create(model="gpt-5-mini", input="go on", previous_response_id=first.id)
    _agrees(agent, standin)


# ---- the client gets what was sent


def _plain(body: bytes) -> bytes:
    """Without what differs from call to call."""
    return re.sub(rb"req-\d+", b"req", re.sub(rb'"created":\d+', b'"created":0', body))


@pytest.mark.parametrize("asked", [None, True, False], ids=["unasked", "asked", "declined"])
def test_a_client_sees_a_usage_chunk_that_it_did_not_ask_for(
    daemon: Daemon, standin: StandinProcess, asked: bool | None
) -> None:
    fields: dict[str, Any] = {"stream": True}
    if asked is not None:
        fields["stream_options"] = {"include_usage": asked}
    body = chat("tokens=12", **fields)
    agent = daemon.open(1.0)
    through = agent.post(body=body)
    direct = _direct(standin, "/chat/completions", body)
    got, meant = (_plain(each).split(b"\n\n") for each in (through.body, direct))
    if not asked:
        # asked for by us, each chunk says that the usage is to come
        got = [event.replace(b',"usage":null', b"") for event in got]
    assert got == meant
    assert through.headers["content-type"].startswith("text/event-stream")
    assert nanos(agent.at_rest()["settled_usd"]) * 2 == standin.bill()["billed_nanos"]


def _direct(standin: StandinProcess, path: str, body: dict[str, Any]) -> bytes:
    request = urllib.request.Request(
        standin.url + path,
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {standin.key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("odd", ["", "eol=crlf", "eol=cr", "write=7", "comments=5", "utf8"])
def test_bytes_are_changed_on_their_way(
    daemon: Daemon, standin: StandinProcess, odd: str, stream: bool
) -> None:
    """Of an answer that nothing has to be taken out of, not one byte."""
    agent = daemon.open(1.0)
    body = chat(f"tokens=12 {odd}", stream=stream)
    if stream:
        body["stream_options"] = {"include_usage": True}
    through = agent.post(body=body)
    direct = _direct(standin, "/chat/completions", body)
    assert _plain(through.body) == _plain(direct)
    assert nanos(agent.at_rest()["settled_usd"]) * 2 == standin.bill()["billed_nanos"]


def test_a_response_says_what_it_cost(daemon: Daemon) -> None:
    agent = daemon.open(1.0)
    for iteration in (1, 2):
        reply = agent.post(body=chat("tokens=10"))
        assert reply.headers["x-agentwatch-session-id"] == agent.id
        assert reply.headers["x-agentwatch-iteration"] == str(iteration)
        assert reply.headers["x-agentwatch-request-id"]
        assert reply.headers["x-agentwatch-clamped"] is None
    cost = nanos(float(reply.headers["x-agentwatch-cost-usd"]))
    assert cost * 2 == agent.settled
    left = nanos(float(reply.headers["x-agentwatch-remaining-usd"]))
    assert left == 1_000_000_000 - agent.settled


# ---- output limits


DEAR = {"gpt-5": 128_000, "gpt-5.2": 128_000, "o3": 100_000}


@pytest.mark.parametrize("model", DEAR)
@pytest.mark.parametrize("asks", [True, False], ids=["asks for all", "asks for nothing"])
def test_a_small_session_refuses_the_first_call_that_asks_for_much(
    daemon: Daemon, standin: StandinProcess, model: str, asks: bool
) -> None:
    agent = daemon.open(1.0 if model == "o3" else 2.0)
    fields = {"max_completion_tokens": DEAR[model]} if asks else {}
    fields["service_tier"] = "priority"
    for _ in range(5):
        reply = agent.post(body=chat("tokens=200", model=model, **fields))
        assert reply.status == 200, reply.body
        clamped = int(reply.headers["x-agentwatch-clamped"])
        assert 4096 <= clamped < DEAR[model]
        assert standin.requests()[-1]["limit"] == clamped
    _agrees(agent, standin)


def test_clamp_false_puts_no_limit_in(
    start_daemon: Callable[..., Daemon], standin: StandinProcess
) -> None:
    daemon = start_daemon(enforcement_clamp="false")
    agent = daemon.open(1.0)
    much = chat("tokens=5", model="gpt-5", max_completion_tokens=128_000)
    reply = agent.post(body=much)
    assert (reply.status, reply.denied) == (400, "agent_budget_exceeded")
    little = agent.post(body=chat("tokens=5", model="gpt-5", max_completion_tokens=1_000))
    assert little.status == 200 and little.headers["x-agentwatch-clamped"] is None
    assert standin.requests()[0]["limit"] == 1_000
    _agrees(agent, standin)


# ---- refusals


def test_a_refusal_is_retried_by_the_sdk(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(0.0000001)
    with agent.sdk(max_retries=5) as sdk, pytest.raises(openai.BadRequestError) as raised:
        sdk.chat.completions.create(**chat("tokens=5"))
    assert raised.value.code == "agent_budget_exceeded"
    answer = raised.value.response
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    shown = agent.show()
    assert (shown["refusals"], shown["iterations"], shown["state"]) == (1, 0, "exhausted")
    assert standin.bill()["requests"] == 0
    told = raised.value.message
    for part in ("spent $0", "held $0", "asked $0.00", "ceiling $0.0000001"):
        assert part in told
    assert f"agentwatch sessions budget {agent.id} USD" in told


def test_a_refused_stream_is_an_error_before_its_first_byte(daemon: Daemon) -> None:
    agent = daemon.open(0.0000001)
    with agent.sdk() as sdk, pytest.raises(openai.BadRequestError):
        sdk.responses.create(model="gpt-5", input="hello", stream=True)


def test_an_unknown_model_costs_nothing(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(1.0)
    reply = agent.post(body=chat(model="nobody-knows-it"))
    assert (reply.status, reply.denied) == (400, "model_not_priced")
    assert standin.bill()["requests"] == 0


def test_each_refusal_is_a_failure_in_the_log(daemon: Daemon) -> None:
    assert "failed" not in daemon.log
    assert "Traceback" not in daemon.log
