"""Weights add up, and nothing is lost on the way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentwatch.wire.openai_weight import NOTHING, Weight, sum_of, unpriced

FEES = st.frozensets(st.sampled_from(["web_search", "file_search"]))
WEIGHTS = st.builds(
    Weight,
    st.integers(0, 9),
    st.integers(0, 99),
    st.booleans(),
    st.integers(0, 99),
    st.booleans(),
    FEES,
    FEES,
)


@given(st.lists(WEIGHTS, max_size=5))
def test_a_sum_has_all_that_its_parts_have(weights: list[Weight]) -> None:
    total = sum_of(weights)
    assert total.images == sum(weight.images for weight in weights)
    assert total.overhead == sum(weight.overhead for weight in weights)
    assert total.by_reference == any(weight.by_reference for weight in weights)
    assert total.sound == any(weight.sound for weight in weights)
    assert all(weight.fees <= total.fees and weight.rents <= total.rents for weight in weights)
    assert sum_of([total, NOTHING]) == total


def test_a_refusal_names_what_it_is_and_what_to_do() -> None:
    refusal = unpriced("a dream", "wake up")
    assert (refusal.reason, "a dream", "wake up") == ("model_not_priced", "a dream", "wake up")
    assert "a dream" in refusal.message and "wake up" in refusal.message
