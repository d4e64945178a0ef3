"""Usage reports that are absurd, missing, null or zero."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core.usage import Usage
from agentwatch.wire.openai_usage import read_usage


def read(value: Any, **how: bool) -> Usage | None:
    return read_usage(json.dumps(value).encode(), **how)


def test_a_chats_usage_is_read_whole() -> None:
    assert read(
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 150,
            "prompt_tokens_details": {
                "cached_tokens": 60,
                "cache_write_tokens": 20,
                "audio_tokens": 5,
            },
            "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 4},
        }
    ) == Usage(
        input_tokens=100,
        cached_input_tokens=60,
        cache_write_tokens=20,
        input_audio_tokens=5,
        output_tokens=50,
        reasoning_tokens=30,
        output_audio_tokens=4,
    )


def test_a_responses_usage_tells_how_long_the_cache_keeps() -> None:
    usage = read(
        {
            "input_tokens": 100,
            "output_tokens": 1,
            "input_tokens_details": {
                "cached_tokens": 0,
                "cache_write_tokens": 90,
                "cache_write_tokens_details": {"ttl_30m_tokens": 30, "ttl_12h_tokens": 60},
            },
        }
    )
    assert usage is not None
    assert (usage.cache_write_tokens, usage.cache_write_long_tokens) == (90, 60)


def test_an_explicit_zero_is_a_report_and_nothing_is_none() -> None:
    assert read({"prompt_tokens": 0, "completion_tokens": 0}) == Usage()
    assert read({}) is None
    assert read(None) is None
    assert read({"prompt_tokens": None, "completion_tokens": None}) is None


@pytest.mark.parametrize("absurd", [-1, 1.5, "7", True, 2**53 + 1, 10**400, [], {}])
@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens"])
def test_an_absurd_count_makes_the_report_worth_nothing(name: str, absurd: Any) -> None:
    assert read({"prompt_tokens": 5, "completion_tokens": 5, name: absurd}) is None


@pytest.mark.parametrize("number", [b"1e400", b"NaN", b"-1", b"1e3"])
def test_a_number_that_is_no_count_makes_the_report_worth_nothing(number: bytes) -> None:
    assert read_usage(b'{"prompt_tokens":5,"completion_tokens":' + number + b"}") is None


def test_an_absurd_detail_makes_the_report_worth_nothing() -> None:
    details = {"cached_tokens": -5}
    assert (
        read({"prompt_tokens": 5, "completion_tokens": 5, "prompt_tokens_details": details}) is None
    )


def test_a_chat_without_its_output_is_no_report_but_an_embedding_is() -> None:
    assert read({"prompt_tokens": 5}) is None
    assert read({"prompt_tokens": 5, "total_tokens": 5}, has_output=False) == Usage(input_tokens=5)


def test_parts_are_never_more_than_the_whole_and_the_dearer_one_stays() -> None:
    details = {"cached_tokens": 80, "cache_write_tokens": 70, "audio_tokens": 900}
    usage = read({"prompt_tokens": 100, "completion_tokens": 1, "prompt_tokens_details": details})
    assert usage is not None
    assert (usage.cached_input_tokens, usage.cache_write_tokens) == (30, 70)
    assert usage.input_audio_tokens == 100


@given(st.binary(max_size=40))
def test_no_bytes_raise(raw: bytes) -> None:
    read_usage(raw)
