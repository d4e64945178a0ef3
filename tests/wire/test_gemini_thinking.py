"""Thinking and the output limit: what is granted is never more than what is sent can come to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.wire.gemini_thinking import NONE, Thinking, thinking

TAKE_BUDGETS = ["gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.5-flash-lite-preview-09-2025"]


@pytest.mark.parametrize(
    ("model", "budget", "known"),
    [
        ("gemini-2.0-flash", None, NONE),
        ("gemini-2.5-flash-image", None, NONE),
        ("gemini-3.8-flash-tts", None, NONE),
        ("gemini-2.5-flash", 0, NONE),
        ("gemini-2.5-flash-lite", 0, NONE),
        ("gemini-2.5-flash", 700, Thinking(700)),
        ("gemini-3.5-flash", None, Thinking(None)),
        # a hint that later models think beyond, and 0 that some do not obey
        ("gemini-3.1-pro-preview", 128, Thinking(None)),
        ("gemini-3.5-flash", 0, Thinking(None)),
        ("gemini-4-argon", None, Thinking(None)),
    ],
)
def test_thinking_is_bounded_only_where_it_is_known_to_be(
    model: str, budget: int | None, known: Thinking
) -> None:
    assert thinking(model, budget, False) == known


@pytest.mark.parametrize("budget", [None, -1, 0])
def test_a_model_that_cannot_stop_thinking_is_not_taken_to(budget: int | None) -> None:
    assert thinking("gemini-2.5-pro", budget, False).budget is None


@given(
    st.sampled_from(TAKE_BUDGETS),
    st.sampled_from([None, -1]),
    st.integers(256, 200_000),
    st.none() | st.integers(1, 100_000),
)
def test_an_answer_and_its_thinking_come_to_more_than_was_granted(
    model: str, budget: int | None, granted: int, client: int | None
) -> None:
    limit, put_in = thinking(model, budget, False).within(granted, client)
    assert put_in is not None
    assert 1 <= limit <= (client or granted)
    assert limit + put_in <= granted
    assert put_in == 0 or 1 <= put_in <= 32_768


@given(st.integers(512, 200_000))
def test_a_budget_that_is_put_in_leaves_most_to_the_answer(granted: int) -> None:
    limit, budget = thinking("gemini-2.5-pro", None, False).within(granted, None)
    assert budget is not None and 128 <= budget < limit


def test_a_model_that_does_not_think_by_itself_is_not_made_to() -> None:
    lite = thinking("gemini-2.5-flash-lite", None, False)
    assert lite.within(9_000, None) == (9_000, 0)
    assert thinking("gemini-2.5-flash-lite", -1, False).within(9_000, None) == (6_000, 3_000)


def test_a_model_without_budgets_is_given_the_limit_alone() -> None:
    assert thinking("gemini-3.5-flash", None, False).within(900, 5_000) == (900, None)
    assert thinking("gemini-2.5-flash", None, True).within(900, None) == (900, None)
    assert thinking("gemini-2.5-flash", 300, False).within(900, 100) == (100, None)
