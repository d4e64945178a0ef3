"""Models that are not billed by tokens: by the second of sound, the character, the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

from agentwatch.core.money import NANOS_PER_USD
from agentwatch.core.naming import equals
from agentwatch.core.price_book import DEFAULT_TIER, Band, Entry, ModelPrice, Rates
from agentwatch.pricing import own_rules

#: the price library's keys, our piece, and how many of it the price is for
KEYS = {
    "audio_hours": ("audio_ms", 3_600_000),
    "input_audio_hours": ("audio_ms", 3_600_000),
    "input_mchars": ("characters", 1_000_000),
}
#: no rate for tokens: a call that is billed by them is not priced
_TIERS: dict[str, tuple[Band, ...]] = {DEFAULT_TIER: (Band(rates=Rates()),)}

Prices = Mapping[str, Any]


def usd_to_nanos(usd: Decimal) -> int:
    """USD to nanos, rounded up."""
    return int((usd * NANOS_PER_USD).to_integral_value(ROUND_CEILING))


def is_billed_so(several: list[Prices]) -> bool:
    """Whether a model with these prices is billed by the piece and by nothing else."""
    return bool(several) and all(keys and keys.keys() <= KEYS.keys() for keys in several)


def priced(provider: str, model: str, several: list[Prices], source: str) -> ModelPrice:
    """The price of such a model; of several the dearest."""
    fees: dict[str, int] = {}
    for prices in several:
        for key, usd in prices.items():
            name = KEYS[key][0]
            fees[name] = max(usd_to_nanos(usd), fees.get(name, 0))
    return ModelPrice(
        provider=provider,
        model=model,
        tiers=_TIERS,
        tier_aliases=own_rules.TIER_ALIASES.get(provider, {}),
        fees=fees,
        per={name: per for name, per in KEYS.values() if name in fees},
        source=source,
    )


def images(provider: str) -> Iterator[Entry]:
    """The models that are billed by the image."""
    for model, fees in own_rules.BY_PIECE.get(provider, {}).items():
        price = ModelPrice(
            provider=provider,
            model=model,
            tiers=_TIERS,
            fees=fees,
            source="agentwatch",
            rules=("price by the image",),
        )
        yield Entry(clause=equals(model), model=model, price=price)
