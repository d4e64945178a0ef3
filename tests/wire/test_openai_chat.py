"""Meters of chat, legacy completions and embeddings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core.usage import Usage
from agentwatch.wire.answer import FRAME_TOKENS
from agentwatch.wire.openai_chat import ChatBody, ChatStream, EmbeddingsBody, FreeBody

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def said(**delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return {
        "object": "chat.completion.chunk",
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [choice],
    }


def with_usage(usage: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini-2024-07-18", "choices": [], "usage": usage}


DONE = b"data: [DONE]\n\n"
STREAM = [
    event(said(role="assistant", content="")),
    event(said(content="Hé")),
    event(said(content="!")),
]


def run(meter: ChatStream, stream: bytes, step: int = 1 << 20) -> bytes:
    out = [meter.feed(stream[at : at + step]) for at in range(0, len(stream), step)]
    return b"".join(out) + meter.close()


@pytest.mark.parametrize("step", [1, 3, 50, 1 << 20])
def test_only_the_usage_chunk_is_taken_out(step: int) -> None:
    meter = ChatStream(strip=True)
    out = run(meter, b"".join([*STREAM, event(with_usage(USAGE)), DONE]), step)
    assert out == b"".join([*STREAM, DONE])
    assert meter.usage == Usage(input_tokens=7, output_tokens=3)
    assert meter.complete
    assert meter.model == "gpt-4o-mini-2024-07-18"


def test_a_usage_chunk_that_the_client_asked_for_stays() -> None:
    stream = b"".join([*STREAM, event(with_usage(USAGE)), DONE])
    assert run(ChatStream(strip=False), stream) == stream


@pytest.mark.parametrize(
    "kept",
    [
        {"choices": [], "prompt_filter_results": []},
        {"choices": [], "usage": None},
        {**said(content="x"), "usage": USAGE},
        {"usage": USAGE},
        {"choices": [], "usage": 5},
    ],
)
def test_a_chunk_that_is_not_ours_is_never_taken_out(kept: Any) -> None:
    assert run(ChatStream(strip=True), event(kept)) == event(kept)


def test_of_usage_in_every_chunk_the_last_counts() -> None:
    meter = ChatStream()
    run(
        meter,
        event({**said(content="a"), "usage": {**USAGE, "completion_tokens": 1}})
        + event({**said(content="b"), "usage": {**USAGE, "completion_tokens": 2}}),
    )
    assert meter.usage is not None
    assert meter.usage.output_tokens == 2


def test_a_stream_that_is_cut_is_not_complete_and_has_no_usage() -> None:
    meter = ChatStream(strip=True)
    run(meter, b"".join(STREAM) + b'data: {"choi')
    assert (meter.usage, meter.complete) == (None, False)


def test_what_was_seen_is_counted_by_events_and_bytes() -> None:
    meter = ChatStream()
    run(meter, b"".join(STREAM))
    assert meter.output_floor == 2
    assert meter.output_ceiling == len("Hé!".encode()) + FRAME_TOKENS


@pytest.mark.parametrize(
    "delta",
    [
        {"refusal": "12345"},
        {"reasoning_content": "12345"},
        {"reasoning": "12345"},
        {"tool_calls": [{"index": 0, "function": {"arguments": "12345"}}]},
        {"tool_calls": [{"index": 0, "custom": {"input": "12345"}}]},
        {"function_call": {"name": "12", "arguments": "345"}},
    ],
)
def test_output_is_more_than_content(delta: dict[str, Any]) -> None:
    meter = ChatStream()
    run(meter, event(said(**delta)))
    assert meter.output_floor == 1
    assert meter._text_bytes == 5


def test_a_chunk_of_unknown_shape_counts_in_full_and_gives_its_usage() -> None:
    meter = ChatStream(strip=True)
    odd = event({"choices": {"text": "x" * 50}, "usage": USAGE, "model": 5})
    assert run(meter, odd) == odd
    assert meter.usage is not None
    assert meter.output_ceiling > 50


def test_legacy_text_counts() -> None:
    meter = ChatStream()
    run(meter, event({"choices": [{"text": "12345", "index": 0}]}))
    assert (meter.output_floor, meter.output_ceiling) == (1, 5 + FRAME_TOKENS)


def test_an_error_inside_a_200_is_seen() -> None:
    meter = ChatStream()
    run(meter, event({"error": {"message": "overloaded", "type": "server_error"}}))
    assert meter.error == "overloaded"


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": -1, "completion_tokens": 1}, "many", [], 1e400]
)
def test_absurd_usage_is_no_usage(usage: Any) -> None:
    meter = ChatStream(strip=True)
    run(meter, event(with_usage(usage)))
    assert meter.usage is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "content", "usage", "error", "tool_calls", "model"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(VALUES.map(event) | st.binary(max_size=20), max_size=6), st.integers(1, 30))
def test_no_stream_raises_and_every_byte_of_it_comes_out(events: list[bytes], step: int) -> None:
    stream = b"".join(events)
    meter = ChatStream()
    assert run(meter, stream, step) == stream
    assert meter.output_floor <= meter.output_ceiling


def body(value: Any, meter: ChatBody | None = None) -> ChatBody:
    meter = meter or ChatBody()
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    assert meter.feed(raw) == raw
    assert meter.close() == b""
    return meter


ANSWER = {
    "model": "gpt-4o",
    "service_tier": "default",
    "choices": [{"message": {"role": "assistant", "content": "x" * 300}}],
    "usage": USAGE,
}


def test_a_whole_answer_is_read_at_its_end() -> None:
    meter = body(ANSWER)
    assert meter.usage == Usage(input_tokens=7, output_tokens=3)
    assert (meter.model, meter.service_tier, meter.complete) == ("gpt-4o", "default", True)
    assert (meter.output_floor, meter.output_ceiling) == (2, 300 + 2 * FRAME_TOKENS)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "7"}])
def test_a_whole_answer_without_usage_has_none(usage: Any) -> None:
    assert body({**ANSWER, "usage": usage}).usage is None


def test_an_answer_cut_off_counts_in_full() -> None:
    meter = body(json.dumps(ANSWER).encode()[:200])
    assert (meter.usage, meter.complete, meter.output_ceiling) == (None, False, 200 + FRAME_TOKENS)


def test_an_answer_of_unknown_shape_keeps_its_usage_and_error() -> None:
    meter = body({"choices": "many", "usage": USAGE, "error": {"message": "no"}})
    assert (meter.usage, meter.error) == (Usage(input_tokens=7, output_tokens=3), "no")


def test_embeddings_have_input_and_no_output() -> None:
    meter = body({"data": [], "usage": {"prompt_tokens": 5, "total_tokens": 5}}, EmbeddingsBody())
    assert (meter.usage, meter.output_ceiling) == (Usage(input_tokens=5), 0)


def test_what_is_free_has_no_usage() -> None:
    assert body({"input_tokens": 9, "usage": USAGE}, FreeBody()).usage is None


@given(VALUES)
def test_no_body_raises(value: Any) -> None:
    body(value)
