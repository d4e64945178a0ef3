"""Compiles the pinned, offline price list of genai-prices, and our own rules on top of it, into
the catalogue that prices are looked up in.

The library answers an unknown service tier with the standard price, an empty price with 0 and an
unpriced unit with its parent's rate. None of that is taken over: what a price list does not say
outright is not priced, or by a rule of ours that is named in the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from agentwatch.core.naming import Clause
from agentwatch.core.price_book import (
    DEFAULT_TIER,
    Band,
    Catalogue,
    Entry,
    ModelPrice,
    Rates,
)
from agentwatch.core.prices import dearest_of, scaled
from agentwatch.pricing import by_piece, own_rules
from agentwatch.pricing.systems import systems

#: the library's price keys and our units; of several for one unit the dearest counts
UNITS = {
    "input_mtok": "input",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_long",
    "output_mtok": "output",
    "input_audio_mtok": "input_audio",
    "cache_audio_read_mtok": "cached_audio",
    "output_audio_mtok": "output_audio",
    "input_image_mtok": "input_media",
    "input_video_mtok": "input_media",
    "cache_image_read_mtok": "cached_media",
    "output_image_mtok": "output_media",
    "output_video_mtok": "output_media",
}
#: the library's keys for hosted tools (USD per thousand) and our fee names
FEE_KEYS = {"web_searches_kcount": "web_search", "storage_searches_kcount": "file_search"}

#: which request makes a variant of a price apply: (key, value) -> service tier; the value itself
#: where it is a service tier
VARIANT_TIERS = {("processing", "batch"): "batch", ("speed", "fast"): "fast"}

Prices = Mapping[str, Any]


def compile_catalogue(
    providers: Iterable[Any], *, source: str, version: str, now: float
) -> Catalogue:
    """The catalogue of the library's `providers` as prices stand at `now` (seconds since 1970).

    `source` is the name that its prices carry, `version` the catalogue's own.
    """
    by_id = {provider.id: provider for provider in providers}
    today = datetime.fromtimestamp(now, tz=UTC).date()
    entries = {
        ours: (
            *_free(ours),
            *by_piece.images(ours),
            *(_entry(ours, model, source, today) for model in _models(by_id, id_)),
        )
        for ours, id_ in own_rules.PROVIDERS.items()
    }
    for ours, lines in entries.items():
        entries[ours] = (*systems(ours, lines), *lines)
    dates = sorted(set(_dates(by_id)))
    return Catalogue(
        version=version,
        from_at=max((_at(day) for day in dates if day <= today), default=0.0),
        stale_at=min((_at(day) for day in dates if day > today), default=None),
        entries=entries,
        fees=own_rules.FEES,
    )


def bundled_providers() -> list[Any]:
    """The providers of the installed genai-prices, from its own files: never from the network.

    Takes 0.2 to 0.3 s, as it imports the library.
    """
    from genai_prices.data import providers

    return list(providers)


def uplifted(catalogue: Catalogue, provider: str, thousandths: int) -> Catalogue:
    """The catalogue with all rates of a provider times `thousandths` / 1000."""
    lines = tuple(
        replace(line, price=_uplifted_price(line.price, thousandths)) if line.price else line
        for line in catalogue.entries.get(provider, ())
    )
    return replace(
        catalogue,
        entries={**catalogue.entries, provider: lines},
        version=f"{catalogue.version}, {provider} x {thousandths / 1000}",
    )


def _models(by_id: Mapping[str, Any], provider_id: str) -> Iterator[Any]:
    for model in by_id[provider_id].models if provider_id in by_id else ():
        # Claude on Google's cloud is not what the Gemini API serves
        if not (provider_id == "google" and model.id.startswith("claude")):
            yield model


def _entry(provider: str, model: Any, source: str, today: date) -> Entry:
    clause = _clause(model.match)
    if not model.id.startswith("ft:"):
        clause = _without_fine_tunes(clause)
    standard = _in_force(model.prices, today)
    if by_piece.is_billed_so(standard):
        price = by_piece.priced(provider, model.id, standard, source)
        return Entry(clause=clause, model=model.id, price=price)
    unpriced = _why_unpriced(standard)
    if unpriced:
        other = any(keys for keys in standard)
        return Entry(clause=clause, model=model.id, why_unpriced=unpriced, other_units=other)
    return Entry(
        clause=clause,
        model=model.id,
        price=_ruled(provider, model, _listed(provider, model, standard, source, today)),
    )


def _why_unpriced(standard: list[Prices]) -> str:
    keys = {key for prices in standard for key in prices}
    unknown = sorted(keys - UNITS.keys() - FEE_KEYS.keys())
    if unknown:
        return f"billed in units other than tokens ({', '.join(unknown)})"
    if not keys:
        return "the price list has no price for it"
    return "" if "input_mtok" in keys else "the price list has no rate for input tokens"


def _listed(
    provider: str, model: Any, standard: list[Prices], source: str, today: date
) -> ModelPrice:
    """The model's price as the library has it."""
    tiers = {DEFAULT_TIER: _bands(standard)}
    for name in _variant_names(model):
        tiers[name] = _bands([_variant(model, name, prices, today) for prices in standard])
    aliases = own_rules.TIER_ALIASES.get(provider, {})
    limits = own_rules.limits_of(provider, model.id)
    windows = [size for size in (model.context_window, limits.context_window) if size]
    if not any("output_mtok" in prices for prices in standard):
        # an embedding request has many inputs: the window bounds each of them, not the call
        windows = []
    return ModelPrice(
        provider=provider,
        model=model.id,
        tiers={name: bands for name, bands in tiers.items() if name not in aliases},
        tier_aliases=aliases,
        fees=own_rules.FEES.get(provider, {}) | _fees(standard),
        max_output_tokens=limits.max_output,
        context_window=max(windows, default=None),
        source=source,
        rules=("output limit",) if limits.max_output else (),
    )


