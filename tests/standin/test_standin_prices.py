"""The stand-in's own prices: exact, and rounded once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.standin import prices


def test_a_figure_of_the_price_page_is_the_nano_dollars_it_says() -> None:
    assert prices.cost("gpt-4o-mini", "default", prompt=1_000_000) == 150_000_000
    assert prices.cost("gpt-4o-mini", "default", prompt=0, output=1_000_000) == 600_000_000
    assert prices.cost("gpt-4o", "priority", prompt=10, output=10) == 10 * 4_250 + 10 * 17_000


def test_cached_and_written_tokens_are_parts_of_the_prompt_and_not_added_to_it() -> None:
    split = prices.cost("gpt-6-sol", "default", prompt=100, cached=60, written=30)
    assert split == 10 * 2_000 + 60 * 200 + 30 * 2_500


def test_the_long_context_rate_is_for_the_whole_call_from_the_next_token_on() -> None:
    at = prices.cost("gpt-5.4", "default", prompt=272_000)
    beyond = prices.cost("gpt-5.4", "default", prompt=272_001)
    assert at == 272_000 * 2_500
    assert beyond == 272_001 * 5_000


def test_fractions_of_a_nano_dollar_are_rounded_up_once_a_call() -> None:
    assert prices.cost("gpt-5-nano", "flex", prompt=1, cached=1) == 3
    assert prices.cost("gpt-5-nano", "flex", prompt=2, cached=2) == 5


def test_a_tier_that_the_model_is_not_sold_at_answers_at_the_standard_one() -> None:
    assert prices.tier_of("gpt-4o-mini", "flex") == "default"
    assert prices.tier_of("gpt-4o-mini", "fast") == "priority"
    assert prices.tier_of("gpt-5-mini", "flex") == "flex"
    assert prices.tier_of("gpt-5-mini", "auto") == "default"


def test_fees_are_rounded_with_the_tokens() -> None:
    assert prices.cost("gpt-5-nano", "flex", prompt=1, cached=1, fees=5) == 3 + 5


@pytest.mark.parametrize("name", sorted(prices.MODELS))
def test_no_model_is_free(name: str) -> None:
    for rates in (*prices.MODELS[name].tiers.values(), *prices.MODELS[name].long_tiers.values()):
        assert rates.fresh > 0
        assert 0 < rates.cached <= rates.fresh <= rates.written


@given(st.sampled_from(sorted(prices.MODELS)), st.integers(0, 10**6), st.integers(0, 10**6))
def test_more_tokens_never_cost_less(name: str, prompt: int, output: int) -> None:
    spent = prices.cost(name, "default", prompt=prompt, output=output)
    assert prices.cost(name, "default", prompt=prompt + 1, output=output) >= spent
    assert prices.cost(name, "default", prompt=prompt, output=output + 1) >= spent
