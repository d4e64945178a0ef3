"""Money for calls that a program makes by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anthropic
import google.genai
import groq
import openai
import pytest
from harness import Daemon, chat, nanos, wait_until
from openai.types import CompletionUsage

import agentwatch
from agentwatch import AgentBudgetCheckUnavailable, AgentBudgetExceeded, AgentSessionKilled
from agentwatch.errors import AgentWatchError, UsageError
from agentwatch.sdk.holds import plain, told_of
from agentwatch.standin.process import StandinProcess

USAGE = {"prompt_tokens": 100, "completion_tokens": 20}
#: USAGE by the price of gpt-4o
USD = (100 * 2.5 + 20 * 10) / 1e6
#: 200 tokens in and 100 out at the dearest that it can be billed at (priority)
WORST_USD = (200 * 4.25 + 100 * 17) / 1e6


def test_a_call_is_held_for_and_settled(beside: Daemon) -> None:
    session = agentwatch.session(1.0)
    with session.hold("openai", "gpt-4o", input_tokens=200, max_output_tokens=100) as hold:
        assert hold.held_usd == pytest.approx(WORST_USD)
        assert hold.iteration == 1
        assert beside.get(f"/v1/sessions/{session.id}")["held_usd"] == hold.held_usd
        hold.settle(USAGE)
        hold.settle({"prompt_tokens": 9_999, "completion_tokens": 0})
    shown = beside.get(f"/v1/sessions/{session.id}")
    assert (shown["held_usd"], shown["settled_usd"]) == (0, pytest.approx(USD))


def test_the_same_for_async(beside: Daemon) -> None:
    async def work() -> dict[str, Any]:
        session = agentwatch.session(1.0)
        async with session.ahold("openai", "gpt-4o", input_tokens=200) as hold:
            await hold.settle(USAGE)
        async with session.ahold("openai", "gpt-4o", input_tokens=200) as hold:
            await hold.void()
        return beside.get(f"/v1/sessions/{session.id}")

    shown = asyncio.run(work())
    assert (shown["iterations"], shown["settled_usd"]) == (2, pytest.approx(USD))


def test_a_hold_of_which_nothing_was_told_costs_nothing(beside: Daemon) -> None:
    session = agentwatch.session(1.0)
    with pytest.raises(RuntimeError), session.hold("openai", "gpt-4o", input_tokens=200) as hold:
        raise RuntimeError
    assert beside.get(f"/v1/sessions/{session.id}")["settled_usd"] == hold.held_usd > 0


def test_what_does_not_fit_is_refused_and_typed(beside: Daemon) -> None:
    session = agentwatch.session(0.001)
    with pytest.raises(AgentBudgetExceeded) as refused:
        session.hold("openai", "gpt-4o", input_tokens=1_000_000).__enter__()
    assert (refused.value.session_id, refused.value.limit) == (session.id, 0.001)
    beside.call("POST", f"/v1/sessions/{session.id}/kill")
    with pytest.raises(AgentSessionKilled):
        session.hold("openai", "gpt-4o", input_tokens=1).__enter__()


def _of_openai(client: Any) -> Any:
    said = chat("tokens=9 density=1 cached=20 reasoning=30", model="gpt-5-mini")
    return client.chat.completions.create(**said).usage


def _of_responses(client: Any) -> Any:
    return client.responses.create(model="gpt-4o-mini", input="hello").usage


def _of_embeddings(client: Any) -> Any:
    return client.embeddings.create(model="text-embedding-3-small", input="hello").usage


def _of_groq(client: Any) -> Any:
    return client.chat.completions.create(**chat(model="llama-3.1-8b-instant")).usage


def _of_xai(client: Any) -> Any:
    said = chat("tokens=9 reasoning=30", model="grok-3-mini")
    return client.chat.completions.create(**said).usage


def _of_anthropic(client: Any) -> Any:
    said = chat("tokens=9 density=1 cached=20", model="claude-haiku-4-5", max_tokens=100)
    return client.messages.create(**said).usage


def _of_gemini(client: Any) -> Any:
    said = "hello [[standin: tokens=9 reasoning=30]]"
    return client.models.generate_content(model="gemini-2.5-flash", contents=said).usage_metadata


def _of_gemini_in_python_s_names(client: Any) -> Any:
    return _of_gemini(client).model_dump(mode="json")


@pytest.mark.parametrize(
    ("provider", "model", "use"),
    [
        ("openai", "gpt-5-mini", _of_openai),
        ("openai", "gpt-4o-mini", _of_responses),
        ("openai", "text-embedding-3-small", _of_embeddings),
        ("groq", "llama-3.1-8b-instant", _of_groq),
        ("xai", "grok-3-mini", _of_xai),
        ("anthropic", "claude-haiku-4-5", _of_anthropic),
        ("gemini", "gemini-2.5-flash", _of_gemini),
        ("gemini", "gemini-2.5-flash", _of_gemini_in_python_s_names),
    ],
)
def test_the_provider_s_own_usage_is_settled_at_what_it_billed(
    beside: Daemon, standin: StandinProcess, provider: str, model: str, use: Any
) -> None:
    """The call goes to the provider by its plain SDK; the daemon is told what that one said."""
    session = agentwatch.session(10.0)
    client = _plain(provider, standin)
    most = 0 if "embedding" in model else 500
    with session.hold(provider, model, input_tokens=500, max_output_tokens=most) as hold:
        hold.settle(use(client))
    client.close()
    shown = beside.get(f"/v1/sessions/{session.id}")
    assert nanos(shown["settled_usd"]) == standin.bill()["billed_nanos"] > 0
    assert nanos(shown["settled_usd"]) <= nanos(hold.held_usd)
    assert shown["estimated"] == 0


SEARCHED = "web_search=2"


def _response_that_searched(client: Any) -> Any:
    asked = {"model": "gpt-4o-mini", "input": f"hello [[standin: {SEARCHED}]]"}
    return client.responses.create(**asked, tools=[{"type": "web_search"}], max_tool_calls=5)


def _message_that_searched(client: Any) -> Any:
    tools = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 5}]
    said = chat(SEARCHED, model="claude-haiku-4-5", max_tokens=100)
    return client.messages.create(**said, tools=tools)


def _chat_that_searched(client: Any) -> Any:
    tools = {"tools": {"enabled_tools": ["web_search"]}}
    said = chat(SEARCHED, model="groq/compound")
    return client.chat.completions.create(**said, compound_custom=tools)


def _generated_that_searched(client: Any) -> Any:
    return client.models.generate_content(
        model="gemini-2.5-flash",
        contents=f"hello [[standin: {SEARCHED}]]",
        config={"tools": [{"google_search": {}}]},
    )


def _as_json(client: Any) -> Any:
    return _response_that_searched(client).model_dump_json()


def _last_chunk(client: Any) -> Any:
    said = chat(model="gpt-4o-mini", stream=True, stream_options={"include_usage": True})
    *_, last = client.chat.completions.create(**said)
    return last


WHOLE = [
    ("openai", "gpt-4o-mini", _response_that_searched),
    ("openai", "gpt-4o-mini", _as_json),
    ("openai", "gpt-4o-mini", _last_chunk),
    ("groq", "groq/compound", _chat_that_searched),
    ("anthropic", "claude-haiku-4-5", _message_that_searched),
    ("gemini", "gemini-2.5-flash", _generated_that_searched),
]


@pytest.mark.parametrize(("provider", "model", "ask"), WHOLE)
def test_a_whole_answer_is_settled_with_its_fees(
    beside: Daemon, standin: StandinProcess, provider: str, model: str, ask: Any
) -> None:
    session = agentwatch.session(10.0)
    client = _plain(provider, standin)
    with session.hold(provider, model, input_tokens=5000, max_output_tokens=9000) as hold:
        hold.settle(ask(client))
    client.close()
    shown = beside.get(f"/v1/sessions/{session.id}")
    assert nanos(shown["settled_usd"]) == standin.bill()["billed_nanos"] > 0
    assert shown["estimated"] == 0


def test_with_the_daemon_away_its_fees_are_kept_and_nothing_that_was_said(
    start_daemon: Any, standin: StandinProcess, program: Any
) -> None:
    daemon = start_daemon()
    daemon.down()
    program.setenv("AGENTWATCH_HOME", str(daemon.home))
    billed = {}
    for provider, model, ask in WHOLE:
        standin.reset()
        client, session = _plain(provider, standin), agentwatch.session(10.0)
        with session.hold(provider, model, input_tokens=5000, max_output_tokens=9000) as hold:
            hold.settle(ask(client))
        client.close()
        billed[session.id] = standin.bill()["billed_nanos"]
    kept = "".join(path.read_text() for path in (daemon.home / "spool").iterdir())
    assert "content" not in kept and "message" not in kept
    daemon.up()
    wait_until(lambda: not list((daemon.home / "spool").iterdir()))
    settled = {
        session: nanos(daemon.get(f"/v1/sessions/{session}")["settled_usd"]) for session in billed
    }
    assert settled == billed


def _plain(provider: str, standin: StandinProcess) -> Any:
    base, key = standin.of(provider) + ("/v1" if provider == "xai" else ""), standin.key
    if provider == "gemini":
        return google.genai.Client(api_key=key, http_options={"base_url": base})
    kinds = {"anthropic": anthropic.Anthropic, "groq": groq.Groq}
    return kinds.get(provider, openai.OpenAI)(api_key=key, base_url=base)


def test_a_provider_that_is_none_is_told(beside: Daemon) -> None:
    with pytest.raises(AgentWatchError, match="provider must be one of"):
        agentwatch.session(1.0).hold("azure", "gpt-4o").__enter__()


def test_a_hold_is_ended_before_it_began(beside: Daemon) -> None:
    with pytest.raises(UsageError):
        agentwatch.session(1.0).hold("openai", "gpt-4o").settle()


@pytest.mark.parametrize(
    "told", [object(), "{", b"", "[]", 5, [USAGE], {"usage": object()}, CompletionUsage]
)
def test_what_is_no_answer_settles_a_hold(beside: Daemon, told: Any) -> None:
    session = agentwatch.session(1.0)
    with session.hold("openai", "gpt-4o", input_tokens=1, max_output_tokens=1) as hold:
        with pytest.raises(UsageError, match="a provider's answer"):
            hold.settle(told)
        hold.settle(USAGE)
    assert beside.get(f"/v1/sessions/{session.id}")["settled_usd"] == pytest.approx(USD)


def test_with_the_daemon_away_it_is_kept_on_disk(start_daemon: Any, program: Any) -> None:
    daemon = start_daemon()
    daemon.down()
    program.setenv("AGENTWATCH_HOME", str(daemon.home))
    session = agentwatch.session(1.0, session_id="held")
    for usage in (USAGE, None):
        with session.hold("openai", "gpt-4o", input_tokens=200, max_output_tokens=100) as hold:
            assert hold.id is None
            hold.settle(usage)
    with session.hold("openai", "gpt-4o") as hold:
        hold.void()
    daemon.up()
    shown = daemon.get("/v1/sessions/held")
    # the second told nothing: all of it
    assert shown["settled_usd"] == pytest.approx(USD + WORST_USD)
    assert shown["fail_open"] == {"daemon_away": 2}
    wait_until(lambda: not list((daemon.home / "spool").iterdir()))


def test_fail_closed_holds_nothing_with_the_daemon_away(alone: Path) -> None:
    session = agentwatch.session(1.0, fail_open=False)
    with pytest.raises(AgentBudgetCheckUnavailable):
        session.hold("openai", "gpt-4o").__enter__()


def test_a_picture_and_a_vector_travel_with_their_answer() -> None:
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    rows = [{"object": "embedding", "index": 0, "embedding": [0.1] * 3072}]
    (told,) = told_of({"object": "list", "data": rows, "usage": usage}).values()
    assert told["data"] == [{"object": "embedding", "index": 0, "embedding": []}]
    (told,) = told_of({"data": [{"b64_json": "x" * 9_000_000}], "usage": usage}).values()
    assert len(told["data"][0]["b64_json"]) < 2_000
    assert told["usage"] == usage


def test_a_provider_s_usage_object_is_taken_as_it_is() -> None:
    usage = CompletionUsage(prompt_tokens=1, completion_tokens=2, total_tokens=3)
    assert plain(usage) == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert plain(USAGE) is USAGE


def test_a_hold_whose_task_was_cancelled_while_it_was_made_stays(beside: Daemon) -> None:
    """Its thread, which is held up here, goes on, and makes the hold."""
    session = agentwatch.session(1.0)

    async def cancelled() -> None:
        with session._lock:
            entering = asyncio.create_task(session.ahold("openai", "gpt-4o").__aenter__())
            await asyncio.sleep(0.2)
            entering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await entering

    asyncio.run(cancelled())
    shown = beside.get(f"/v1/sessions/{session.id}")
    assert (shown["iterations"], shown["held_usd"], shown["settled_usd"]) == (1, 0, 0)