def _ruled(provider: str, model: Any, price: ModelPrice) -> ModelPrice:
    """The price with our own rules put in; each is named in its `rules`."""
    missing = own_rules.MISSING_RATES.get((provider, model.id))
    if missing:
        price = _each_rates(price, lambda rates: _with_missing(rates, missing))
        price = replace(price, rules=(*price.rules, *(f"{unit} rate" for unit in missing)))
    if provider in own_rules.SOUND_AS_TEXT:
        price = _each_rates(price, _with_sound)
    thousandths = own_rules.LONG_WRITE_THOUSANDTHS.get(provider)
    if thousandths and _writes_cache(price):
        price = _each_rates(price, lambda rates: _with_long_write(rates, thousandths))
        price = replace(price, rules=(*price.rules, "cache_write_long rate"))
    for rule in own_rules.TIER_RULES.get(provider, ()):
        if rule.name not in price.tiers and price.model.startswith(rule.models):
            price = _with_tier(price, rule)
    return price


def _with_tier(price: ModelPrice, rule: own_rules.TierRule) -> ModelPrice:
    bands = _scaled_bands(price.tiers[DEFAULT_TIER], rule.thousandths)
    return replace(
        price,
        tiers={**price.tiers, rule.name: bands},
        ruled_tiers=(*price.ruled_tiers, rule.name),
        rules=(*price.rules, f"service tier {rule.name}: {rule.thousandths / 1000:g} x default"),
    )


def _each_rates(price: ModelPrice, change: Callable[[Rates], Rates]) -> ModelPrice:
    tiers = {
        name: tuple(replace(band, rates=change(band.rates)) for band in bands)
        for name, bands in price.tiers.items()
    }
    return replace(price, tiers=tiers)


def _with_missing(rates: Rates, missing: Mapping[str, int]) -> Rates:
    return replace(
        rates, **{unit: rate for unit, rate in missing.items() if getattr(rates, unit) is None}
    )


def _with_sound(rates: Rates) -> Rates:
    """Sound costs what text does where it has no rate of its own."""
    if rates.input_audio is None:
        rates = replace(rates, input_audio=rates.input, cached_audio=rates.cached_input)
    return rates if rates.output_audio is not None else replace(rates, output_audio=rates.output)


