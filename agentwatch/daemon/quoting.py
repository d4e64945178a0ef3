"""What a request costs at most, and what an answer cost: the wire's Ask meets the price book."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from agentwatch.core.estimate import Quote, quote
from agentwatch.core.prices import (
    DEFAULT_TIER,
    ModelPrice,
    PriceBook,
    Unpriced,
    billed_input,
    cost,
    reachable_tiers,
    worst_rates,
)
from agentwatch.core.seen import Readings
from agentwatch.core.usage import Usage
from agentwatch.errors import Refusal
from agentwatch.wire.dialect import Ask

#: a report of more tokens than any model can handle in one call is no report
ABSURD_TOKENS = 50_000_000
#: a model thinks at most so fast: where it may have made output that is not shown, and tells no
#: usage, its time is counted
THINKING_TOKENS_PER_S = 300


class Charge(Struct, frozen=True):
    """What a call cost: nanos, on which basis (usage | estimate), by which model and tokens."""

    nanos: int
    basis: str
    model: str
    input_tokens: int
    output_tokens: int
    reason: str = ""


def priced(ask: Ask, book: PriceBook) -> tuple[ModelPrice, ...]:
    """The prices of the model that was asked for and of those that may be billed beside or in
    place of it. Raises Refusal(model_not_priced)."""
    return tuple(_find(ask.provider, model, book) for model in (ask.model, *ask.also_models))


def _find(provider: str, model: str, book: PriceBook) -> ModelPrice:
    price = book.find(provider, model)
    if price is None:
        raise Refusal(
            "model_not_priced",
            f"{provider} model {model[:80]!r} has no known price{_meant(provider, model, book)}, "
            "so it can't be held to a ceiling: give it one in prices.toml (`agentwatch prices show "
            "MODEL` tells where and how), or set [prices] unknown_usd_per_mtok; either counts from "
            "`agentwatch restart` on",
        )
    return price


def _meant(provider: str, model: str, book: PriceBook) -> str:
    near = book.nearest(model[:80], provider)
    return f" (did you mean {near[0]!r}?)" if near else ""


def quote_for(
    ask: Ask,
    prices: tuple[ModelPrice, ...],
    auto_tier: str | None,
    input_tokens: int | None = None,
) -> Quote:
    """The request's worst case by the dearest of the models that may answer it (`priced`).
    `input_tokens`, where they were counted, replace the bound.

    Raises Refusal(model_not_priced) where some part of it has no price or no bound.
    """
    bound = ask.input_bound if input_tokens is None else input_tokens
    windows = ask.rounds + ask.input_by_reference
    if windows:
        bound += windows * max(_window(price) for price in prices)
    try:
        rates = [_dearest(ask, price, bound, auto_tier) for price in prices]
        fees = sum(_fee(prices, name, count) for name, count in ask.pieces.items())
        fees += max(_units(ask, price) for price in prices)
    except Unpriced as error:
        raise Refusal("model_not_priced", f"{error}: give it one in prices.toml") from None
    asked, model_max = _most_made(ask, _most_output(prices))
    return quote(
        input_bound=bound,
        input_rate=max(first for first, _ in rates),
        output_rate=max(second for _, second in rates),
        choices=ask.choices,
        asked=asked,
        model_max=model_max,
        has_output=ask.has_output,
        extra_output=ask.extra_output,
        fees_nanos=fees,
        fixed_limit=ask.fixed_output,
    )


def _dearest(ask: Ask, price: ModelPrice, bound: int, auto_tier: str | None) -> tuple[int, int]:
    """One model's dearest input and output rate for this request. Raises Unpriced."""
    if ask.units and not price.by_tokens:
        return 0, 0
    tiers = reachable_tiers(price, ask.service_tier, auto_tier)
    rates = worst_rates(
        price,
        bound,
        tiers,
        ask.audio_in,
        ask.audio_out,
        ask.has_output,
        ask.cache_write_long,
        ask.media,
    )
    first, second = (-(-rate * ask.uplift_thousandths // 1000) for rate in rates)
    return first, second


def _most_made(ask: Ask, model_max: int | None) -> tuple[int | None, int | None]:
    """What a choice can have by the client's limit, and by the model's own: thinking included,
    where it may come on top."""
    if not ask.thinks_beside_limit:
        return ask.output_limit, model_max
    if model_max is None:
        return None, None
    asked = None if ask.output_limit is None else ask.output_limit + model_max
    return asked, 2 * model_max


def _most_output(prices: tuple[ModelPrice, ...]) -> int | None:
    """The most that any of them writes; None where one of them has no bound."""
    limits = [price.most_output for price in prices]
    return None if None in limits else max(limit for limit in limits if limit is not None)


def charge(
    ask: Ask, quoted: Quote, held: int, meter: Readings, book: PriceBook, seconds: float = 0.0
) -> Charge:
    """What an answer that was read to its end, or as far as it came, cost.

    Reported usage counts, by the model and tier that answered. Where there is none, or none that
    can be meant, the input at its bound and the output that was seen, counted generously, and
    what can have been thought unseen in the `seconds` that the call was out; never more than the
    hold, but for output that was certainly made beyond it.
    """
    usage = meter.usage
    told = meter.begun if usage is None else usage
    if told is not None and not meter.complete:
        return _half_told(told, ask, quoted, held, meter, book, seconds)
    if usage is None or _is_absurd(usage, meter):
        reason = "no usage was reported" if usage is None else "the usage reported is absurd"
        return _estimated(ask, quoted, held, meter, reason, seconds)
    price = book.find(ask.provider, meter.model or ask.model) or book.find(ask.provider, ask.model)
    nanos = None if price is None else _cost(price, usage, ask, meter, book)
    model = meter.model if price is not None and meter.model else ask.model
    read, made = _totals(usage)
    if nanos is None or price is None:
        return Charge(held, "estimate", model, read, made, "unpriced")
    if ask.has_output and price.by_tokens and made < meter.output_floor:
        reason = "more was streamed than was reported"
        estimated = _estimated(ask, quoted, held, meter, reason, seconds)
        return max(estimated, Charge(nanos, *_tail(estimated)), key=lambda each: each.nanos)
    return Charge(nanos, "usage", model, read, made)


def _half_told(
    told: Usage,
    ask: Ask,
    quoted: Quote,
    held: int,
    meter: Readings,
    book: PriceBook,
    seconds: float,
) -> Charge:
    """An answer that broke off, and whose input had been told: the output is estimated alone, as
    more may have been made than the last report, or the last word, knew of."""
    estimated = _estimated(ask, quoted, held, meter, "it broke off before its last usage", seconds)
    price = book.find(ask.provider, meter.model or ask.model)
    if price is None or _is_absurd(told, meter):
        return estimated
    made = max(estimated.output_tokens, told.output_tokens)
    reported = _cost(price, told, ask, meter, book)
    generous = _cost(price, replace(told, output_tokens=made), ask, meter, book)
    if reported is None or generous is None:
        return estimated
    # what was reported is billed, above the hold as well
    nanos = max(reported, min(generous, estimated.nanos))
    return replace(estimated, nanos=nanos, input_tokens=_totals(told)[0])


def _totals(usage: Usage) -> tuple[int, int]:
    """Input and output tokens of a call, the shares of other models included."""
    all_of_it = (usage, *(share.usage for share in usage.shares))
    return sum(map(billed_input, all_of_it)), sum(each.output_tokens for each in all_of_it)


def _is_absurd(usage: Usage, meter: Readings) -> bool:
    """More than any model can handle; or no input at all, which only a call that failed can
    have had, or one that is billed by the piece."""
    read, made = _totals(usage)
    nothing = read == 0 and not any(usage.pieces.values())
    return read + made > ABSURD_TOKENS or (nothing and meter.error is None)


def _tail(of: Charge) -> tuple[str, str, int, int, str]:
    return of.basis, of.model, of.input_tokens, of.output_tokens, of.reason


def _cost(
    price: ModelPrice, usage: Usage, ask: Ask, meter: Readings, book: PriceBook
) -> int | None:
    """By the tier that answered; where it does not say, the dearer of the asked and default.
    None where some part of it has no price."""
    asked = ask.service_tier if ask.service_tier not in (None, "auto") else None
    tiers = {meter.service_tier or DEFAULT_TIER}
    if asked is not None and not meter.service_tier:
        tiers.add(asked)
    try:
        shares = [(book.find(ask.provider, share.model), share.usage) for share in usage.shares]
        return max(
            cost(price, usage, tier) + sum(_share_cost(other, used, tier) for other, used in shares)
            for tier in tiers
        )
    except Unpriced:
        return None


def _share_cost(price: ModelPrice | None, usage: Usage, tier: str) -> int:
    """What another model's share of a call cost; by its default tier where it has no other."""
    if price is None:
        raise Unpriced("a model that shared in the call has no price")
    try:
        return cost(price, usage, tier)
    except Unpriced:
        return cost(price, usage)


def _estimated(
    ask: Ask, quoted: Quote, held: int, meter: Readings, reason: str, seconds: float
) -> Charge:
    output, certain = 0, 0
    if ask.has_output:
        output, certain = meter.output_ceiling, meter.output_floor
        if ask.thinks:
            output += int(seconds * THINKING_TOKENS_PER_S) * max(1, ask.choices)
    nanos = min(_worst(ask, quoted, output), held)
    if certain:
        nanos = max(nanos, _worst(ask, quoted, certain))
    return Charge(nanos, "estimate", ask.model, ask.input_bound, output, reason)


def _worst(ask: Ask, quoted: Quote, output: int) -> int:
    """`output` is of all choices together, a quote's limit of each."""
    return quoted.worst(-(-output // max(1, ask.choices)))


def _window(price: ModelPrice) -> int:
    if price.context_window is None:
        raise Refusal(
            "model_not_priced",
            "this request has input that is not in it (kept or found by the provider), and the "
            f"context window of {price.model[:80]!r} is not known, so it has no bound: send the "
            "input itself",
        )
    return price.context_window


def _fee(prices: tuple[ModelPrice, ...], name: str, count: int) -> int:
    """So many pieces at the dearest fee of this name, in nanos. Raises Unpriced."""
    return max(price.piece_cost(name, count) for price in prices)


def _units(ask: Ask, price: ModelPrice) -> int:
    """What the request costs with a model that is billed by another unit than tokens."""
    if price.by_tokens or not ask.units:
        return 0
    known = {name: count for name, count in ask.units.items() if name in price.fees}
    if not known:
        raise Unpriced(f"{price.model[:80]!r} has no price for {', '.join(sorted(ask.units))}")
    return sum(price.piece_cost(name, count) for name, count in known.items())
