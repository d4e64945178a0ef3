"""Admission: no hold above what is free, no no for which there is money (ledger.md, 5 and 6)."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agentwatch.core.admission import (
    Admitted,
    Policy,
    Purse,
    Refused,
    Waits,
    admit,
    is_hopeless,
)
from agentwatch.core.estimate import Quote
from agentwatch.core.money import NANOS_PER_USD, TOKENS_PER_RATE

POLICY = Policy()
RIGID = Policy(clamp=False)
#: one nano-USD a token, so that tokens are nanos
CHEAP = TOKENS_PER_RATE


def asks(most: int | None, fixed: int = 0, per_token: int = CHEAP) -> Quote:
    return Quote(fixed=fixed * TOKENS_PER_RATE, per_token=per_token, asked=most, most=most)


def purse(free: int, room: int | None = None) -> Purse:
    return Purse("session:s", free, free if room is None else room)


@st.composite
def purses(draw: st.DrawFn) -> list[Purse]:
    found = []
    for number in range(draw(st.integers(1, 3))):
        free = draw(st.integers(-1_000, 3_000_000))
        found.append(Purse(f"account:{number}", free, free + draw(st.integers(0, 2_000_000))))
    return found


@st.composite
def quotes(draw: st.DrawFn) -> Quote:
    most = draw(st.none() | st.integers(0, 200_000))
    return Quote(
        fixed=draw(st.integers(0, 10**6 * CHEAP)),
        per_token=draw(st.sampled_from([0, 1, CHEAP // 3, CHEAP, 75 * CHEAP])),
        asked=most,
        most=most,
    )


policies = st.builds(
    Policy,
    useful_output_tokens=st.integers(1, 10_000),
    min_output_tokens=st.integers(0, 1_000),
    clamp=st.booleans(),
)


@given(quotes(), purses(), policies, st.booleans())
def test_a_hold_is_never_above_what_is_free_anywhere(
    quote: Quote, found: list[Purse], policy: Policy, may_wait: bool
) -> None:
    verdict = admit(quote, found, policy, may_wait=may_wait)
    if isinstance(verdict, Admitted):
        assert verdict.nanos <= min(purse.free for purse in found)
        bound = quote.whole if verdict.limit is None else quote.worst(verdict.limit)
        assert verdict.nanos == bound


@given(quotes(), purses(), policies, st.booleans())
def test_a_worst_case_that_fits_is_held_in_full_and_unchanged(
    quote: Quote, found: list[Purse], policy: Policy, may_wait: bool
) -> None:
    if quote.whole is not None and quote.whole <= min(purse.free for purse in found):
        assert admit(quote, found, policy, may_wait=may_wait) == Admitted(quote.whole, None)


@given(quotes(), purses(), policies)
def test_no_call_is_refused_for_which_there_is_money(
    quote: Quote, found: list[Purse], policy: Policy
) -> None:
    verdict = admit(quote, found, policy)
    if isinstance(verdict, Refused) and policy.clamp:
        free = min(purse.free for purse in found)
        room = min(purse.room for purse in found)
        wanted = policy.useful_output_tokens
        least = wanted if quote.most is None else min(quote.most, wanted)
        assert quote.worst(least) > room
        assert quote.affordable(free) < max(policy.min_output_tokens, 1)


@given(quotes(), purses(), policies)
def test_a_call_without_hope_is_one_that_would_be_refused_now_as_well(
    quote: Quote, found: list[Purse], policy: Policy
) -> None:
    refused = isinstance(admit(quote, found, policy), Refused)
    assert not is_hopeless(quote, found, policy) or refused


@given(quotes(), purses(), policies)
def test_a_call_waits_only_where_an_open_hold_stands_in_its_way(
    quote: Quote, found: list[Purse], policy: Policy
) -> None:
    verdict = admit(quote, found, policy)
    if isinstance(verdict, Waits):
        assert any(purse.room > purse.free for purse in found)
        assert verdict.nanos <= min(purse.room for purse in found)
        emptied = [Purse(purse.account, purse.room, purse.room) for purse in found]
        assert isinstance(admit(quote, emptied, policy), Admitted)


@given(quotes(), purses(), policies)
def test_a_call_whose_wait_has_ended_never_waits_again(
    quote: Quote, found: list[Purse], policy: Policy
) -> None:
    assert not isinstance(admit(quote, found, policy, may_wait=False), Waits)


@given(quotes(), purses(), policies, st.booleans())
def test_a_limit_put_in_is_below_the_limit_asked_for_and_at_least_one(
    quote: Quote, found: list[Purse], policy: Policy, may_wait: bool
) -> None:
    verdict = admit(quote, found, policy, may_wait=may_wait)
    if isinstance(verdict, Admitted) and verdict.limit is not None:
        assert policy.clamp
        assert verdict.limit >= 1
        assert quote.most is None or verdict.limit < quote.most


@given(quotes(), purses(), policies)
def test_a_share_leaves_room_for_its_neighbours(
    quote: Quote, found: list[Purse], policy: Policy
) -> None:
    free = min(purse.free for purse in found)
    useful = quote.worst(policy.useful_output_tokens)
    verdict = admit(quote, found, policy)
    if isinstance(verdict, Admitted) and verdict.limit is not None and useful <= free:
        assert verdict.nanos <= max(free // 4, useful)


# ---- rule 6, case by case


def test_a_equal_is_enough() -> None:
    assert admit(asks(1_000), [purse(1_000)], POLICY) == Admitted(1_000, None)


def test_a_one_nano_short_is_not_enough_for_all_of_it() -> None:
    assert admit(asks(1_000), [purse(999)], POLICY) == Admitted(999, 999)


def test_b_much_is_asked_for_and_a_quarter_of_what_is_free_is_held() -> None:
    assert admit(asks(128_000), [purse(100_000)], POLICY) == Admitted(25_000, 25_000)


def test_b_a_useful_answer_is_held_where_that_is_more_than_a_quarter() -> None:
    assert admit(asks(128_000), [purse(5_000)], POLICY) == Admitted(4_096, 4_096)


def test_b_a_call_without_any_limit_is_given_one() -> None:
    assert admit(asks(None), [purse(40_000)], POLICY) == Admitted(10_000, 10_000)


def test_c_only_open_holds_stand_in_the_way_and_it_waits_unchanged() -> None:
    assert admit(asks(128_000), [purse(4_000, 5_000)], POLICY) == Waits("session:s", 4_096)
    assert admit(asks(1_000), [purse(999, 1_000)], POLICY) == Waits("session:s", 1_000)


def test_c_the_wait_ends_and_what_is_left_is_taken_or_it_is_refused() -> None:
    left = purse(4_000, 5_000)
    assert admit(asks(128_000), [left], POLICY, may_wait=False) == Admitted(4_000, 4_000)
    little = purse(255, 5_000)
    assert admit(asks(128_000), [little], POLICY, may_wait=False) == Refused("session:s", 256)


def test_d_what_is_left_is_put_in_down_to_the_least_that_is_of_use() -> None:
    assert admit(asks(128_000), [purse(256)], POLICY) == Admitted(256, 256)
    assert admit(asks(128_000), [purse(255)], POLICY) == Refused("session:s", 256)


def test_d_a_short_answer_that_is_paid_for_in_whole_is_no_clamp() -> None:
    assert admit(asks(100), [purse(100)], POLICY) == Admitted(100, None)
    assert admit(asks(100), [purse(99)], POLICY) == Refused("session:s", 100)


def test_the_input_alone_is_above_what_is_free() -> None:
    assert admit(asks(10, fixed=1_001), [purse(1_000)], POLICY) == Refused("session:s", 1_011)


@pytest.mark.parametrize("most", [128_000, 5_000])
def test_rigid_refuses_where_a_limit_would_be_put_in(most: int) -> None:
    assert isinstance(admit(asks(most), [purse(most - 1)], RIGID), Refused)
    assert admit(asks(most), [purse(most)], RIGID) == Admitted(most, None)
    assert admit(asks(most), [purse(most - 1, most)], RIGID) == Waits("session:s", most)


def test_rigid_refuses_at_once_what_no_end_of_a_hold_could_admit() -> None:
    assert isinstance(admit(asks(None), [purse(10**9)], RIGID), Refused)


def test_output_that_costs_nothing_needs_no_limit_put_in() -> None:
    free_model = asks(None, fixed=500, per_token=0)
    assert admit(free_model, [purse(500)], POLICY) == Admitted(500, None)
    assert admit(free_model, [purse(500)], RIGID) == Admitted(500, None)


def test_the_tightest_account_decides_whichever_it_is() -> None:
    rich, poor = Purse("session:s", 10_000, 10_000), Purse("project:p@2026-01", 100, 100)
    for both in ([rich, poor], [poor, rich]):
        assert admit(asks(500), both, POLICY) == Refused("project:p@2026-01", 256)


def test_no_wait_for_one_account_where_another_can_never_pay() -> None:
    busy, empty = Purse("session:s", 0, 10_000), Purse("team:t@2026-01", 100, 100)
    assert admit(asks(500), [busy, empty], POLICY) == Refused("team:t@2026-01", 256)


def test_without_an_account_that_binds_everything_is_let_through_unchanged() -> None:
    assert admit(asks(10**9), [], POLICY) == Admitted(10**9, None)
    assert admit(asks(None), [], POLICY) == Admitted(POLICY.useful_output_tokens, None)


def test_two_dollars_serve_calls_that_ask_for_128_000_tokens_of_a_dear_model() -> None:
    opus = asks(128_000, fixed=3_000_000, per_token=75_000_000 * 1_000)
    assert opus.whole is not None and opus.whole > 2 * NANOS_PER_USD
    free, served = 2 * NANOS_PER_USD, 0
    while isinstance(verdict := admit(opus, [purse(free)], POLICY), Admitted):
        assert verdict.limit is not None and verdict.limit >= POLICY.min_output_tokens
        free -= opus.worst(300)
        served += 1
    assert served > 60
    assert 0 <= free < opus.worst(POLICY.min_output_tokens)


def test_neighbours_find_room_beside_a_call_that_asks_for_everything() -> None:
    free, held = 1_000_000, 0
    for _ in range(5):
        verdict = admit(asks(10**7), [purse(free - held, free)], POLICY)
        assert isinstance(verdict, Admitted)
        held += verdict.nanos
    assert held < free


@pytest.mark.parametrize(("clamp", "may_wait"), list(product([True, False], repeat=2)))
def test_a_purse_in_the_red_pays_for_nothing(clamp: bool, may_wait: bool) -> None:
    policy = Policy(clamp=clamp)
    for quote in (asks(0), asks(100), asks(None), asks(None, per_token=0)):
        assert isinstance(admit(quote, [purse(-1)], policy, may_wait=may_wait), Refused)


@given(
    quote=quotes(),
    found=st.lists(st.integers(0, 10**9), min_size=1, max_size=3),
    clamp=st.booleans(),
)
def test_what_a_refusal_asks_for_would_have_been_enough(
    quote: Quote, found: list[int], clamp: bool
) -> None:
    policy = Policy(clamp=clamp)
    purses = [Purse(f"account:{n}", free, free) for n, free in enumerate(found)]
    verdict = admit(quote, purses, policy)
    if isinstance(verdict, Refused) and (quote.most is not None or clamp):
        assert verdict.nanos > min(found)
        raised = [Purse(purse.account, verdict.nanos, verdict.nanos) for purse in purses]
        assert isinstance(admit(quote, raised, policy), Admitted)


@given(quote=quotes(), free=st.integers(0, 10**9))
def test_no_limit_is_put_into_a_request_that_has_no_field_for_one(quote: Quote, free: int) -> None:
    fixed = replace(quote, fixed_limit=True)
    verdict = admit(fixed, [purse(free)], POLICY, may_wait=False)
    if isinstance(verdict, Admitted):
        assert verdict == Admitted(fixed.whole, None)
    else:
        assert fixed.whole is None or fixed.whole > free