def _with_long_write(rates: Rates, thousandths: int) -> Rates:
    if rates.input is None or rates.cache_write_long is not None:
        return rates
    return replace(rates, cache_write_long=-(-rates.input * thousandths // 1000))


def _writes_cache(price: ModelPrice) -> bool:
    return any(band.rates.cache_write is not None for band in price.tiers[DEFAULT_TIER])


def _scaled_bands(bands: tuple[Band, ...], thousandths: int) -> tuple[Band, ...]:
    return tuple(replace(band, rates=scaled(band.rates, thousandths)) for band in bands)


def _uplifted_price(price: ModelPrice, thousandths: int) -> ModelPrice:
    tiers = {name: _scaled_bands(bands, thousandths) for name, bands in price.tiers.items()}
    fees = price.fees
    if not price.by_tokens:
        fees = {name: -(-nanos * thousandths // 1000) for name, nanos in fees.items()}
    rules = (*price.rules, f"region: {thousandths / 1000:g} x")
    return replace(price, tiers=tiers, fees=fees, rules=rules)


def _free(provider: str) -> Iterator[Entry]:
    for start in own_rules.FREE.get(provider, ()):
        price = ModelPrice(
            provider=provider,
            model=start.rstrip("-"),
            tiers={DEFAULT_TIER: (Band(rates=Rates(input=0, output=0)),)},
            source="agentwatch",
            rules=("free of charge",),
        )
        yield Entry(clause=Clause("starts_with", start), model=price.model, price=price)


def _in_force(prices: Any, today: date) -> list[Prices]:
    """The prices that may apply today: one, or several where they change with the time of day."""
    if not isinstance(prices, list):
        return [_keys(prices)]
    by_hour = [each for each in prices if _by_hour(each.constraint)]
    lasting = [each for each in prices if not _by_hour(each.constraint)]
    started = [each for each in lasting if _started(each.constraint, today)]
    chosen = started[-1:] or lasting[:1]
    return [_keys(each.prices) for each in (*chosen, *by_hour)]


def _variant_names(model: Any) -> list[str]:
    names = (_variant_name(variant) for variant in model.price_variants or ())
    return [name for name in dict.fromkeys(names) if name not in (None, DEFAULT_TIER)]


def _variant_name(variant: Any) -> str | None:
    """The service tier that a variant prices; None for a combination, which stays unpriced."""
    if len(variant.when) != 1:
        return None
    ((key, value),) = variant.when.items()
    return value if key == "service_tier" else VARIANT_TIERS.get((key, value))


def _variant(model: Any, name: str, standard: Prices, today: date) -> Prices:
    """The standard prices with those of a service tier in their place; the first active variant
    that names a key counts."""
    own: dict[str, Any] = {}
    for variant in model.price_variants:
        active = not _by_hour(variant.constraint) and _started(variant.constraint, today)
        if _variant_name(variant) == name and active:
            own = {**_keys(variant.prices), **own}
    return {**standard, **own}


def _bands(several: list[Prices]) -> tuple[Band, ...]:
    """The bands of a price; of several prices the dearest in each band."""
    starts = sorted({-1, *(start for prices in several for start in _starts(prices))})
    return tuple(
        Band(above=start, rates=dearest_of(tuple(_rates(prices, start) for prices in several)))
        for start in starts
    )


def _starts(prices: Prices) -> Iterator[int]:
    for value in prices.values():
        yield from (tier.start for tier in getattr(value, "tiers", ()))


def _rates(prices: Prices, start: int) -> Rates:
    """The rates of input that is just above `start` tokens."""
    units: dict[str, int] = {}
    for key, value in prices.items():
        if key in UNITS:
            rate = by_piece.usd_to_nanos(_above(value, start))
            units[UNITS[key]] = max(rate, units.get(UNITS[key], 0))
    return Rates(**units)


def _above(value: Any, start: int) -> Decimal:
    price: Decimal = getattr(value, "base", value)
    for tier in getattr(value, "tiers", ()):
        if start >= tier.start:
            price = tier.price
    return price


def _fees(several: list[Prices]) -> dict[str, int]:
    fees: dict[str, int] = {}
    for prices in several:
        for key, name in FEE_KEYS.items():
            if key in prices:
                nanos = -(-by_piece.usd_to_nanos(_above(prices[key], -1)) // 1000)
                fees[name] = max(nanos, fees.get(name, 0))
    return fees


def _keys(prices: Any) -> Prices:
    return {key: value for key, value in vars(prices).items() if value is not None}


def _by_hour(constraint: Any) -> bool:
    return hasattr(constraint, "start_time")


def _started(constraint: Any, today: date) -> bool:
    return constraint is None or constraint.start_date <= today


def _dates(by_id: Mapping[str, Any]) -> Iterator[date]:
    for provider_id in own_rules.PROVIDERS.values():
        for model in _models(by_id, provider_id):
            dated = model.prices if isinstance(model.prices, list) else []
            for each in (*dated, *(model.price_variants or ())):
                if hasattr(each.constraint, "start_date"):
                    yield each.constraint.start_date


def _at(day: date) -> float:
    return (datetime.combine(day, time(), tzinfo=UTC) - _EPOCH) / timedelta(seconds=1)


_EPOCH = datetime.fromtimestamp(0, tz=UTC)


def _clause(match: Any) -> Clause:
    for kind in ("equals", "starts_with", "ends_with", "contains"):
        if hasattr(match, kind):
            return Clause(kind, getattr(match, kind).lower())
    if hasattr(match, "regex"):
        return Clause("regex", match.regex)
    kind = "or" if hasattr(match, "or_") else "and"
    return Clause(kind, parts=tuple(_clause(part) for part in getattr(match, f"{kind}_")))


def _without_fine_tunes(clause: Clause) -> Clause:
    """A fine-tuned model has a price of its own or none: never that of what it was made from."""
    if clause.text.startswith("ft:"):
        return Clause("or")
    return Clause(clause.kind, clause.text, tuple(map(_without_fine_tunes, clause.parts)))
