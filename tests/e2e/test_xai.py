"""Grok through OpenAI's SDK, and through Anthropic's on the path that still takes it: what is
settled is what the provider states, to the nano-dollar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from harness import PATIENCE_S, Agent, Daemon, chat, nanos

from agentwatch.standin.process import StandinProcess

MODEL = "grok-4.7"
Sdk = Callable[..., openai.OpenAI]


@pytest.fixture(scope="module")
def line() -> Iterator[openai.DefaultHttpxClient]:
    """The connections of all clients: making them costs more than a call."""
    with openai.DefaultHttpxClient() as client:
        yield client


@pytest.fixture
def sdk(daemon: Daemon, line: openai.DefaultHttpxClient) -> Sdk:
    """OpenAI's client for an agent, at xAI."""
    base = f"http://127.0.0.1:{daemon.port}/xai/v1"

    def client(agent: Agent, **options: Any) -> openai.OpenAI:
        told = {"base_url": base, "api_key": agent.token, "timeout": PATIENCE_S, **options}
        return openai.OpenAI(http_client=line, **told)

    return client


def asked(directive: str = "", **fields: Any) -> dict[str, Any]:
    return chat(directive, **{"model": MODEL, **fields})


def agrees(agent: Agent, standin: StandinProcess) -> None:
    shown, bill = agent.at_rest(), standin.bill()
    assert nanos(shown["settled_usd"]) == bill["billed_nanos"] > 0, bill["by_request"]
    assert shown["overdraft_usd"] == 0 and shown["estimated"] == 0
    assert bill["leaks"] == [] and bill["wrong_key"] == 0


TOOL = {"type": "function", "function": {"name": "ls", "parameters": {"type": "object"}}}

#: what is asked for, and what the provider does then
CALLS: dict[str, dict[str, Any]] = {
    "plain": asked("tokens=23"),
    "not ASCII": asked("tokens=60 utf8"),
    "a token a byte": asked("tokens=9 density=1"),
    "nothing said": asked("tokens=0"),
    "cut short by the limit": asked("tokens=50", max_completion_tokens=9),
    "cached": asked("tokens=9 density=1 cached=20"),
    "reasoning comes on top": asked("tokens=9 reasoning=300"),
    "tools": asked("tools=ls", tools=[TOOL]),
    "usage in every chunk": asked("tokens=9 usage=every reasoning=5"),
    "two choices": asked("tokens=9", n=2),
    "another model answers": asked("tokens=9 answer_model=grok-3-mini"),
    "a fraction of a nano-dollar": asked("tokens=1 cached=1", model="grok-3-mini"),
    "a prompt at the threshold": asked(
        "tokens=9 density=1 cached=100",
        messages=[{"role": "user", "content": "w" * 200_100 + " [[standin: tokens=9 density=1]]"}],
    ),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", CALLS)
def test_a_chat_is_settled_at_what_was_billed(
    daemon: Daemon, standin: StandinProcess, sdk: Sdk, name: str, stream: bool
) -> None:
    agent = daemon.open(20.0)
    made = sdk(agent).chat.completions.create(**CALLS[name], stream=stream)
    if stream:
        assert all(chunk.choices for chunk in made)
    agrees(agent, standin)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    "directive", ["tokens=9", "tokens=9 reasoning=300", "tokens=9 density=1 cached=9", "tokens=0"]
)
def test_a_response_is_settled_at_what_was_billed(
    daemon: Daemon, standin: StandinProcess, sdk: Sdk, directive: str, stream: bool
) -> None:
    agent = daemon.open(20.0)
    said = f"hello [[standin: {directive}]]"
    made = sdk(agent).responses.create(model=MODEL, input=said, stream=stream)
    if stream:
        assert list(made)[-1].type == "response.completed"
    agrees(agent, standin)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_messages_in_anthropics_shape_are_settled_by_their_tokens(
    daemon: Daemon, standin: StandinProcess, stream: bool
) -> None:
    agent = daemon.open(20.0)
    with anthropic.Anthropic(
        base_url=f"http://127.0.0.1:{daemon.port}/xai", api_key=agent.token, timeout=PATIENCE_S
    ) as client:
        fields: dict[str, Any] = {**asked("tokens=9 cached=2 reasoning=4"), "max_tokens": 500}
        made = client.messages.create(**fields, stream=stream)
        if stream:
            assert list(made)[-1].type == "message_stop"
    agrees(agent, standin)


def test_what_is_stated_is_the_charge_and_where_it_is_missing_the_tokens_are(
    daemon: Daemon, standin: StandinProcess, sdk: Sdk
) -> None:
    agent = daemon.open(20.0)
    sdk(agent).chat.completions.create(**asked("tokens=9 usage=missing"), max_tokens=100)
    shown = agent.at_rest()
    assert shown["estimated"] == 1
    assert nanos(shown["settled_usd"]) >= standin.bill()["billed_nanos"]


def test_without_a_limit_the_whole_window_is_held_or_a_limit_put_in(
    daemon: Daemon, standin: StandinProcess, sdk: Sdk
) -> None:
    """A model that may write 500,000 tokens is worth $3 and more: what a small budget lets it
    write goes into the request."""
    agent = daemon.open(1.0)
    sdk(agent).chat.completions.create(**asked("tokens=9"))
    agrees(agent, standin)
    (sent,) = standin.requests()
    assert 256 <= sent["limit"] < 250_000


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"extra_body": {"deferred": True}}, "path_not_governed"),
        ({"extra_body": {"search_parameters": {"mode": "auto"}}}, "model_not_priced"),
        ({"extra_body": {"search_parameters": {}}}, "model_not_priced"),
        ({"model": "grok-4.20-multi-agent-0309"}, "model_not_priced"),
        ({"service_tier": "priority"}, "model_not_priced"),
        ({"tools": [{"type": "web_search"}]}, "model_not_priced"),
        ({"tools": [{"type": "x_search"}]}, "model_not_priced"),
    ],
)
def test_what_has_no_bound_is_refused(
    daemon: Daemon, standin: StandinProcess, sdk: Sdk, fields: Any, reason: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk(daemon.open(20.0)).chat.completions.create(**{**asked(), **fields})
    assert refused.value.code == reason
    assert standin.bill()["requests"] == 0
