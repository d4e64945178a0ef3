"""Usage as Gemini reports it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core.usage import Usage
from agentwatch.wire.gemini_usage import Expected, read_usage


def read(expected: Expected | None = None, **fields: Any) -> Usage | None:
    return read_usage(json.dumps(fields).encode(), expected or Expected())


def kind(name: str, count: int) -> dict[str, Any]:
    return {"modality": name, "tokenCount": count}


def test_thinking_tokens_are_left_out() -> None:
    """litellm#10554, braintrust-proxy#920."""
    usage = read(promptTokenCount=10, candidatesTokenCount=3, thoughtsTokenCount=40)
    assert usage == Usage(input_tokens=10, output_tokens=43, reasoning_tokens=40)


def test_what_the_total_has_beyond_its_parts_was_made() -> None:
    usage = read(promptTokenCount=10, candidatesTokenCount=3, totalTokenCount=50)
    assert usage == Usage(input_tokens=10, output_tokens=40, reasoning_tokens=37)


def test_what_tools_read_is_input_beside_the_prompt() -> None:
    usage = read(promptTokenCount=10, toolUsePromptTokenCount=90, cachedContentTokenCount=4)
    assert usage == Usage(input_tokens=100, cached_input_tokens=4)


def test_text_sound_and_images_are_told_apart() -> None:
    usage = read(
        promptTokenCount=60,
        promptTokensDetails=[kind("TEXT", 10), kind("AUDIO", 30), kind("VIDEO", 20)],
        cachedContentTokenCount=25,
        cacheTokensDetails=[kind("AUDIO", 25)],
        candidatesTokenCount=7,
        candidatesTokensDetails=[kind("IMAGE", 7)],
    )
    assert usage == Usage(
        input_tokens=60,
        cached_input_tokens=25,
        input_audio_tokens=30,
        input_media_tokens=20,
        cached_audio_tokens=25,
        output_tokens=7,
        output_media_tokens=7,
        by_kind=True,
    )


def test_sound_that_nothing_tells_apart_is_taken_for_all_input() -> None:
    usage = read(Expected(audio_in=True), promptTokenCount=60)
    assert usage == Usage(input_tokens=60, input_audio_tokens=60)


def test_where_only_text_was_sent_nothing_else_was_read() -> None:
    usage = read(Expected(text_in=True), promptTokenCount=5)
    assert usage == Usage(input_tokens=5, by_kind=True)


def test_images_that_nothing_tells_apart_are_not_taken_for_text() -> None:
    told = [kind("TEXT", 5)]
    usage = read(Expected(media_out=True), promptTokenCount=5, promptTokensDetails=told)
    assert usage is not None and not usage.by_kind


@pytest.mark.parametrize("count", [-1, 1.5, "7", True, 2**53 + 1, [3]])
@pytest.mark.parametrize("name", ["promptTokenCount", "candidatesTokenCount", "totalTokenCount"])
def test_a_count_that_cannot_be_meant_makes_the_report_worth_nothing(name: str, count: Any) -> None:
    assert read(**{"promptTokenCount": 5, name: count}) is None


@pytest.mark.parametrize("raw", [b"null", b"[]", b"7", b"{", b"", b"{}", b'{"totalTokenCount":4}'])
def test_what_is_no_report_is_none(raw: bytes) -> None:
    assert read_usage(raw, Expected()) is None


COUNTS = st.integers(-5, 10**7) | st.just(2**60) | st.text(max_size=2) | st.none()


NAMES = (
    "promptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "toolUsePromptTokenCount",
    "cachedContentTokenCount",
    "totalTokenCount",
)
DETAILS = ("promptTokensDetails", "cacheTokensDetails", "candidatesTokensDetails")
KINDS = st.lists(st.builds(kind, st.sampled_from(["TEXT", "AUDIO", "IMAGE"]), COUNTS))
REPORTS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(NAMES, COUNTS) | dict.fromkeys(DETAILS, KINDS)
)


@given(REPORTS)
def test_whatever_is_reported_is_read_as_counts_or_not_at_all(fields: dict[str, Any]) -> None:
    usage = read(**fields)
    if usage is not None:
        assert 0 <= usage.cached_input_tokens <= usage.input_tokens
        assert 0 <= usage.input_audio_tokens <= usage.input_tokens
        assert 0 <= usage.reasoning_tokens <= usage.output_tokens
        assert 0 <= usage.output_media_tokens <= usage.output_tokens
