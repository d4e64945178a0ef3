"""Systems that answer by several models."""

from __future__ import annotations

from agentwatch.core.prices import cost
from agentwatch.core.usage import Usage
from agentwatch.pricing import load_book, own_rules
from agentwatch.pricing.systems import systems

BOOK = load_book(None)


def test_a_system_costs_at_most_what_its_dearest_model_does() -> None:
    usage = Usage(input_tokens=1_000, cached_input_tokens=100, output_tokens=50)
    for name, models in own_rules.SYSTEMS["groq"].items():
        system = BOOK.find("groq", name)
        assert system is not None and system.fees["web_search"] == 8_000_000
        for model in models:
            part = BOOK.find("groq", model)
            assert part is not None and cost(part, usage) <= cost(system, usage)


def test_a_system_of_a_model_without_a_price_has_none() -> None:
    assert list(systems("groq", ())) == []
    assert list(systems("openai", ())) == []
