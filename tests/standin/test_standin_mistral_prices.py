"""Mistral's bill, reckoned by hand, and against our own price book."""

from __future__ import annotations

import pytest

from agentwatch.core.prices import cost
from agentwatch.core.usage import Usage
from agentwatch.pricing import load_book
from agentwatch.standin.mistral_prices import MODELS
from agentwatch.standin.mistral_prices import cost as billed

BOOK = load_book(None)


def test_a_part_of_a_nano_is_rounded_up_once() -> None:
    assert billed("mistral-small-2603", prompt=2, cached=1, output=1) == 765
    assert billed("mistral-small-2603", prompt=1, cached=1) == 15


@pytest.mark.parametrize("name", sorted(MODELS))
def test_both_price_tables_say_the_same(name: str) -> None:
    price = BOOK.find("mistral", name)
    assert price is not None
    usage = Usage(input_tokens=1_001, cached_input_tokens=333, output_tokens=77)
    assert cost(price, usage) == billed(name, prompt=1_001, cached=333, output=77)
