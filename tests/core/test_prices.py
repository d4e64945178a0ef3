"""Usage to money, and the bound that a hold rests on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agentwatch.core.money import round_up
from agentwatch.core.prices import (
    Band,
    ModelPrice,
    Rates,
    Unpriced,
    billed_input,
    cost,
    dearest,
    reachable_tiers,
    scaled,
    worst_rates,
)
from agentwatch.core.usage import Usage

USD = 1_000_000_000

PLAIN = Rates(input=2 * USD, cached_input=1 * USD, output=8 * USD)
LONG = Rates(input=4 * USD, cached_input=2 * USD, output=12 * USD)


def priced(rates: Rates = PLAIN, **more: object) -> ModelPrice:
    fields = {"tiers": {"default": (Band(rates=rates),)}, "source": "test"} | more
    return ModelPrice(provider="openai", model="m", **fields)  # type: ignore[arg-type]


def test_each_unit_costs_its_own_rate() -> None:
    usage = Usage(input_tokens=1_000_000, cached_input_tokens=400_000, output_tokens=100_000)
    assert cost(priced(), usage) == (600_000 * 2 + 400_000 * 1 + 100_000 * 8) * 1000


def test_a_call_is_rounded_up_once_and_not_once_a_part() -> None:
    rates = Rates(input=1, output=1)
    assert cost(priced(rates), Usage(input_tokens=1, output_tokens=1)) == 1
    assert cost(priced(rates), Usage(input_tokens=1_000_000, output_tokens=1)) == 2
    assert cost(priced(rates), Usage()) == 0


def test_long_context_begins_strictly_above_its_threshold() -> None:
    price = priced(tiers={"default": (Band(rates=PLAIN), Band(above=1000, rates=LONG))})
    assert cost(price, Usage(input_tokens=1000)) == 1000 * 2_000
    assert cost(price, Usage(input_tokens=1001)) == 1001 * 4_000
    assert cost(price, Usage(input_tokens=1001, output_tokens=1)) == 1001 * 4_000 + 12_000


def test_an_inclusive_threshold_is_the_number_below_it() -> None:
    price = priced(tiers={"default": (Band(rates=PLAIN), Band(above=199_999, rates=LONG))})
    assert cost(price, Usage(input_tokens=199_999)) == 199_999 * 2_000
    assert cost(price, Usage(input_tokens=200_000)) == 200_000 * 4_000


def test_an_unknown_tier_is_not_billed_as_the_standard_one() -> None:
    with pytest.raises(Unpriced, match="ultrafast"):
        cost(priced(), Usage(input_tokens=1), "ultrafast")


def test_an_alias_is_billed_as_the_tier_it_names() -> None:
    tiers = {"default": (Band(rates=PLAIN),), "priority": (Band(rates=LONG),)}
    price = priced(tiers=tiers, tier_aliases={"fast": "priority", "standard": "default"})
    usage = Usage(input_tokens=1)
    assert cost(price, usage, "fast") == cost(price, usage, "priority") == 4_000
    assert cost(price, usage, "standard") == cost(price, usage) == 2_000


def test_an_answer_that_says_auto_is_read_as_the_dearest_it_can_mean() -> None:
    price = priced(tiers={"default": (Band(rates=PLAIN),), "priority": (Band(rates=LONG),)})
    assert cost(price, Usage(input_tokens=1), "auto") == 4_000


def test_units_without_a_rate_are_refused_and_never_zero() -> None:
    embedding = priced(Rates(input=USD))
    assert cost(embedding, Usage(input_tokens=10)) == 10_000
    with pytest.raises(Unpriced):
        cost(embedding, Usage(input_tokens=10, output_tokens=1))
    with pytest.raises(Unpriced):
        cost(priced(), Usage(input_tokens=10, input_audio_tokens=1))
    with pytest.raises(Unpriced):
        cost(priced(), Usage(output_tokens=10, output_audio_tokens=1))
    with pytest.raises(Unpriced):
        cost(priced(), Usage(pieces={"web_search": 1}))


def test_a_known_free_model_costs_nothing() -> None:
    assert cost(priced(Rates(input=0, output=0)), Usage(input_tokens=9, output_tokens=9)) == 0


def test_without_a_discount_cached_input_costs_what_input_costs() -> None:
    rates = Rates(input=2 * USD, output=8 * USD)
    assert cost(priced(rates), Usage(input_tokens=10, cached_input_tokens=10)) == 20_000


def test_a_cache_write_costs_at_least_what_input_costs() -> None:
    write = Usage(input_tokens=10, cache_write_tokens=10)
    long = Usage(input_tokens=10, cache_write_long_tokens=10)
    assert cost(priced(), write) == cost(priced(), long) == 20_000
    listed = Rates(input=2 * USD, cache_write=3 * USD, output=1)
    assert cost(priced(listed), write) == cost(priced(listed), long) == 30_000
    only_long = Rates(input=2 * USD, cache_write_long=5 * USD, output=1)
    assert cost(priced(only_long), write) == cost(priced(only_long), long) == 50_000
    cheaper = Rates(input=2 * USD, cache_write=1 * USD, output=1)
    assert cost(priced(cheaper), write) == 20_000


def test_what_the_provider_states_is_the_charge() -> None:
    usage = Usage(input_tokens=10**6, stated_nanos=77, pieces={"unheard_of": 1})
    assert cost(priced(), usage, "unheard of") == 77
    assert cost(priced(), Usage(input_tokens=1, stated_nanos=0)) == 0


def test_a_negative_stated_cost_is_not_a_gift() -> None:
    assert cost(priced(), Usage(input_tokens=1, stated_nanos=-5)) == 2_000


def test_hosted_tools_cost_their_fee_a_call() -> None:
    price = priced(fees={"web_search": 10_000_000})
    assert cost(price, Usage(pieces={"web_search": 3})) == 30_000_000
    assert cost(price, Usage(pieces={"web_search": -3, "unheard_of": 0})) == 0


def test_more_cached_than_there_was_input_is_read_the_dearer_way() -> None:
    assert cost(priced(), Usage(input_tokens=10, cached_input_tokens=100)) == 100 * 1_000
    assert cost(priced(), Usage(input_tokens=90, cached_input_tokens=100)) == 90 * 2_000


def test_negative_counts_give_nothing_back() -> None:
    usage = Usage(input_tokens=-5, cached_input_tokens=-(10**9), output_tokens=-7)
    assert cost(priced(), usage) == 0
    assert cost(priced(), Usage(input_tokens=10, cached_input_tokens=-5)) == 20_000


def test_audio_is_counted_where_it_costs_most() -> None:
    rates = Rates(
        input=2 * USD,
        cached_input=1 * USD,
        input_audio=30 * USD,
        cached_audio=1 * USD,
        output=8 * USD,
        output_audio=60 * USD,
    )
    usage = Usage(input_tokens=10, cached_input_tokens=4, input_audio_tokens=7)
    assert cost(priced(rates), usage) == (6 * 30 + 4 * 1) * 1000
    spoken = Usage(output_tokens=10, output_audio_tokens=4)
    assert cost(priced(rates), spoken) == (6 * 8 + 4 * 60) * 1000


def test_parts_of_the_output_are_never_more_than_the_output() -> None:
    assert cost(priced(), Usage(output_tokens=5, reasoning_tokens=9)) == 9 * 8_000


def test_images_that_cost_more_than_text_make_all_input_cost_so() -> None:
    rates = Rates(input=2 * USD, input_media=5 * USD, output=8 * USD, output_media=30 * USD)
    assert cost(priced(rates), Usage(input_tokens=1, output_tokens=1)) == 35_000
    assert worst_rates(priced(rates), 1) == (5 * USD, 30 * USD)


KINDS = Rates(
    input=2 * USD,
    cached_input=1 * USD,
    output=8 * USD,
    input_audio=10 * USD,
    cached_audio=3 * USD,
    input_media=5 * USD,
    output_media=30 * USD,
)


def test_a_report_that_tells_kinds_apart_is_charged_kind_by_kind() -> None:
    usage = Usage(
        input_tokens=100,
        cached_input_tokens=30,
        input_audio_tokens=20,
        cached_audio_tokens=5,
        input_media_tokens=10,
        cached_media_tokens=5,
        output_tokens=10,
        output_media_tokens=4,
        by_kind=True,
    )
    fresh = (70 - 15 - 5) * 2 + 15 * 10 + 5 * 5
    cached = 20 * 1 + 5 * 3 + 5 * 5
    assert cost(priced(KINDS), usage) == (fresh + cached + 6 * 8 + 4 * 30) * 1000


def test_a_text_is_not_held_at_the_rates_of_images() -> None:
    rates = Rates(input=2 * USD, input_media=5 * USD, output=8 * USD, output_media=30 * USD)
    price = priced(rates)
    assert worst_rates(price, 10) == (5 * USD, 30 * USD)
    assert worst_rates(price, 10, media=False) == (2 * USD, 8 * USD)


def test_media_that_do_not_fit_into_fresh_input_were_in_the_cache() -> None:
    usage = Usage(
        input_tokens=10,
        cached_input_tokens=8,
        input_audio_tokens=6,
        input_media_tokens=3,
        by_kind=True,
    )
    assert cost(priced(KINDS), usage) == (2 * 10 + 4 * 3 + 3 * 5 + 1 * 1) * 1000


def test_a_regions_surcharge_is_rounded_up_once() -> None:
    assert cost(priced(), Usage(input_tokens=1, uplift_thousandths=1100)) == 2_200
    assert cost(priced(), Usage(input_tokens=1, uplift_thousandths=1)) == 2_000


def test_a_ceiling_price_holds_in_every_tier() -> None:
    price = priced(tiers={"*": (Band(rates=PLAIN),)})
    assert cost(price, Usage(input_tokens=1), "any at all") == 2_000
    assert worst_rates(price, 10, ("any at all", "default")) == (2 * USD, 8 * USD)


def test_the_worst_rate_knows_long_context_only_where_it_can_be_reached() -> None:
    price = priced(tiers={"default": (Band(rates=PLAIN), Band(above=1000, rates=LONG))})
    assert worst_rates(price, 1000) == (2 * USD, 8 * USD)
    assert worst_rates(price, 1001) == (4 * USD, 12 * USD)


def test_the_worst_rate_covers_writes_to_the_cache_that_nobody_asked_for() -> None:
    rates = Rates(input=2 * USD, cache_write=3 * USD, cache_write_long=5 * USD, output=USD)
    assert worst_rates(priced(rates), 1) == (5 * USD, USD)


def test_the_worst_rate_of_audio_is_asked_for_only_where_audio_can_come() -> None:
    rates = Rates(input=USD, output=USD, input_audio=9 * USD, output_audio=7 * USD)
    assert worst_rates(priced(rates), 1) == (USD, USD)
    assert worst_rates(priced(rates), 1, audio_in=True, audio_out=True) == (9 * USD, 7 * USD)
    with pytest.raises(Unpriced):
        worst_rates(priced(), 1, audio_in=True)
    with pytest.raises(Unpriced):
        worst_rates(priced(), 1, audio_out=True)


def test_a_model_without_an_output_rate_is_bounded_only_where_none_comes() -> None:
    embedding = priced(Rates(input=USD))
    assert worst_rates(embedding, 1, has_output=False) == (USD, 0)
    with pytest.raises(Unpriced):
        worst_rates(embedding, 1)


def test_a_rate_that_is_missing_in_one_reachable_tier_is_missing() -> None:
    tiers = {"default": (Band(rates=PLAIN),), "priority": (Band(rates=Rates(input=USD)),)}
    price = priced(tiers=tiers)
    assert dearest(price, 1, ("default", "priority")).output is None
    with pytest.raises(Unpriced):
        worst_rates(price, 1, ("default", "priority"))
    with pytest.raises(Unpriced):
        worst_rates(price, 1, ("default", "turbo"))


TIERED = priced(
    tiers={"default": (Band(rates=PLAIN),), "priority": (Band(rates=LONG),)},
    tier_aliases={"fast": "priority"},
)


@pytest.mark.parametrize(
    ("asked", "reached"),
    [
        (None, ("default", "priority")),
        ("auto", ("default", "priority")),
        ("default", ("default",)),
        ("flex", ("flex", "default")),
        ("priority", ("priority", "default")),
        ("fast", ("priority", "default")),
        ("ultrafast", ("ultrafast", "priority", "default")),
        ("made up", ("made up", "default")),
    ],
)
def test_a_request_reaches_every_tier_that_may_answer_it(
    asked: str | None, reached: tuple[str, ...]
) -> None:
    assert reachable_tiers(TIERED, asked) == reached


def test_what_auto_means_can_be_told() -> None:
    assert reachable_tiers(TIERED, None, auto_tier="default") == ("default",)
    assert reachable_tiers(TIERED, "auto", auto_tier="flex") == ("flex", "default")
    assert reachable_tiers(TIERED, "flex", auto_tier="priority") == ("flex", "default")


def test_a_priority_that_only_a_rule_of_ours_prices_is_not_expected_unasked() -> None:
    ruled = priced(tiers=TIERED.tiers, ruled_tiers=("priority",))
    assert reachable_tiers(ruled, None) == ("default",)
    assert reachable_tiers(priced(), None) == ("default",)


def test_scaling_rounds_up() -> None:
    assert scaled(Rates(input=1, output=None), 1100).input == 2
    assert scaled(Rates(input=1000), 1500) == Rates(input=1500)


RATE = st.integers(0, 100 * USD)
OPTIONAL = st.one_of(st.none(), RATE)
RATES = st.builds(
    Rates,
    input=RATE,
    cached_input=OPTIONAL,
    cache_write=OPTIONAL,
    cache_write_long=OPTIONAL,
    output=RATE,
    input_audio=RATE,
    cached_audio=OPTIONAL,
    output_audio=RATE,
    input_media=OPTIONAL,
    cached_media=OPTIONAL,
    output_media=OPTIONAL,
)


@st.composite
def bands(draw: st.DrawFn) -> tuple[Band, ...]:
    starts = sorted(draw(st.sets(st.integers(0, 3000), max_size=2)))
    return tuple(Band(above=start, rates=draw(RATES)) for start in (-1, *starts))


PRICES = st.builds(
    lambda default, priority: priced(tiers={"default": default, "priority": priority}),
    bands(),
    bands(),
)
COUNT = st.integers(-50, 3000)
USAGE = st.builds(
    Usage,
    input_tokens=COUNT,
    cached_input_tokens=COUNT,
    cache_write_tokens=COUNT,
    cache_write_long_tokens=COUNT,
    input_audio_tokens=COUNT,
    input_media_tokens=COUNT,
    cached_audio_tokens=COUNT,
    cached_media_tokens=COUNT,
    output_tokens=COUNT,
    reasoning_tokens=COUNT,
    output_audio_tokens=COUNT,
    output_media_tokens=COUNT,
    by_kind=st.booleans(),
)
SPARE = st.integers(0, 100)
TIER = st.sampled_from([None, "default", "priority", "auto"])


def made(usage: Usage) -> int:
    media = max(0, usage.output_audio_tokens) + max(0, usage.output_media_tokens)
    return max(0, usage.output_tokens, usage.reasoning_tokens, media)


@given(PRICES, USAGE, SPARE, TIER)
def test_no_call_costs_more_than_its_bound(
    price: ModelPrice, usage: Usage, spare: int, tier: str | None
) -> None:
    bound = billed_input(usage) + spare
    limit = made(usage)
    per_input, per_output = worst_rates(price, bound, reachable_tiers(price, tier), True, True)
    assert cost(price, usage, tier) <= round_up(bound * per_input + limit * per_output)


@given(PRICES, USAGE, SPARE)
def test_without_audio_no_call_costs_more_than_its_bound_without_audio(
    price: ModelPrice, usage: Usage, spare: int
) -> None:
    usage = replace(usage, input_audio_tokens=0, output_audio_tokens=0)
    bound = billed_input(usage) + spare
    limit = made(usage)
    per_input, per_output = worst_rates(price, bound)
    assert cost(price, usage) <= round_up(bound * per_input + limit * per_output)


@given(PRICES, USAGE, TIER)
def test_no_usage_however_absurd_costs_less_than_nothing(
    price: ModelPrice, usage: Usage, tier: str | None
) -> None:
    assert cost(price, usage, tier) >= 0


@given(RATES, USAGE, st.integers(1, 500))
def test_more_output_never_costs_less(rates: Rates, usage: Usage, more: int) -> None:
    grown = Usage(input_tokens=usage.input_tokens, output_tokens=max(0, usage.output_tokens) + more)
    fewer = Usage(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)
    assert cost(priced(rates), fewer) <= cost(priced(rates), grown)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_usage_without_contradiction_is_billed_as_it_was_reported(
    fresh: int, cached: int, write: int
) -> None:
    usage = Usage(
        input_tokens=fresh + cached + write, cached_input_tokens=cached, cache_write_tokens=write
    )
    rates = Rates(input=3, cached_input=1, cache_write=5, output=1)
    assert billed_input(usage) == usage.input_tokens
    assert cost(priced(rates), usage) == round_up(fresh * 3 + cached + write * 5)
