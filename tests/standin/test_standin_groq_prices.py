"""Groq's bill, reckoned by hand, and against our own price book."""

from __future__ import annotations

import pytest

from agentwatch.core.prices import cost
from agentwatch.core.usage import Usage
from agentwatch.pricing import load_book
from agentwatch.standin.groq_prices import MODELS, SYSTEMS
from agentwatch.standin.groq_prices import cost as billed

BOOK = load_book(None)


def test_a_part_is_billed_by_its_own_rates() -> None:
    assert billed("openai/gpt-oss-120b", prompt=10, cached=4, output=2) == 2_400_000
    assert billed("qwen/qwen3-32b", prompt=10, cached=4) == 2_900_000


@pytest.mark.parametrize("name", sorted(MODELS.keys() - SYSTEMS.keys()))
def test_both_price_tables_say_the_same(name: str) -> None:
    price = BOOK.find("groq", name)
    assert price is not None
    usage = Usage(input_tokens=1_001, cached_input_tokens=333, output_tokens=77)
    assert cost(price, usage) == -(-billed(name, prompt=1_001, cached=333, output=77) // 1_000)
