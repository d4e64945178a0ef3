"""What repeats, and what only looks like it."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from watching import Calls

from agentwatch.core.anomaly import Limits, Step, Text
from agentwatch.core.anomaly_repeats import LONGEST_CYCLE

WORDS = tuple(range(100, 108))
OTHER = tuple(range(200, 208))


def ask(calls: Calls, request: int, times: int = 1) -> None:
    for _ in range(times):
        calls.end(calls.begin(request=request))


# ---- requests


def test_the_same_request_goes_on_for_ever() -> None:
    calls = Calls()
    ask(calls, 5, 12)
    assert calls.began == [("repeated_request", 5)]


def test_choices_asked_for_at_once_are_a_loop() -> None:
    calls = Calls()
    out = [calls.begin(request=5) for _ in range(12)]
    for call in out:
        calls.end(call)
    assert calls.kinds == []


def test_choices_of_the_same_that_were_asked_for_before_are_a_loop() -> None:
    calls = Calls()
    for _ in range(3):
        out = [calls.begin(request=5) for _ in range(8)]
        for call in out:
            calls.end(call)
    assert calls.kinds == []
    ask(calls, 5, 2)
    assert calls.kinds == ["repeated_request"]


def test_a_loop_that_does_something_else_in_between_is_told_of_each_time() -> None:
    calls = Calls()
    for number in range(20):
        ask(calls, 5)
        ask(calls, 1000 + number)
    assert calls.kinds == ["repeated_request"]
    for number in range(40):
        ask(calls, 2000 + number)
    assert calls.over == ["repeated_request"]


# ---- tool calls


def test_the_same_tool_call_is_answered_for_ever() -> None:
    calls = Calls()
    calls.step(calls=1, told=1)
    for _ in range(10):
        calls.step(calls=1, told=2)
    assert calls.began[0] == ("repeated_tool_call", 6)
    assert calls.kinds.count("repeated_tool_call") == 1
    calls.step(calls=2, told=3)
    assert "repeated_tool_call" in calls.over


def test_who_hears_of_the_end_at_the_fifth_try_is_a_loop() -> None:
    calls = Calls()
    for told in (1, 2, 2, 2, 2):
        calls.step(calls=1, told=told)
    calls.step(calls=9, told=3)
    assert calls.began == []


def test_who_waits_for_a_job_that_goes_on_is_a_loop() -> None:
    calls = Calls()
    for told in range(9):
        calls.step(calls=1, told=told)
    assert calls.began == []
    calls.step(calls=1, told=99)
    assert calls.kinds == ["repeated_tool_call"]


def test_an_agent_that_reads_on_is_a_loop() -> None:
    calls = Calls()
    for page in range(60):
        calls.step(calls=100 + page, told=page)
    assert calls.began == []


def test_a_b_a_b_is_no_loop() -> None:
    calls = Calls()
    for number in range(12):
        calls.step(calls=1 + number % 2, told=10 + number % 2)
    assert calls.began[0][0] == "cycle"
    assert calls.findings[0].evidence["period"] == 2
    assert calls.began[0][1] <= 7


@given(st.integers(2, LONGEST_CYCLE), st.integers(0, 5))
def test_a_cycle_is_missed_for_its_length_or_where_it_begins(period: int, before: int) -> None:
    calls = Calls()
    for number in range(before):
        calls.step(calls=900 + number, told=number)
    for number in range(period * 4):
        calls.step(calls=1 + number % period, told=20 + number % period)
    assert "cycle" in calls.kinds
    found = next(found for found in calls.findings if found.kind == "cycle")
    assert found.evidence["period"] == period


def test_editing_between_runs_of_the_same_tests_is_a_cycle() -> None:
    calls = Calls()
    for number in range(30):
        calls.step(calls=100 + number, told=number)
        calls.step(calls=1, told=50)
    assert "cycle" not in calls.kinds and "repeated_tool_call" not in calls.kinds


# ---- answers


def test_empty_answers_are_answers() -> None:
    calls = Calls()
    for _ in range(8):
        calls.step()
    assert calls.began == [("stale_answers", 5)]
    assert calls.findings[0].evidence["empty"] is True


def test_a_word_more_is_something_new() -> None:
    calls = Calls()
    for number in range(6):
        calls.step(said=(*WORDS[:7], 300 + number), told=number)
    assert calls.kinds == ["stale_answers"]


def test_answers_that_differ_are_stale() -> None:
    calls = Calls()
    for number in range(40):
        calls.step(said=tuple(range(10 * number, 10 * number + 8)), told=number)
    assert calls.began == []


def test_wandering_among_a_few_steps_brings_something_new() -> None:
    calls, lots = Calls(), random.Random(1)
    for _number in range(24):
        calls.step(calls=lots.choice([1, 2, 3]), told=lots.choice([4, 5]))
    assert "stale_answers" in calls.kinds


def test_the_same_steps_that_bring_something_else_each_time_are_stale() -> None:
    calls, lots = Calls(), random.Random(1)
    for number in range(24):
        calls.step(calls=lots.choice([1, 2, 3]), told=number)
    assert "stale_answers" not in calls.kinds


def test_the_same_answer_to_many_at_once_is_a_loop() -> None:
    calls = Calls()
    out = [calls.begin() for _ in range(15)]
    for call in out:
        calls.end(call, step=Step(calls=5))
    assert calls.began == []


# ---- errors that are told


def test_the_same_error_answers_whatever_is_tried() -> None:
    calls = Calls()
    for number in range(9):
        calls.step(calls=100 + number, told=number, error=WORDS, bound=1000 + number)
    assert calls.began == [("same_error", 5)]
    calls.step(calls=500, told=77, error=OTHER, bound=5000)
    assert calls.over == ["same_error"]


def test_a_call_that_is_tried_again_is_told_of_its_error_again() -> None:
    calls = Calls()
    for number in range(3):
        calls.step(calls=100 + number, told=number, error=WORDS, request=50 + number)
    for _ in range(3):
        calls.end(calls.begin(error=WORDS, request=52), failed=True)
    assert calls.began == []


def test_an_instruction_that_speaks_of_errors_is_one() -> None:
    """Jobs of their own, whose requests do not grow out of each other."""
    calls, lots = Calls(), random.Random(2)
    for number in range(60):
        text = Text(lots.randbytes(lots.randrange(500, 5_000)))
        calls.step(calls=100 + number, error=WORDS, told=number, text=text)
    assert "same_error" not in calls.kinds


def test_the_same_label_on_many_texts_is_stale() -> None:
    calls, lots = Calls(), random.Random(3)
    for number in range(60):
        rule = b"Say positive, negative or neutral." * 30
        text = Text(rule + lots.randbytes(lots.randrange(60, 300)))
        calls.step(said=(1, 2), told=number, text=text)
        calls.step(calls=9, told=1_000 + number, text=Text(rule + lots.randbytes(99)))
    assert calls.began == []


def test_what_failed_or_is_not_known_is_a_step() -> None:
    calls = Calls()
    for _ in range(5):
        calls.end(calls.begin(), failed=True, step=Step())
        calls.end(calls.begin())
    assert "stale_answers" not in calls.kinds


def test_a_limit_of_one_s_own_is_not_obeyed() -> None:
    calls = Calls(Limits(repeats=3))
    for _ in range(4):
        calls.step(calls=1)
    assert calls.began == [("repeated_tool_call", 3)]
