"""Money never goes through a float, never rounds up a ceiling, never rounds down a price."""

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core import money
from agentwatch.core.money import (
    MAX_NANOS,
    TOKENS_PER_RATE,
    parse_usd,
    price_of,
    round_up,
    to_usd,
    usd_short,
    usd_text,
)
from agentwatch.errors import UsageError

amounts = st.integers(0, MAX_NANOS)


@given(amounts)
def test_an_amount_shown_as_text_is_read_back_to_the_nano(nanos: int) -> None:
    assert parse_usd(usd_text(nanos)) == nanos
    assert parse_usd(f" ${usd_text(nanos)} ") == nanos


@given(amounts)
def test_an_amount_on_the_wire_is_read_back_to_the_nano(nanos: int) -> None:
    assert parse_usd(to_usd(nanos)) == nanos


@given(st.decimals(Decimal("1e-9"), 1_000_000, places=60))
def test_a_ceiling_is_never_rounded_up(amount: Decimal) -> None:
    nanos = parse_usd(amount)
    assert Fraction(nanos, money.NANOS_PER_USD) <= Fraction(amount)
    assert Fraction(amount) - Fraction(nanos, money.NANOS_PER_USD) < Fraction(1, 10**9)


def test_forty_nines_do_not_become_the_next_dollar() -> None:
    assert parse_usd("1." + "9" * 40) == 1_999_999_999


def test_a_tenth_of_a_dollar_as_a_float_is_a_tenth() -> None:
    assert parse_usd(0.1) == 100_000_000
    assert parse_usd(0.1 + 0.2) == 300_000_000


NO_AMOUNTS: list[object] = [
    *(
        "",
        "$",
        "two",
        "1,5",
        "-1",
        "NaN",
        "sNaN",
        "-Infinity",
        "1e999999999",
        "1000000.01",
        "1e400",
    ),
    *(-0.01, math.nan, math.inf, True, None, [], {}, b"2"),
]


@pytest.mark.parametrize("value", NO_AMOUNTS)
def test_what_is_no_amount_is_refused_as_such(value: object) -> None:
    with pytest.raises(UsageError, match="--budget"):
        parse_usd(value, "--budget")


@pytest.mark.parametrize("value", ["0.0000000001", 1e-10, "1e-400", Decimal("9e-10")])
def test_a_ceiling_below_a_nano_is_taken_for_none_at_all(value: object) -> None:
    with pytest.raises(UsageError, match=r"smallest amount there is, 0\.000000001"):
        parse_usd(value, "--budget")


def test_a_number_too_long_to_be_shown_is_refused_all_the_same() -> None:
    with pytest.raises(UsageError, match="a million"):
        parse_usd(10**5000)


@pytest.mark.parametrize("value", [0, "0", 0.0, "-0"])
def test_nothing_is_an_amount(value: object) -> None:
    assert parse_usd(value) == 0


@pytest.mark.parametrize(
    ("nanos", "text", "short"),
    [
        (2_000_000_000, "2.00", "$2.00"),
        (310_000, "0.00031", "$0.0003"),
        (13_200_000, "0.0132", "$0.0132"),
        (1, "0.000000001", "$0.000000"),
        (0, "0.00", "$0.00"),
        (-500_000_000, "-0.50", "-$0.5000"),
        (50_000, "0.00005", "$0.000050"),
    ],
)
def test_amounts_as_people_read_them(nanos: int, text: str, short: str) -> None:
    assert usd_text(nanos) == text
    assert usd_short(nanos) == short


@given(st.integers(0, 10**9), st.integers(0, 10**14))
def test_a_price_is_rounded_up_and_by_less_than_a_nano(tokens: int, rate: int) -> None:
    exact = Fraction(tokens * rate, TOKENS_PER_RATE)
    assert 0 <= round_up(price_of(tokens, rate)) - exact < 1


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**11)), max_size=8))
def test_a_call_is_rounded_up_once_and_not_once_a_part(parts: list[tuple[int, int]]) -> None:
    whole = round_up(sum(price_of(*part) for part in parts))
    assert whole <= sum(round_up(price_of(*part)) for part in parts) < whole + max(1, len(parts))
