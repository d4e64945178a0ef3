"""Anthropic's usage: merged and never added, mistrusted, and split by who did the work."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core.usage import Share, Usage
from agentwatch.wire.anthropic_usage import merged, read_usage

MODEL = "claude-sonnet-5"


def usage(**fields: Any) -> Usage | None:
    return read_usage({"input_tokens": 7, "output_tokens": 3, **fields}, MODEL, False)


def turn(kind: str, given: int, made: int, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "input_tokens": given, "output_tokens": made, **fields}


def test_two_reports_of_one_call_are_added_up() -> None:
    """langchainjs#10249, envoy ai-gateway#2236: the input was counted twice."""
    start = {"input_tokens": 25, "output_tokens": 1, "service_tier": "standard"}
    end = {"input_tokens": 25, "output_tokens": 15, "service_tier": None}
    told = merged(merged({}, start), end)
    assert told == {"input_tokens": 25, "output_tokens": 15, "service_tier": "standard"}


@pytest.mark.parametrize("nothing", [None, 5, "lots", []])
def test_a_report_that_is_none_changes_nothing(nothing: object) -> None:
    assert merged({"output_tokens": 1}, nothing) == {"output_tokens": 1}


def test_input_is_told_without_what_was_cached() -> None:
    told = usage(cache_read_input_tokens=100, cache_creation_input_tokens=20)
    assert told == Usage(
        input_tokens=127, cached_input_tokens=100, cache_write_tokens=20, output_tokens=3
    )


def test_writes_of_both_lifetimes_have_one_price() -> None:
    split = {"ephemeral_5m_input_tokens": 12, "ephemeral_1h_input_tokens": 8}
    told = usage(cache_creation_input_tokens=20, cache_creation=split)
    assert told is not None
    assert (told.cache_write_tokens, told.cache_write_long_tokens) == (12, 8)


@pytest.mark.parametrize(("keeps_long", "parts"), [(True, (5, 15)), (False, (15, 5))])
def test_a_write_of_untold_lifetime_is_taken_for_the_longer_that_was_asked_for(
    keeps_long: bool, parts: tuple[int, int]
) -> None:
    split = {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 5}
    report = {"input_tokens": 1, "output_tokens": 1, "cache_creation": split}
    told = read_usage({**report, "cache_creation_input_tokens": 20}, MODEL, keeps_long)
    assert told is not None
    assert (told.cache_write_tokens, told.cache_write_long_tokens) == parts


def test_thinking_is_a_part_of_the_output() -> None:
    told = usage(output_tokens=50, output_tokens_details={"thinking_tokens": 40})
    assert told is not None
    assert (told.output_tokens, told.reasoning_tokens) == (50, 40)


@pytest.mark.parametrize(
    ("geo", "thousandths"),
    [(None, 1000), ("global", 1000), ("not_available", 1000), ("us", 1100), ("mars", 1100)],
)
def test_a_place_has_its_surcharge(geo: str | None, thousandths: int) -> None:
    told = usage(inference_geo=geo)
    assert told is not None
    assert told.uplift_thousandths == thousandths


def test_searches_have_a_fee_and_fetches_none() -> None:
    told = usage(server_tool_use={"web_search_requests": 2, "web_fetch_requests": 5})
    assert told is not None
    assert told.pieces == {"web_search": 2}


def test_what_compacts_and_what_advises_is_beside_the_totals() -> None:
    told = usage(
        iterations=[
            turn("compaction", 500, 20),
            turn("message", 7, 3),
            turn("advisor_message", 900, 30, model="claude-opus-5"),
        ]
    )
    assert told is not None
    assert (told.input_tokens, told.output_tokens) == (7, 3)
    assert told.shares == (
        Share(model=MODEL, usage=Usage(input_tokens=500, output_tokens=20)),
        Share(model="claude-opus-5", usage=Usage(input_tokens=900, output_tokens=30)),
    )


def test_turns_that_the_totals_have_in_them_are_priced_each_and_once() -> None:
    turns = [turn("message", 4, 1), turn("fallback_message", 3, 2, model="claude-opus-5")]
    told = usage(iterations=turns)
    assert told is not None
    assert (told.input_tokens, told.output_tokens) == (0, 0)
    assert [(share.model, share.usage.input_tokens) for share in told.shares] == [
        (MODEL, 4),
        ("claude-opus-5", 3),
    ]


def test_another_models_turn_that_the_totals_lack_is_added() -> None:
    turns = [turn("message", 7, 3), turn("fallback_message", 90, 2, model="claude-opus-5")]
    told = usage(iterations=turns)
    assert told is not None
    assert told.input_tokens == 7
    assert [share.model for share in told.shares] == ["claude-opus-5"]


def test_shares_have_the_surcharge_of_the_place() -> None:
    told = usage(inference_geo="us", iterations=[turn("compaction", 5, 2)])
    assert told is not None
    assert told.shares[0].usage.uplift_thousandths == 1100


@pytest.mark.parametrize(
    "odd",
    [
        {"input_tokens": -1},
        {"input_tokens": None},
        {"output_tokens": 1.5},
        {"output_tokens": "3"},
        {"output_tokens": True},
        {"cache_read_input_tokens": 1 << 54},
        {"cache_creation": 5},
        {"cache_creation": {"ephemeral_1h_input_tokens": -5}},
        {"server_tool_use": []},
        {"iterations": {}},
        {"iterations": [5]},
        {"iterations": [{"type": "message", "input_tokens": -5}]},
        {"iterations": [{"type": "advisor_message", "model": 5}]},
        {"iterations": [{"type": "message"}] * 1001},
    ],
)
def test_absurd_usage_is_no_usage(odd: dict[str, Any]) -> None:
    assert usage(**odd) is None


COUNTS = st.none() | st.integers(-5, 1 << 60) | st.text(max_size=2) | st.floats() | st.booleans()
KEYS = st.sampled_from(
    ["input_tokens", "output_tokens", "cache_creation", "iterations", "type", "model", "speed"]
)
REPORTS = st.dictionaries(
    KEYS,
    st.recursive(COUNTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner)),
)


@given(REPORTS, st.booleans())
def test_no_report_raises_and_no_count_is_negative(report: dict[str, Any], keeps: bool) -> None:
    told = read_usage(report, MODEL, keeps)
    for each in () if told is None else (told, *(share.usage for share in told.shares)):
        assert min(each.input_tokens, each.output_tokens, each.cache_write_tokens) >= 0
