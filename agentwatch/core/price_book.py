"""Prices as they are looked up: rates, one model's price, and the book that finds it by a name.

Rates are integer nano-USD per million tokens. A unit without a rate is None, "not priced": it
is never taken for 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache

from msgspec import Struct

from agentwatch.core.naming import Clause, matches, with_dashed_date
from agentwatch.errors import AgentWatchError

#: the service tier that every model has, and that an answer without a tier is billed at
DEFAULT_TIER = "default"
#: stands for every service tier: in the ceiling price of unknown models
ANY_TIER = "*"
#: names that are longer mean no model
LONGEST_NAME = 256
#: names that a book remembers: a caller may make up any number of them
REMEMBERED_NAMES = 2048


class Unpriced(AgentWatchError):
    """A unit, service tier or hosted tool for which this model has no rate."""


class Rates(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Nano-USD per million tokens of each unit; None: not priced."""

    input: int | None = None
    cached_input: int | None = None
    cache_write: int | None = None
    #: a write that is kept for longer (1 h at Anthropic, 12 h at OpenAI)
    cache_write_long: int | None = None
    output: int | None = None
    input_audio: int | None = None
    cached_audio: int | None = None
    output_audio: int | None = None
    #: images and video, where they cost otherwise than text
    input_media: int | None = None
    cached_media: int | None = None
    output_media: int | None = None


class Band(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The rates of a call whose whole input is more than `above` tokens (strictly more)."""

    above: int = -1
    rates: Rates


class ModelPrice(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one model costs. `tiers` has the bands of each service tier, ascending by `above`,
    the first of them at -1."""

    provider: str
    model: str
    tiers: dict[str, tuple[Band, ...]]
    #: other names of a service tier: {"standard": "default"}
    tier_aliases: dict[str, str] = {}
    #: tiers that no price list names and a rule of ours bounds
    ruled_tiers: tuple[str, ...] = ()
    #: what is billed by the piece, in nanos: calls of hosted tools, and for models without a rate
    #: for tokens the unit that they are billed by (audio_ms, characters …)
    fees: dict[str, int] = {}
    #: how many pieces a fee is for, where that is not one
    per: dict[str, int] = {}
    max_output_tokens: int | None = None
    context_window: int | None = None
    #: "genai-prices 0.2.3", "agentwatch", "user" or "ceiling price"
    source: str
    #: what our own rules put in, in words
    rules: tuple[str, ...] = ()

    @property
    def most_output(self) -> int | None:
        """The most tokens that one answer can have: the limit, or else the context window."""
        return self.max_output_tokens or self.context_window

    @property
    def by_tokens(self) -> bool:
        """Whether it is billed by tokens at all."""
        return any(band.rates.input is not None for bands in self.tiers.values() for band in bands)

    def piece_cost(self, name: str, count: int) -> int:
        """Nanos for so many pieces, rounded up. Raises Unpriced."""
        if name not in self.fees:
            raise Unpriced(f"{self.provider}/{self.model} has no fee for {name[:40]!r}")
        return -(-count * self.fees[name] // self.per.get(name, 1))


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a price list: the names it means, and a price or why there is none."""

    clause: Clause
    model: str
    price: ModelPrice | None = None
    why_unpriced: str = ""
    #: billed by the hour, the character …: a price per token can't bound it
    other_units: bool = False


class Catalogue(Struct, frozen=True, kw_only=True):
    """A compiled price list. Of several entries that mean a name the first counts."""

    version: str
    #: from when to when (seconds since 1970) the dated prices in it are those in force
    from_at: float
    stale_at: float | None
    entries: dict[str, tuple[Entry, ...]]
    #: hosted tools by provider, nanos a call
    fees: dict[str, dict[str, int]]


class PriceBook:
    """Finds prices by provider and model name."""

    def __init__(self, catalogue: Catalogue, unknown_nanos_per_mtok: int | None = None) -> None:
        self.catalogue = catalogue
        self.version = catalogue.version
        #: when another dated price comes into force and the book must be loaded again
        self.stale_at = catalogue.stale_at
        #: the ceiling price of models that are not in the book
        self.unknown_nanos_per_mtok = unknown_nanos_per_mtok
        self._remembered = lru_cache(maxsize=REMEMBERED_NAMES)(self._search)

    def find(self, provider: str, model: str) -> ModelPrice | None:
        """The price of a model by any name it goes by; None: not priced.

        With a ceiling price (`with_unknown`) an unknown model has that, in every service tier.
        """
        if not model or len(model) > LONGEST_NAME:
            return None
        return self._remembered(provider, model.lower())

    def nearest(self, model: str, provider: str | None = None, most: int = 1) -> list[str]:
        """The names of priced models that look like this one, the likeliest first. It takes some
        milliseconds: for who is being refused."""
        known = {line.model: None for _, line in self.entries(provider) if line.price is not None}
        return get_close_matches(model.lower(), known, n=most)

    def fee(self, provider: str, name: str) -> int | None:
        """Nanos for one call of a hosted tool, the dearest that the provider asks; None: not
        priced."""
        return self.catalogue.fees.get(provider, {}).get(name)

    def with_unknown(self, nanos_per_mtok: int | None) -> PriceBook:
        """The same book with a ceiling price (nanos per million tokens of any unit) for models
        that are not in it."""
        return PriceBook(self.catalogue, nanos_per_mtok)

    def entries(self, provider: str | None = None) -> Iterator[tuple[str, Entry]]:
        """All lines with their provider, in the order in which they are tried."""
        for name, lines in self.catalogue.entries.items():
            if provider in (None, name):
                yield from ((name, line) for line in lines)

    def _search(self, provider: str, name: str) -> ModelPrice | None:
        lines = self.catalogue.entries.get(provider, ())
        for spelling in dict.fromkeys((name, with_dashed_date(name))):
            for line in lines:
                if matches(line.clause, spelling):
                    if line.price is not None or line.other_units:
                        return line.price
                    return self._ceiling(provider, name)
        return self._ceiling(provider, name)

    def _ceiling(self, provider: str, name: str) -> ModelPrice | None:
        if self.unknown_nanos_per_mtok is None:
            return None
        units = dict.fromkeys(Rates.__struct_fields__, self.unknown_nanos_per_mtok)
        return ModelPrice(
            provider=provider,
            model=name,
            tiers={ANY_TIER: (Band(rates=Rates(**units)),)},
            fees=self.catalogue.fees.get(provider, {}),
            source="ceiling price",
        )
