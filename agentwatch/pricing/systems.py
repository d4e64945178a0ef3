"""Systems that answer by several models: priced at the dearest of them, where no part is told."""

from __future__ import annotations

from collections.abc import Iterator

from agentwatch.core.naming import equals
from agentwatch.core.price_book import DEFAULT_TIER, Band, Entry, ModelPrice
from agentwatch.core.prices import dearest_of
from agentwatch.pricing import own_rules


def systems(provider: str, listed: tuple[Entry, ...]) -> Iterator[Entry]:
    """An entry for each system of this provider whose models all have a price in `listed`."""
    prices = {entry.model: entry.price for entry in listed if entry.price is not None}
    for name, models in own_rules.SYSTEMS.get(provider, {}).items():
        parts = [prices[model] for model in models if model in prices]
        if len(parts) == len(models):
            yield Entry(clause=equals(name), model=name, price=_price(provider, name, parts))


def _price(provider: str, name: str, parts: list[ModelPrice]) -> ModelPrice:
    bands = [band.rates for part in parts for band in part.tiers[DEFAULT_TIER]]
    limits = own_rules.limits_of(provider, name)
    return ModelPrice(
        provider=provider,
        model=name,
        tiers={DEFAULT_TIER: (Band(rates=dearest_of(tuple(bands))),)},
        tier_aliases=own_rules.TIER_ALIASES.get(provider, {}),
        fees=own_rules.FEES.get(provider, {}),
        max_output_tokens=limits.max_output,
        context_window=limits.context_window,
        source="agentwatch",
        rules=("the dearest of the models that it calls",),
    )
