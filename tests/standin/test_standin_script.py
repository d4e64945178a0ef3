"""Scripts: read from content, rules and defaults, and never silently half understood."""

from __future__ import annotations

import pytest

from agentwatch.standin.script import Rule, ScriptError, build, directive, fields


def test_a_directive_is_found_in_the_middle_of_a_prompt() -> None:
    found = directive("please [[standin: tokens=50 delay=0.01 cut=20]] and then some")
    script = build(found)
    assert (script.tokens, script.delay, script.cut) == (50, 0.01, 20)


def test_the_last_directive_of_a_message_counts() -> None:
    assert directive("[[standin: tokens=1]] [[standin: tokens=2]]") == {"tokens": "2"}


def test_text_without_a_directive_scripts_nothing() -> None:
    assert directive("[[other: tokens=1]]") is None


def test_a_field_alone_is_switched_on() -> None:
    script = build(fields("endless ignore_limit"))
    assert script.endless and script.ignore_limit


def test_tool_arguments_keep_their_blanks_and_what_follows_them() -> None:
    found = directive('[[standin: tools=ls:{"path": "a b", "deep": {"x": [[1]]}} times=3]]')
    assert found is not None
    assert found["tools"] == 'ls:{"path": "a b", "deep": {"x": [[1]]}}'
    assert build(found).times == 3


def test_later_layers_win_field_by_field() -> None:
    script = build({"tokens": 5, "delay": 1}, {"tokens": "7"}, None, {"status": 500})
    assert (script.tokens, script.delay, script.status) == (7, 1.0, 500)


@pytest.mark.parametrize("text", ["tokens=lots", "tockens=5", "= 5", "tokens=5 ]"])
def test_a_misspelt_script_is_an_error_and_not_the_usual_answer(text: str) -> None:
    with pytest.raises(ScriptError):
        build(fields(text))


def test_a_rule_fits_by_model_text_and_api() -> None:
    rule = Rule(script="status=500", model="gpt-5", contains="héllo", api="chat")
    assert rule.fits("chat", "gpt-5", "say héllo".encode())
    assert not rule.fits("chat", "gpt-5", b"say hello")
    assert not rule.fits("chat", "gpt-4o", "héllo".encode())
    assert not rule.fits("responses", "gpt-5", "héllo".encode())
