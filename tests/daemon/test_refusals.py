"""Which status ends a client's asking."""

from __future__ import annotations

import json

import pytest
from harness import Daemon
from multidict import CIMultiDict

from agentwatch.daemon.refusals import refusal_for
from agentwatch.wire.anthropic import Anthropic
from agentwatch.wire.gemini import Gemini
from agentwatch.wire.openai import OpenAI

LITELLM = CIMultiDict({"user-agent": "litellm/1.81.10"})
SDK = CIMultiDict({"User-Agent": "Anthropic/Python 2.14.0"})


@pytest.mark.parametrize("dialect", [Anthropic(), Gemini(), OpenAI()])
@pytest.mark.parametrize("reason", ["agent_budget_exceeded", "session_killed"])
def test_who_hammers_on_402_and_403_is_told_400(dialect, reason) -> None:
    status, body = refusal_for(LITELLM, dialect, reason, "no")
    assert status == 400
    assert reason in json.dumps(json.loads(body))


def test_others_are_told_what_the_provider_would_say() -> None:
    for headers in (SDK, CIMultiDict[str]()):
        assert refusal_for(headers, Anthropic(), "agent_budget_exceeded", "no")[0] == 402
        assert refusal_for(headers, Gemini(), "session_killed", "no")[0] == 403


def test_what_ends_its_asking_already_stays() -> None:
    assert refusal_for(LITELLM, Anthropic(), "unknown_credential", "no")[0] == 401
    assert refusal_for(LITELLM, Anthropic(), "bad_request", "too large", 413)[0] == 413


def test_the_proxy_looks_who_asks(daemon: Daemon) -> None:
    agent = daemon.open(0.0000001)
    asked = {
        "model": "claude-sonnet-5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "hello"}],
    }
    for name, status in (("litellm/1.81.10", 400), ("anthropic", 402)):
        reply = agent.post("/messages", asked, {"User-Agent": name}, base="/anthropic/v1")
        assert (reply.status, reply.denied) == (status, "agent_budget_exceeded")
        assert reply.json["error"]["code"] == "agent_budget_exceeded"
