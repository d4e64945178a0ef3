"""The price book's arithmetic: usage to money, rounded up once a call, and the dearest that a
request can reach.

Where a provider's rule is not known but an upper reading is (a cache write without a rate of its
own), that reading is used, so that what is charged here is never less than what was billed.
Where not even that is known, Unpriced is raised: nothing is ever taken for free.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from msgspec.structs import replace

from agentwatch.core.money import price_of, round_up
from agentwatch.core.price_book import (
    ANY_TIER,
    DEFAULT_TIER,
    Band,
    ModelPrice,
    PriceBook,
    Rates,
    Unpriced,
)
from agentwatch.core.usage import Usage

__all__ = [
    "ANY_TIER",
    "DEFAULT_TIER",
    "Band",
    "ModelPrice",
    "PriceBook",
    "Rates",
    "Unpriced",
    "billed_input",
    "cost",
    "dearest",
    "dearest_of",
    "reachable_tiers",
    "scaled",
    "worst_rates",
]


def cost(price: ModelPrice, usage: Usage, service_tier: str | None = None) -> int:
    """What a call cost, in nanos, rounded up once.

    `service_tier` is the one that answered; None: the answer did not say, so the default.
    A cost that the provider states itself is the charge. Usage that contradicts itself is read
    as dearly as it can be meant. Shares of other models are not in it. Raises Unpriced.
    """
    if usage.stated_nanos is not None and usage.stated_nanos >= 0:
        return usage.stated_nanos
    tokens = max(_tokens_scaled(bands, usage) for bands in _billable(price, service_tier))
    tokens = -(-tokens * max(1000, usage.uplift_thousandths) // 1000)
    return round_up(tokens) + _pieces(price, usage.pieces)


def billed_input(usage: Usage) -> int:
    """Input tokens of a usage report: what it says, or the sum of the parts where that is more."""
    cached, write, long, audio = _parts(usage)
    return max(0, usage.input_tokens, cached + write + long, audio, usage.input_media_tokens)


def worst_rates(
    price: ModelPrice,
    input_bound: int,
    service_tiers: Iterable[str] = (DEFAULT_TIER,),
    audio_in: bool = False,
    audio_out: bool = False,
    has_output: bool = True,
    cache_write_long: bool = True,
    media: bool = True,
) -> tuple[int, int]:
    """The dearest input and output rate (nanos per million) that a request can reach which has
    at most `input_bound` tokens of input and is billed in one of the service tiers.

    `cache_write_long` tells whether it may write to the cache for the longer of two lifetimes,
    `media` whether images or video can come in or go out.

    Its tokens then cost at most round_up(input x first + output x second). Raises Unpriced
    where a rate is missing in any place that can be reached.
    """
    reach = dearest(price, input_bound, service_tiers, media)
    text = [reach.cached_input, reach.cache_write]
    if cache_write_long:
        text.append(reach.cache_write_long)
    inputs = [_known(price, reach.input, "input"), *_given(text)]
    if audio_in:
        inputs += [_known(price, reach.input_audio, "input audio"), *_given((reach.cached_audio,))]
    if not has_output:
        return max(inputs), 0
    outputs = [_known(price, reach.output, "output")]
    if audio_out:
        outputs.append(_known(price, reach.output_audio, "output audio"))
    return max(inputs), max(outputs)


def dearest(
    price: ModelPrice,
    input_bound: int,
    service_tiers: Iterable[str] = (DEFAULT_TIER,),
    media: bool = True,
) -> Rates:
    """The dearest rate of each unit over the bands and service tiers that can be reached, as it
    would be charged (media, where there may be any, are in the rates of text); None where one of
    them does not price it.
    Raises Unpriced for a service tier without prices."""
    names = tuple(service_tiers) or (DEFAULT_TIER,)
    return dearest_of(
        tuple(
            _charged(band.rates if media else _without_media(band.rates))
            for name in names
            for bands in _billable(price, name)
            for band in bands
            if input_bound > band.above
        )
    )


@lru_cache(maxsize=4096)
def dearest_of(several: tuple[Rates, ...]) -> Rates:
    """Unit by unit the greatest; None where one of them has none."""

    def most(unit: str) -> int | None:
        known = _given(getattr(rates, unit) for rates in several)
        return max(known) if known and len(known) == len(several) else None

    return Rates(**{unit: most(unit) for unit in Rates.__struct_fields__})


def reachable_tiers(
    price: ModelPrice, asked: str | None, auto_tier: str | None = None
) -> tuple[str, ...]:
    """The service tiers that a request may be billed in.

    Where it asks for none, or "auto", the provider's project settings decide: `auto_tier` says
    what they are; else priority is taken for possible where the price list has it. A dear tier
    can be answered by a cheaper one. An unknown tier is returned as it is: it has no price.
    """
    if asked in (None, "auto"):
        if auto_tier is not None and auto_tier != "auto":
            return reachable_tiers(price, auto_tier)
        listed = "priority" in price.tiers and "priority" not in price.ruled_tiers
        return (DEFAULT_TIER, "priority") if listed else (DEFAULT_TIER,)
    assert asked is not None
    name = price.tier_aliases.get(asked, asked)
    if name == "ultrafast" and "priority" in price.tiers:
        return (name, "priority", DEFAULT_TIER)
    return (name,) if name == DEFAULT_TIER else (name, DEFAULT_TIER)


def scaled(rates: Rates, times: int, per: int = 1000) -> Rates:
    """All rates times `times` / `per`, each rounded up."""
    return Rates(
        **{
            unit: None if (rate := getattr(rates, unit)) is None else -(-rate * times // per)
            for unit in Rates.__struct_fields__
        }
    )


def _billable(price: ModelPrice, service_tier: str | None) -> Iterator[tuple[Band, ...]]:
    """The bands that an answer of this service tier may have been billed by."""
    if service_tier == "auto":
        for name in reachable_tiers(price, None):
            yield _bands(price, name)
    else:
        yield _bands(price, service_tier or DEFAULT_TIER)


def _bands(price: ModelPrice, service_tier: str) -> tuple[Band, ...]:
    name = price.tier_aliases.get(service_tier, service_tier)
    bands = price.tiers.get(name) or price.tiers.get(ANY_TIER)
    if not bands:
        raise Unpriced(f"{price.provider}/{price.model} has no price in service tier {name[:40]!r}")
    return bands


@lru_cache(maxsize=4096)
def _charged(rates: Rates) -> Rates:
    """The rates that are charged: gaps filled by the dearest reading that is known.

    Without a discount of its own, what is cached costs what fresh input costs. A write to the
    cache costs at least what input costs. Media without a rate of their own cost as text does,
    and text as media do where these are dearer, as usage does not tell them apart.
    """
    if rates.input is None:
        return rates
    fresh = max(rates.input, rates.input_media or 0)
    known = [fresh, *_given((rates.cache_write, rates.cache_write_long))]
    cached = fresh if rates.cached_input is None else rates.cached_input
    audio, output = rates.input_audio, rates.output
    return Rates(
        input=fresh,
        cached_input=max(cached, rates.cached_media or 0),
        cache_write=max(known) if rates.cache_write is None else max(fresh, rates.cache_write),
        cache_write_long=max([*known, rates.cache_write_long or 0]),
        output=None if output is None else max(output, rates.output_media or 0),
        input_audio=audio,
        cached_audio=audio if rates.cached_audio is None else rates.cached_audio,
        output_audio=rates.output_audio,
    )


@lru_cache(maxsize=4096)
def _without_media(rates: Rates) -> Rates:
    return replace(rates, input_media=None, cached_media=None, output_media=None)


@lru_cache(maxsize=4096)
def _told_apart(rates: Rates) -> Rates:
    """The rates that are charged where the report tells text from media: each as it is listed,
    gaps filled by the dearest reading that is known."""
    text = _charged(_without_media(rates))
    media = text.input if rates.input_media is None else rates.input_media
    cached = rates.input_media if rates.cached_media is None else rates.cached_media
    return replace(
        text,
        input_media=media,
        cached_media=text.cached_input if cached is None else cached,
        output_media=text.output if rates.output_media is None else rates.output_media,
    )


def _tokens_scaled(bands: tuple[Band, ...], usage: Usage) -> int:
    total = billed_input(usage)
    band = [band for band in bands if total > band.above][-1]
    rates = _told_apart(band.rates) if usage.by_kind else _charged(band.rates)
    return _input_scaled(rates, usage, total) + _output_scaled(rates, usage)


def _input_scaled(rates: Rates, usage: Usage, total: int) -> int:
    """Input as it was stated; where its parts contradict the sum, the dearer of that reading and
    one that grants no discount for them."""
    cached, write, long, audio = _parts(usage)
    fresh = total - cached - write - long
    stated = (
        _by_kind_scaled(rates, usage, total)
        if usage.by_kind
        else _rooms_scaled(
            [
                (fresh, rates.input, rates.input_audio),
                (cached, rates.cached_input, rates.cached_audio),
                (write, rates.cache_write, _most(rates.cache_write, rates.input_audio)),
                (long, rates.cache_write_long, _most(rates.cache_write_long, rates.input_audio)),
            ],
            audio,
        )
    )
    if total == usage.input_tokens:
        return stated
    undiscounted = [rates.input or 0, rates.cache_write or 0, rates.cache_write_long or 0]
    if audio:
        undiscounted.append(rates.input_audio or 0)
    return max(stated, price_of(max(0, usage.input_tokens), max(undiscounted)))


def _by_kind_scaled(rates: Rates, usage: Usage, total: int) -> int:
    """The sum where text, audio and media are told apart. What does not fit into fresh input was
    in the cache."""
    cached, write, long, audio = _parts(usage)
    media = max(0, usage.input_media_tokens)
    fresh = total - cached - write - long
    cached_audio = min(cached, audio, max(usage.cached_audio_tokens, audio - fresh))
    fresh_audio = min(fresh, audio - cached_audio)
    room = cached - cached_audio
    cached_media = min(room, media, max(usage.cached_media_tokens, media - fresh + fresh_audio))
    fresh_media = min(fresh - fresh_audio, media - cached_media)
    return (
        _priced(fresh - fresh_audio - fresh_media, rates.input, "input")
        + _priced(fresh_audio, rates.input_audio, "input audio")
        + _priced(fresh_media, rates.input_media, "input media")
        + _priced(room - cached_media, rates.cached_input, "cached")
        + _priced(cached_audio, rates.cached_audio, "cached audio")
        + _priced(cached_media, rates.cached_media, "cached media")
        + _priced(write, rates.cache_write, "cache write")
        + _priced(long, rates.cache_write_long, "cache write")
    )


def _rooms_scaled(rooms: list[tuple[int, int | None, int | None]], audio: int) -> int:
    """The sum over (tokens, text rate, audio rate), where it is not known in which room the
    audio tokens are: they are put where they cost most."""
    if not audio:
        return sum(_priced(tokens, text, "input") for tokens, text, _ in rooms)
    taken = [room for room in rooms if room[0]]
    taken.sort(key=lambda room: (room[2] or 0) - (room[1] or 0), reverse=True)
    sum_ = 0
    for tokens, text, sound in taken:
        here = min(audio, tokens)
        audio -= here
        sum_ += _priced(here, sound, "input audio") + _priced(tokens - here, text, "input")
    return sum_


def _output_scaled(rates: Rates, usage: Usage) -> int:
    audio = max(0, usage.output_audio_tokens)
    media = max(0, usage.output_media_tokens) if usage.by_kind else 0
    output = max(0, usage.output_tokens, usage.reasoning_tokens, audio + media)
    return (
        _priced(audio, rates.output_audio, "output audio")
        + _priced(media, rates.output_media, "output media")
        + _priced(output - audio - media, rates.output, "output")
    )


def _pieces(price: ModelPrice, calls: dict[str, int]) -> int:
    return sum(price.piece_cost(name, count) for name, count in calls.items() if count > 0)


def _parts(usage: Usage) -> tuple[int, int, int, int]:
    return (
        max(0, usage.cached_input_tokens),
        max(0, usage.cache_write_tokens),
        max(0, usage.cache_write_long_tokens),
        max(0, usage.input_audio_tokens),
    )


def _priced(tokens: int, rate: int | None, unit: str) -> int:
    if not tokens:
        return 0
    if rate is None:
        raise Unpriced(f"{unit} tokens have no rate")
    return price_of(tokens, rate)


def _known(price: ModelPrice, rate: int | None, unit: str) -> int:
    if rate is None:
        raise Unpriced(f"{price.provider}/{price.model} has no rate for {unit} tokens")
    return rate


def _given(rates: Iterable[int | None]) -> list[int]:
    return [rate for rate in rates if rate is not None]


def _most(*rates: int | None) -> int | None:
    """The greatest, None where any is not known."""
    known = _given(rates)
    return max(known) if len(known) == len(rates) else None
