"""Refusals: read out of answers and out of the last event of a stream, cut anywhere."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.errors import (
    AgentBudgetCheckUnavailable,
    AgentBudgetExceeded,
    AgentSessionKilled,
    CallDenied,
)
from agentwatch.sdk.denial import Denial, LastEvent, denial_of
from agentwatch.wire.openai import OpenAI

END = OpenAI().stream_error("chat", "session_killed", "AgentWatch: session s was killed")
EVENT = b'data: {"choices":[{"delta":{"content":"AgentWatch: \\"error\\" session_killed"}}]}\n\n'


@pytest.mark.parametrize(
    "error",
    [
        AgentBudgetExceeded("s", 1.5, 2.0),
        AgentBudgetExceeded("s", 1.5, 2.0, "in other words"),
        AgentSessionKilled("s"),
        AgentBudgetCheckUnavailable("s", "no daemon is running"),
    ],
)
def test_an_error_is_lost_between_processes(error: CallDenied) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), vars(again)) == (str(error), vars(error))


def test_an_error_says_what_to_do() -> None:
    assert "agentwatch sessions budget s USD" in str(AgentBudgetExceeded("s", 1.5, 2.0))
    assert "open a new one" in str(AgentSessionKilled("s"))
    assert "agentwatch up" in str(AgentBudgetCheckUnavailable("s", "no daemon is running"))


def test_an_answer_without_our_header_is_no_refusal_of_ours() -> None:
    assert denial_of(400, {}, {"error": {"code": "agent_budget_exceeded"}}) is None


def test_a_refusal_keeps_the_daemon_s_words_and_amounts() -> None:
    status, body = OpenAI().refusal("agent_budget_exceeded", "AgentWatch: too dear")
    headers = {
        "x-agentwatch-denied": "agent_budget_exceeded",
        "x-agentwatch-session-id": "s",
        "x-agentwatch-spent-usd": "1.5",
        "x-agentwatch-limit-usd": "2.00",
    }
    for told in (body, json.loads(body), json.loads(body)["error"]):
        denial = denial_of(status, headers, told)
        assert denial is not None
        error = denial.error()
        assert isinstance(error, AgentBudgetExceeded)
        assert (error.session_id, error.spent, error.limit) == ("s", 1.5, 2.0)
        assert str(error) == "AgentWatch: too dear"


def test_what_can_not_be_asked_is_said_twice() -> None:
    error = Denial("governance_unavailable", "AgentWatch: nothing was sent", "s").error()
    assert str(error) == "AgentWatch: nothing was sent"


def test_what_the_provider_s_own_error_says_as_well_stays_its_error() -> None:
    assert Denial("path_not_governed", "no", "s").error() is None
    assert Denial("session_paused", "no", "s").error() is None


@given(st.lists(st.just(EVENT), max_size=4), st.lists(st.integers(1, 400), max_size=8))
def test_the_last_event_is_found_wherever_the_bytes_are_cut(
    events: list[bytes], cuts: list[int]
) -> None:
    whole = b"".join(events) + END
    look, got, found, at = LastEvent(), b"", None, 0
    for size in [*cuts, len(whole)]:
        chunk, at = whole[at : at + size], at + size
        found = look.feed(chunk)
        if found is not None:
            got += found[0]
            break
        got += chunk
    assert found is not None
    assert found[1:] == ("session_killed", "AgentWatch: session s was killed")
    # what came before it is complete, and nothing behind it is handed on
    assert got.startswith(b"".join(events))
    assert len(got) < len(whole)


def test_what_a_model_says_is_no_end() -> None:
    look = LastEvent()
    for chunk in (EVENT, b'data: {"error": {"message": "AgentWatch: no"}}\n', b"data: [DONE]\n\n"):
        assert look.feed(chunk) is None
