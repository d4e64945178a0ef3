"""Which model a name means."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core.naming import Clause, equals, matches, with_dashed_date


@pytest.mark.parametrize(
    ("clause", "meant", "not_meant"),
    [
        (Clause("equals", "gpt-4o"), "gpt-4o", "gpt-4o-mini"),
        (Clause("starts_with", "gpt-5-nano-"), "gpt-5-nano-2025", "gpt-5-nano"),
        (Clause("ends_with", "claude-opus-5"), "eu/claude-opus-5", "claude-opus-5-5"),
        (Clause("contains", "opus-4-5"), "claude-opus-4-5-2025", "claude-opus-4-6"),
        (Clause("regex", r"^grok-4\.7-\d{8}$"), "grok-4.7-20261101", "grok-4.7-fast"),
        (Clause("or", parts=(equals("a"), equals("b"))), "b", "c"),
        (Clause("and", parts=(Clause("starts_with", "a"), Clause("ends_with", "z"))), "az", "a"),
    ],
)
def test_each_kind_means_its_names_and_no_others(
    clause: Clause, meant: str, not_meant: str
) -> None:
    assert matches(clause, meant)
    assert not matches(clause, not_meant)


def test_an_unknown_or_empty_clause_gives_no_stranger_a_price() -> None:
    assert not matches(Clause("glob", "*"), "gpt-4o")
    assert not matches(Clause("or"), "gpt-4o")
    assert not matches(Clause("and"), "gpt-4o")


def test_a_clause_comes_back_from_the_cache_as_it_went_in() -> None:
    clause = Clause("or", parts=(equals("GPT-4o"), Clause("and", parts=(equals("x"),))))
    assert msgspec.json.decode(msgspec.json.encode(clause), type=Clause) == clause
    assert matches(clause, "gpt-4o")


def test_compact_dates_are_those_of_the_price_lists() -> None:
    assert with_dashed_date("gpt-5.2-20251211") == "gpt-5.2-2025-12-11"
    assert with_dashed_date("gpt-5.2-20251341") == "gpt-5.2-20251341"
    assert with_dashed_date("gpt-5.2-202512111") == "gpt-5.2-202512111"


@given(st.text(max_size=30))
def test_any_text_can_be_asked_for(name: str) -> None:
    assert matches(equals(name), name.lower())
    with_dashed_date(name)
