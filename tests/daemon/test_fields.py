"""Fields of control calls: an unknown one is named, a wrong one is refused, never ignored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.daemon.fields import boolean, check_fields, count, money, seconds, text
from agentwatch.errors import UsageError

Reader = Callable[[dict[str, Any], str], Any]


def test_the_nearest_known_field_is_named() -> None:
    check_fields({"budget_usd": 1}, ("budget_usd", "mode"))
    with pytest.raises(UsageError, match="did you mean 'budget_usd'"):
        check_fields({"budget_us": 1}, ("budget_usd", "mode"))
    with pytest.raises(UsageError, match="known are budget_usd, mode"):
        check_fields({"zzz": 1}, ("budget_usd", "mode"))


@pytest.mark.parametrize("reader", [boolean, count, money, seconds, text])
def test_what_is_absent_or_null_is_none(reader: Reader) -> None:
    assert reader({}, "a") is None
    assert reader({"a": None}, "a") is None


@pytest.mark.parametrize(
    ("reader", "good", "bad"),
    [
        (text, ["", "x"], [1, True, [], {}]),
        (boolean, [True, False], [0, 1, "true", []]),
        (count, [0, 1, 1 << 53], [-1, 1.0, True, "1", (1 << 53) + 1]),
        (seconds, [1, 0.5], [0, -1, True, "1", float("nan"), float("inf"), 1e12]),
        (money, [0, 1.5, "2"], [-1, True, "x", float("nan"), float("inf"), 1e300, []]),
    ],
)
def test_a_field_is_of_its_type(reader: Reader, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert reader({"a": value}, "a") is not None
    for value in bad:
        with pytest.raises(UsageError, match=r"^a "):
            reader({"a": value}, "a")


@given(
    st.one_of(st.integers(), st.floats(), st.text(), st.booleans(), st.none(), st.lists(st.none()))
)
def test_any_value_is_read_or_refused(value: Any) -> None:
    for reader in (boolean, count, money, seconds, text):
        try:
            reader({"a": value}, "a")
        except UsageError:
            continue
