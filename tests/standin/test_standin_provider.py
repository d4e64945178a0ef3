"""Plans: how many tokens a script and the limits make, and what of them is seen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentwatch.standin.provider import Call, Plan, plan_for, twist
from agentwatch.standin.script import build, fields


def plan(script: str, **call: Any) -> Plan:
    asked = Call(**{"api": "chat", "model": "gpt-4o-mini", "body": {}, **call})
    return plan_for(asked, build(fields(script)), 32, 16_384)


def test_the_limit_ends_an_answer_and_says_so() -> None:
    assert (plan("tokens=50", limit=20).made, plan("tokens=50", limit=20).cut_short) == (20, True)
    assert (plan("tokens=20", limit=20).made, plan("tokens=20", limit=20).cut_short) == (20, False)


def test_without_a_limit_an_endless_answer_ends_at_the_models_own() -> None:
    assert plan("endless").made == 16_384


def test_a_provider_that_ignores_the_limit_goes_past_it() -> None:
    assert plan("tokens=50 ignore_limit", limit=20).made == 50


def test_thinking_counts_against_the_limit_and_is_not_seen() -> None:
    made = plan("tokens=10 reasoning=15", limit=20)
    assert (made.made, made.reasoning, made.shown) == (20, 15, 5)
    assert plan("tokens=10 reasoning=30", limit=20).shown == 0


def test_a_tool_call_is_made_of_tokens_that_make_its_arguments() -> None:
    made = plan('tools=ls:{"path":"."} parallel=2')
    assert [json.loads(call.arguments) for call in made.tool_calls()] == [{"path": "."}] * 2
    assert made.made == len(made.pieces or []) > 2


def test_a_tool_call_that_the_limit_cuts_is_cut() -> None:
    (call,) = plan('tools=ls:{"path":"."}', limit=2).tool_calls()
    assert call.arguments == '{"pa'


def test_arguments_are_made_from_the_schema_that_was_offered() -> None:
    offered = {"add": {"type": "object", "properties": {"a": {"type": "integer"}}}}
    assert plan("tools=auto", tools=offered).tool_calls()[0].arguments == '{"a":1}'


def test_an_agent_gets_its_rounds_of_tools_and_then_text() -> None:
    assert plan("tools=ls times=2", tool_results=1).calls
    assert not plan("tools=ls times=2", tool_results=2).calls
    assert plan("tools=ls times=0", tool_results=99).calls
    assert plan("tools=ls times=2 parallel=3", tool_results=3).calls


def test_the_text_in_one_piece_is_the_tokens_one_by_one() -> None:
    for script in ("tokens=9", "tokens=9 utf8", "tokens=9 size=7", "tokens=3 line=50", "say=hello"):
        made = plan(script)
        assert made.text() == "".join(made.piece(at).text for at in range(made.shown))


@pytest.mark.parametrize("how", ["zero", "huge", "text", "negative", "null", "small"])
def test_a_twisted_usage_is_not_the_true_one(how: str) -> None:
    true = {"output": 40, "input": 10, "details": {"cached": 0}}
    told = twist(true, how, output="output")
    assert told != true
    assert true["output"] == 40


def test_a_usage_that_is_too_small_is_so_in_its_output() -> None:
    assert twist({"output": 40, "input": 10}, "small", output="output") == {
        "output": 10,
        "input": 10,
    }
