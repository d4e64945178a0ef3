"""`wrap`: clients that exist already, in place."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from harness import Daemon, chat, nanos

import agentwatch
from agentwatch import AgentBudgetExceeded, wrap
from agentwatch.errors import UsageError
from agentwatch.standin.process import StandinProcess


def test_a_client_is_wrapped_in_place_and_returned(beside: Daemon, standin: StandinProcess) -> None:
    client = openai.OpenAI(api_key="sk-own")
    assert wrap(client, agentwatch_session_id="wrapped", agentwatch_session_budget_usd=1) is client
    for each in (client, client.with_options(timeout=9), client.copy().copy()):
        each.chat.completions.create(**chat())
        assert type(each) is openai.OpenAI
    shown = beside.get("/v1/sessions/wrapped")
    assert (shown["iterations"], shown["budget_usd"]) == (3, 1)
    assert [each["leaks"] for each in standin.requests()] == [[]] * 3


def test_a_wrapped_client_raises_the_provider_s_error_for_a_refusal(beside: Daemon) -> None:
    for client in (openai.OpenAI(api_key="x"), openai.OpenAI(api_key="x").with_options()):
        wrap(client, agentwatch_session_budget_usd=0.0000001)
        for each in (client, client.with_options(max_retries=9)):
            with pytest.raises(AgentBudgetExceeded):
                each.chat.completions.create(**chat())


def test_an_async_client_is_wrapped(beside: Daemon) -> None:
    client = wrap(openai.AsyncOpenAI(api_key="x"), agentwatch_session_budget_usd=0.0000001)

    async def call() -> None:
        await client.with_options().chat.completions.create(**chat())

    with pytest.raises(AgentBudgetExceeded):
        asyncio.run(call())


def test_wrapping_twice_moves_the_client_to_the_other_session(beside: Daemon) -> None:
    client = openai.OpenAI(api_key="x")
    for name in ("first", "second"):
        wrap(client, agentwatch_session_id=name)
        client.chat.completions.create(**chat())
    watched = agentwatch.WatchedOpenAI(agentwatch_session_id="first")
    wrap(watched, agentwatch_session_id="second").chat.completions.create(**chat())
    counts = [beside.get(f"/v1/sessions/{name}")["iterations"] for name in ("first", "second")]
    assert counts == [1, 2]


@pytest.mark.parametrize("kind", [agentwatch.WatchedOpenAI, agentwatch.WatchedGemini])
def test_wrapping_twice_without_arguments_opens_another_session(beside: Daemon, kind: Any) -> None:
    client = kind(agentwatch_session_id="kept")
    assert wrap(client).agentwatch_session.id == "kept"
    with agentwatch.session(1.0) as around:
        part = kind(agentwatch_session_budget_usd=0.5)
        own = part.agentwatch_session
        assert wrap(part).agentwatch_session is own
        assert wrap(client).agentwatch_session is around


def test_the_client_s_own_http_client_is_changed(beside: Daemon) -> None:
    own = openai.DefaultHttpxClient()
    transport = own._transport
    client = wrap(openai.OpenAI(api_key="x", http_client=own))
    assert own._transport is transport
    client.chat.completions.create(**chat())


@pytest.mark.parametrize(
    "client",
    [
        object(),
        openai.AzureOpenAI(api_key="x", api_version="1", azure_endpoint="https://a.example"),
    ],
)
def test_what_can_t_be_governed_is_told_what_to_do_instead(client: object) -> None:
    with pytest.raises(UsageError, match=r"\.hold\("):
        wrap(client)


PRIVATE = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize("wrapped", [False, True], ids=["class", "wrap"])
def test_what_was_meant_for_a_private_server_reaches_a_public_one(
    beside: Daemon, standin: StandinProcess, wrapped: bool
) -> None:
    """Neither where the client was made for it, nor where a copy of it was."""
    own = {"api_key": "sk-own", "base_url": PRIVATE, "max_retries": 0}
    client = wrap(openai.OpenAI(**own)) if wrapped else agentwatch.WatchedOpenAI(**own)
    copy = agentwatch.WatchedOpenAI().with_options(base_url=PRIVATE)
    for each in (client, client.copy(), copy):
        with pytest.raises(openai.BadRequestError, match=r"\[providers\.NAME\]") as refused:
            each.chat.completions.create(**chat())
        assert refused.value.code == "path_not_governed"
    assert standin.requests() == []


@pytest.mark.parametrize("wrapped", [False, True], ids=["class", "wrap"])
@pytest.mark.parametrize(
    ("below", "model", "provider"),
    [
        ("groq/openai/v1", "llama-3.1-8b-instant", "groq"),
        ("xai/v1", "grok-3-mini", "xai"),
        ("gemini/v1beta/openai", "gemini-2.5-flash", "gemini"),
    ],
)
def test_a_base_url_is_the_provider_whose_it_is(
    beside: Daemon, standin: StandinProcess, below: str, model: str, provider: str, wrapped: bool
) -> None:
    base = f"http://127.0.0.1:{standin.port}/{below}"
    client = agentwatch.WatchedOpenAI(base_url=base, agentwatch_session_budget_usd=1)
    if wrapped:
        client = openai.OpenAI(base_url=base, api_key="sk-own")
        wrap(client, agentwatch_session_budget_usd=1)
    client.chat.completions.create(**chat(model=model))
    session = client._agentwatch_gate.session
    shown, bill = beside.get(f"/v1/sessions/{session.id}"), standin.bill()
    assert (bill["requests"], bill["leaks"], bill["wrong_key"]) == (1, [], 0)
    assert nanos(shown["settled_usd"]) == bill["billed_nanos"] > 0
    assert standin.requests()[0]["path"].startswith(f"/{provider}/")


def test_inside_of_run_the_base_url_is_the_daemon_s(
    beside: Daemon, standin: StandinProcess
) -> None:
    for below in ("openai/v1", "groq/openai/v1"):
        base = f"http://127.0.0.1:{beside.port}/{below}"
        model = "llama-3.1-8b-instant" if "groq" in below else "gpt-4o-mini"
        agentwatch.WatchedOpenAI(base_url=base).chat.completions.create(**chat(model=model))
    assert standin.bill()["requests"] == 2


def test_an_unknown_argument_is_ignored(beside: Daemon) -> None:
    with pytest.raises(TypeError, match="agentwatch_session_budget"):
        wrap(openai.OpenAI(api_key="x"), agentwatch_session_budget=1)
