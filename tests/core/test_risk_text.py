"""What detectors share: places dense with digits, and lower case that keeps places."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core.risk_text import Text, digits_of


@given(st.text(alphabet="0123456789 .-()/ab\n", max_size=80))
def test_no_long_number_is_outside_the_places(text: str) -> None:
    of = Text(text)
    for at in range(len(text) - 8):
        if text[at : at + 9].isdigit():
            decimal = "." in text[max(0, at - 1) : at + 80].split("\n")[0]
            assert decimal or any(start <= at and at + 9 <= end for start, end in of.numbers)


def test_a_plain_decimal_and_indentation_are_no_places() -> None:
    assert Text("[0.123456789, 13562.999999999998]\n1          \n2. item").numbers == []


@given(st.text(max_size=60))
def test_lower_case_keeps_every_place(text: str) -> None:
    assert len(Text(text).lowered) == len(text)
    assert len(Text(text + "\u0130").lowered) == len(text) + 1


def test_digits_are_those_of_ascii() -> None:
    assert digits_of("+1 (20)\u0663") == "120"
