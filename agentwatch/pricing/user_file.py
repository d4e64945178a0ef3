"""The user's prices.toml: prices of their own, which come before all others.

    [openai."my-model"]
    input = 1.0                      # USD per million tokens; also cached_input, cache_write, …
    output = 4.0
    max_output_tokens = 16384
    [openai."my-model".service_tiers.priority]
    input = 2.0
    output = 8.0

A table with rates replaces the model's price wholly: what it does not name is not priced. One
with limits only changes these. `[ollama."*"]` is the price of all models of that provider that
have none; a price of 0 has to be said outright.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from agentwatch.core.naming import Clause, equals
from agentwatch.core.price_book import (
    DEFAULT_TIER,
    Band,
    Catalogue,
    Entry,
    ModelPrice,
    PriceBook,
    Rates,
)
from agentwatch.errors import SettingsError
from agentwatch.pricing import own_rules
from agentwatch.pricing.by_piece import usd_to_nanos

#: stands for every model of a provider that has no price of its own
ALL_MODELS = "*"
LIMITS = ("max_output_tokens", "context_window")
#: USD per million tokens; above it is a typing mistake
MOST_USD = 1_000_000
_RATES = Rates.__struct_fields__
#: to call a typing mistake by what was meant
_KNOWN = (*_RATES, *LIMITS, "service_tiers")


class _Place(NamedTuple):
    """Where in the file something stands, for its error message."""

    file: Path
    text: str
    table: str

    def error(self, key: str, what: str) -> SettingsError:
        line = _line_of(self.text, self.table, key)
        where = f"{self.file}, line {line}" if line else str(self.file)
        return SettingsError(f"{where}: [{self.table}] {key}: {what}")


def with_user_file(
    catalogue: Catalogue, file: Path, raw: bytes, providers: Sequence[str] = ()
) -> Catalogue:
    """The catalogue with the prices of `file`, whose content is `raw`, in front. `providers` are
    those that may be named beside the price list's.

    Raises SettingsError, with file, line and key, for anything in it that is not understood.
    """
    tables = _parse(file, raw)
    text = raw.decode()
    entries = dict(catalogue.entries)
    listed = PriceBook(catalogue)
    known = tuple(dict.fromkeys((*own_rules.PROVIDERS, *providers)))
    for provider, models in tables.items():
        if provider not in known:
            raise _Place(file, text, provider).error(
                "", f"no such provider; one of {', '.join(known)}"
            )
        own = _provider_entries(file, text, provider, models, listed)
        entries[provider] = (*own, *entries.get(provider, ()))
    digest = hashlib.sha256(raw).hexdigest()[:8]
    return replace(catalogue, entries=entries, version=f"{catalogue.version}, user {digest}")


def _parse(file: Path, raw: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(raw.decode(), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from None


def _provider_entries(
    file: Path, text: str, provider: str, models: Any, listed: PriceBook
) -> list[Entry]:
    place = _Place(file, text, provider)
    if not isinstance(models, dict):
        raise place.error("", f'must be tables, like [{provider}."my-model"]')
    # what is said of all others is said last
    named = sorted(models.items(), key=lambda each: each[0] == ALL_MODELS)
    return [_entry(file, text, provider, name, table, listed) for name, table in named]


def _entry(file: Path, text: str, provider: str, name: str, table: Any, listed: PriceBook) -> Entry:
    place = _Place(file, text, f'{provider}."{name}"')
    if not isinstance(table, dict):
        raise place.error("", "must be a table of rates")
    _refuse_unknown(place, table, _KNOWN)
    known = listed.find(provider, name)
    limits = {key: _limit(place, key, table[key]) for key in LIMITS if key in table}
    if not any(unit in table for unit in _RATES):
        price = _with_limits(place, known, limits)
    else:
        price = _own_price(place, provider, name, table)
        inherited = {key: getattr(known, key) for key in LIMITS if known is not None}
        price = replace(price, **(inherited | limits))
    clause = Clause("starts_with", "") if name == ALL_MODELS else equals(name)
    return Entry(clause=clause, model=name, price=price)


def _own_price(place: _Place, provider: str, name: str, table: dict[str, Any]) -> ModelPrice:
    tiers: dict[str, tuple[Band, ...]] = {DEFAULT_TIER: (Band(rates=_rates(place, table)),)}
    own_tiers = table.get("service_tiers", {})
    if not isinstance(own_tiers, dict):
        raise place.error("service_tiers", "must be tables, one for each service tier")
    for tier, rates in own_tiers.items():
        where = place._replace(table=f"{place.table}.service_tiers.{tier}")
        if not isinstance(rates, dict):
            raise where.error("", "must be a table of rates")
        _refuse_unknown(where, rates, _RATES)
        tiers[tier] = (Band(rates=_rates(where, rates)),)
    aliases = own_rules.TIER_ALIASES.get(provider, {})
    return ModelPrice(
        provider=provider,
        model=name,
        tiers=tiers,
        tier_aliases={alias: tier for alias, tier in aliases.items() if alias not in tiers},
        fees=own_rules.FEES.get(provider, {}),
        source="user",
    )


def _with_limits(place: _Place, known: ModelPrice | None, limits: dict[str, int]) -> ModelPrice:
    if known is None:
        raise place.error("input", "is missing: the model has no price to take over")
    return replace(known, **limits, source=f"{known.source}, limits: user")


def _rates(place: _Place, table: dict[str, Any]) -> Rates:
    rates = {unit: _rate(place, unit, table[unit]) for unit in _RATES if unit in table}
    if "input" not in rates:
        raise place.error("input", "is missing: USD per million tokens of input")
    return Rates(**rates)


def _rate(place: _Place, key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise place.error(key, "must be a number, USD per million tokens")
    usd = Decimal(value)
    if not usd.is_finite() or usd < 0:
        raise place.error(key, "must be zero or more, USD per million tokens")
    if usd > MOST_USD:
        raise place.error(key, f"is above {MOST_USD} USD per million tokens")
    return usd_to_nanos(usd)


def _limit(place: _Place, key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 10**9:
        raise place.error(key, "must be a whole number of tokens, at least 1")
    return value


def _refuse_unknown(place: _Place, table: dict[str, Any], known: tuple[str, ...]) -> None:
    from difflib import get_close_matches

    for key in table:
        if key not in known:
            near = get_close_matches(key, known, n=1, cutoff=0.4)
            meant = f"; did you mean {near[0]}?" if near else f"; one of {', '.join(known)}"
            raise place.error(key, f"no such key{meant}")


def _line_of(text: str, table: str, key: str) -> int | None:
    """The line of `key` in [table], of the table's head where the key can't be found in it."""
    head = None
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped.startswith("["):
            if head is not None:
                break
            if _plain(stripped.split("]")[0].lstrip("[")) == _plain(table):
                head = number
        elif head is not None and key and _plain(stripped.split("=")[0]) == key:
            return number
    return head


def _plain(name: str) -> str:
    return re.sub(r"[\s\"']", "", name)
