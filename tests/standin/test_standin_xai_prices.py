"""xAI's bill in ticks, reckoned by hand, and against our own price book."""

from __future__ import annotations

import pytest

from agentwatch.core.prices import cost
from agentwatch.core.usage import Usage
from agentwatch.pricing import load_book
from agentwatch.standin.xai_prices import LONG_CONTEXT, MODELS, ticks

BOOK = load_book(None)


def test_a_token_of_two_dollars_a_million_is_20000_ticks() -> None:
    assert ticks("grok-4.7", prompt=1) == 20_000
    assert ticks("grok-4.7", prompt=10, cached=4, output=2) == 6 * 20_000 + 4 * 5_000 + 2 * 60_000


def test_all_of_a_long_prompt_is_dearer_from_the_threshold_on() -> None:
    assert ticks("grok-4.7", prompt=LONG_CONTEXT - 1) == (LONG_CONTEXT - 1) * 20_000
    assert ticks("grok-4.7", prompt=LONG_CONTEXT, output=1) == LONG_CONTEXT * 40_000 + 120_000


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("prompt", [1, 1_000, LONG_CONTEXT - 1, LONG_CONTEXT])
def test_both_price_tables_say_the_same(name: str, prompt: int) -> None:
    price = BOOK.find("xai", name)
    assert price is not None
    usage = Usage(input_tokens=prompt, cached_input_tokens=prompt // 3, output_tokens=77)
    assert cost(price, usage) == -(-ticks(name, prompt=prompt, cached=prompt // 3, output=77) // 10)
