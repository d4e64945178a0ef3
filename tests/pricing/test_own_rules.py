"""Our own tables."""

from __future__ import annotations

import pytest

from agentwatch.core.price_book import Rates
from agentwatch.pricing import own_rules


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("gpt-4", 8_192),
        ("gpt-4-turbo", 4_096),
        ("gpt-4o-mini", 16_384),
        ("gpt-5-pro", 272_000),
        ("o1", 100_000),
        ("o1-mini", 65_536),
        ("tts-1", None),
    ],
)
def test_the_longest_beginning_that_fits_counts(model: str, limit: int | None) -> None:
    assert own_rules.limits_of("openai", model).max_output == limit


def test_no_answer_is_longer_than_its_models_window() -> None:
    for models in own_rules.LIMITS.values():
        for limits in models.values():
            assert limits.max_output is not None and limits.context_window is not None
            assert 0 < limits.max_output <= limits.context_window


def test_every_missing_rate_is_of_a_unit_that_exists() -> None:
    for rates in own_rules.MISSING_RATES.values():
        assert set(rates) <= set(Rates.__struct_fields__)
        assert all(rate > 0 for rate in rates.values())


def test_aliases_name_no_alias_of_an_alias() -> None:
    for aliases in own_rules.TIER_ALIASES.values():
        assert not set(aliases.values()) & set(aliases)


#: discounts that a provider's documentation promises for every model that has the tier
DISCOUNTS = {("gemini", "flex")}


def test_no_tier_is_ruled_cheaper_than_the_default_on_a_guess() -> None:
    for provider, rules in own_rules.TIER_RULES.items():
        for rule in rules:
            assert rule.thousandths >= 1000 or (provider, rule.name) in DISCOUNTS


@pytest.mark.parametrize(
    ("provider", "address", "times"),
    [
        ("openai", "https://api.openai.com/v1", 1000),
        ("openai", "https://eu.api.openai.com/v1", 1100),
        ("openai", "https://eu.api.openai.com.example.org/v1", 1000),
        ("openai", "http://127.0.0.1:9/v1", 1000),
        ("xai", "https://us.api.x.ai/v1", 1100),
        ("xai", "https://api.x.ai/v1", 1000),
        ("groq", "https://api.groq.com", 1000),
    ],
)
def test_regional_addresses_are_known(provider: str, address: str, times: int) -> None:
    assert own_rules.uplift_thousandths(provider, address) == times
