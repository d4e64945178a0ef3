"""Check digits: what decides over numbers of which the form says too little."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core import risk
from agentwatch.core.risk_personal import passes_luhn, passes_mod97


@given(st.text(alphabet="0123456789", min_size=12, max_size=18))
def test_one_of_ten_last_digits_is_a_check_digit(number: str) -> None:
    assert sum(passes_luhn(number + str(last)) for last in range(10)) == 1


@given(st.text(alphabet="0123456789", min_size=12, max_size=18), st.data())
def test_a_mistyped_digit_is_noticed(number: str, data: st.DataObject) -> None:
    good = next(number + str(last) for last in range(10) if passes_luhn(number + str(last)))
    place = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.sampled_from([d for d in "0123456789" if d != good[place]]))
    assert not passes_luhn(good[:place] + other + good[place + 1 :])


def test_an_account_number_with_two_letters_changed_places_is_noticed() -> None:
    assert passes_mod97("GB82WEST12345698765432")
    assert not passes_mod97("GB82WETS12345698765432")


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("4111 1111 1111 1111", True),
        ("41111 11111 111111", False),  # nobody writes a card so
        ("9999 9999 9999 9995", False),  # passes Luhn, but no issuer has it
        ("3530111333300000", True),
        ("36227206271667", True),
    ],
)
def test_a_card_is_one_that_somebody_issues(text: str, is_one: bool) -> None:
    assert (risk.tags_in(text) == ("FINANCIAL_CREDIT_CARD",)) == is_one


def test_several_numbers_in_one_place_are_told_apart() -> None:
    text = "536-90-4399 4111 1111 1111 1111 84.23.91.17"
    assert risk.tags_in(text) == ("PII_SSN", "FINANCIAL_CREDIT_CARD", "PII_IP")
