"""The stand-in's prices of Claude: what its page says, and what AgentWatch's book says."""

from __future__ import annotations

import pytest

from agentwatch.core.prices import cost
from agentwatch.core.usage import Usage
from agentwatch.pricing import load_book
from agentwatch.standin.anthropic_prices import MODELS
from agentwatch.standin.anthropic_prices import cost as billed

BOOK = load_book(None)


def test_a_line_is_rounded_up_once() -> None:
    assert billed("claude-sonnet-5", fresh=3, output=2) == 3 * 2_000 + 2 * 10_000
    long = {"fresh": 100_000, "written": 1}
    # 100,000 at $0.50 and one write at $0.625, a tenth more in the United States
    assert billed("claude-haiku-5-5", **long, us=True) == 55_000_000 + 688


def test_a_long_prompt_starts_above_its_threshold() -> None:
    assert billed("claude-haiku-5-5", fresh=100_000) == 10_000_000
    assert billed("claude-haiku-5-5", fresh=99_999, read=2) == 99_999 * 500 + 2 * 50


def test_older_models_know_no_place() -> None:
    assert billed("claude-haiku-4-5", fresh=9, us=True) == billed("claude-haiku-4-5", fresh=9)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_both_price_tables_say_the_same(name: str) -> None:
    price = BOOK.find("anthropic", name)
    assert price is not None
    known = MODELS[name]
    for fast in (False, True) if known.fast else (False,):
        for prompt in (1, 1_000, 100_000, 100_001, 200_000, 200_001):
            kinds = {"written": prompt // 5, "written_long": prompt // 7, "read": prompt // 3}
            usage = Usage(
                input_tokens=prompt,
                cached_input_tokens=kinds["read"],
                cache_write_tokens=kinds["written"],
                cache_write_long_tokens=kinds["written_long"],
                output_tokens=333,
            )
            line = billed(name, fresh=prompt - sum(kinds.values()), **kinds, output=333, fast=fast)
            assert cost(price, usage, "fast" if fast else "standard") == line
    assert price.max_output_tokens is not None
    assert price.max_output_tokens >= known.max_output
