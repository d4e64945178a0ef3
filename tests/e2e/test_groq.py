"""Groq through its own SDK: what is settled is what the provider billed, to the nano-dollar, and
refusals and broken streams are what that SDK expects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import groq
import httpx
import pytest
from harness import PATIENCE_S, Agent, Daemon, chat, nanos

from agentwatch.standin.process import StandinProcess

MODEL = "openai/gpt-oss-120b"
COMPOUND = "groq/compound"
Sdk = Callable[..., groq.Groq]


@pytest.fixture(scope="module")
def line() -> Iterator[httpx.Client]:
    """The connections of all clients: making them costs more than a call."""
    with httpx.Client() as client:
        yield client


@pytest.fixture
def sdk(daemon: Daemon, line: httpx.Client) -> Sdk:
    """Groq's client for an agent."""
    base = f"http://127.0.0.1:{daemon.port}/groq"

    def client(agent: Agent, **options: Any) -> groq.Groq:
        told = {"base_url": base, "api_key": agent.token, "timeout": PATIENCE_S, **options}
        return groq.Groq(http_client=line, **told)

    return client


def asked(directive: str = "", **fields: Any) -> dict[str, Any]:
    return chat(directive, **{"model": MODEL, **fields})


def system(*tools: str, **custom: Any) -> dict[str, Any]:
    return {"tools": {"enabled_tools": list(tools)}, **custom}


TOOL = {
    "type": "function",
    "function": {
        "name": "ls",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
    },
}
SCOUT = "meta-llama/llama-4-scout-17b-16e-instruct"

#: what is asked for, and what the provider does then
CALLS: dict[str, dict[str, Any]] = {
    "plain": asked("tokens=23"),
    "not ASCII": asked("tokens=60 utf8"),
    "a token a byte": asked("tokens=9 density=1"),
    "nothing said": asked("tokens=0"),
    "cut short by the limit": asked("tokens=50", max_completion_tokens=9),
    "the limit's old name": asked("tokens=50", max_tokens=9),
    "cached": asked("tokens=9 density=1 cached=20"),
    "cached without a discount": asked("tokens=9 cached=3", model="llama-3.1-8b-instant"),
    "reasoning": asked("tokens=9 reasoning=300"),
    "tools": asked("tools=ls parallel=2", tools=[TOOL]),
    "a frame without choices": asked("tokens=9 bare"),
    "usage in every chunk": asked("tokens=9 usage=every"),
    "flex": asked("tokens=9", service_tier="flex"),
    "auto": asked("tokens=9", service_tier="auto"),
    "another model answers": asked("tokens=9 answer_model=llama-3.1-8b-instant"),
    "a fraction of a nano-dollar": asked("tokens=1 cached=1", model="openai/gpt-oss-20b"),
    "a system of models": asked(
        f"tokens=9 web_search=2 iterations=part:900:40:{SCOUT}+part:70:5:llama-3.3-70b-versatile",
        model=COMPOUND,
        compound_custom=system("web_search", "visit_website"),
    ),
    "a system without tools": asked(
        "tokens=9 cached=4", model="groq/compound-mini", compound_custom=system()
    ),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", CALLS)
def test_what_is_settled_is_what_was_billed(
    daemon: Daemon, standin: StandinProcess, sdk: Sdk, name: str, stream: bool
) -> None:
    agent = daemon.open(20.0)
    client = sdk(agent)
    if stream:
        chunks = list(client.chat.completions.create(**CALLS[name], stream=True))
        assert any(chunk.x_groq and chunk.x_groq.usage for chunk in chunks)
    else:
        assert client.chat.completions.create(**CALLS[name]).usage
    shown, bill = agent.at_rest(), standin.bill()
    assert nanos(shown["settled_usd"]) == bill["billed_nanos"] > 0, bill["by_request"]
    assert shown["overdraft_usd"] == 0 and shown["estimated"] == 0
    assert bill["leaks"] == [] and bill["wrong_key"] == 0


def test_the_stream_is_as_groq_sent_it_and_nothing_was_asked_for(
    daemon: Daemon, standin: StandinProcess
) -> None:
    agent = daemon.open(1.0)
    body = asked("tokens=3 bare", stream=True)
    reply = agent.post(body=body, base="/groq/openai/v1")
    assert b'"choices":[],' not in reply.body and reply.body.endswith(b"data: [DONE]\n\n")
    assert reply.body.count(b'"x_groq"') == 3
    assert agent.post(body=body, base="/groq/v1").status == 200
    assert [each["path"] for each in standin.requests()] == ["/groq/openai/v1/chat/completions"] * 2


def test_an_error_inside_a_200_is_known_and_what_was_seen_is_charged(
    daemon: Daemon, standin: StandinProcess, sdk: Sdk
) -> None:
    agent = daemon.open(1.0)
    body = asked("tokens=20 error=5", max_tokens=50)
    chunks = list(sdk(agent).chat.completions.create(**body, stream=True))
    assert chunks[-1].x_groq and chunks[-1].x_groq.error
    shown = agent.at_rest()
    assert shown["estimated"] == 1
    assert nanos(shown["settled_usd"]) >= standin.bill()["billed_nanos"] > 0


@pytest.mark.parametrize(
    ("fields", "reason", "words"),
    [
        ({"model": COMPOUND}, "model_not_priced", "enabled_tools"),
        (
            {"model": COMPOUND, "compound_custom": system("code_interpreter")},
            "model_not_priced",
            "enable only",
        ),
        ({"n": 2}, "bad_request", "n must be 1"),
        ({"service_tier": "performance"}, "model_not_priced", "performance"),
        ({"tools": [{"type": "browser_search"}]}, "model_not_priced", "browser_search"),
        ({"compound_custom": system()}, "bad_request", "compound_custom"),
    ],
)
def test_what_has_no_bound_is_refused_as_groq_would(
    daemon: Daemon, standin: StandinProcess, sdk: Sdk, fields: Any, reason: str, words: str
) -> None:
    agent = daemon.open(1.0)
    with pytest.raises(groq.BadRequestError) as refused:
        sdk(agent).chat.completions.create(**{**asked(), **fields})
    assert refused.value.response.headers["x-agentwatch-denied"] == reason
    assert words in str(refused.value)
    assert standin.bill()["requests"] == 0


def test_over_the_ceiling_the_sdk_asks_once(daemon: Daemon, standin: StandinProcess) -> None:
    agent, asks = daemon.open(0.0000001), list[httpx.Request]()
    with httpx.Client(event_hooks={"request": [asks.append]}) as line:
        client = groq.Groq(
            base_url=f"http://127.0.0.1:{daemon.port}/groq", api_key=agent.token, http_client=line
        )
        with pytest.raises(groq.BadRequestError) as refused:
            client.chat.completions.create(**asked())
    assert refused.value.response.headers["x-agentwatch-denied"] == "agent_budget_exceeded"
    assert len(asks) == 1 and standin.bill()["requests"] == 0
