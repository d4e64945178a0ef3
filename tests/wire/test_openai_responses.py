"""Meters of the responses API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core.usage import Usage
from agentwatch.wire.answer import FRAME_TOKENS
from agentwatch.wire.openai_responses import ResponsesBody, ResponsesStream

USAGE = {"input_tokens": 7, "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 1}}
RESPONSE = {"id": "r", "model": "gpt-5.4", "service_tier": "priority", "output": [], "usage": USAGE}


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def run(*events: bytes, fee: str | None = None, step: int = 1 << 20) -> ResponsesStream:
    meter, stream = ResponsesStream(fee), b"".join(events)
    out = [meter.feed(stream[at : at + step]) for at in range(0, len(stream), step)]
    assert b"".join(out) + meter.close() == stream
    return meter


@pytest.mark.parametrize("end", ["completed", "incomplete", "failed"])
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_usage_stands_in_the_last_event_whatever_its_name(end: str, step: int) -> None:
    meter = run(event(f"response.{end}", response=RESPONSE), step=step)
    assert meter.usage == Usage(input_tokens=7, output_tokens=3, reasoning_tokens=1)
    assert (meter.model, meter.service_tier, meter.complete) == ("gpt-5.4", "priority", True)


def test_a_stream_that_is_cut_knows_its_model_and_what_was_seen() -> None:
    meter = run(
        event("response.created", response={"model": "gpt-5.4", "service_tier": "auto"}),
        event("response.output_text.delta", delta="Hé"),
        event("response.function_call_arguments.delta", delta="{}"),
        b"event: response.comp",
    )
    assert (meter.usage, meter.complete, meter.model) == (None, False, "gpt-5.4")
    assert meter.service_tier is None
    assert (meter.output_floor, meter.output_ceiling) == (2, 5 + FRAME_TOKENS)


def test_a_summary_is_no_billed_output_for_certain_but_may_be() -> None:
    meter = run(event("response.reasoning_summary_text.delta", delta="12345"))
    assert (meter.output_floor, meter.output_ceiling) == (0, 5 + FRAME_TOKENS)


def test_reasoning_that_is_not_shown_is_counted_by_its_encrypted_bytes() -> None:
    item = {"type": "reasoning", "encrypted_content": "A" * 500}
    assert run(event("response.output_item.done", item=item)).output_ceiling >= 500


def test_a_delta_that_is_no_text_counts() -> None:
    meter = run(event("response.shell_call_output_content.delta", delta={"stdout": "12345"}))
    assert meter.output_ceiling > 5


@pytest.mark.parametrize(
    "failing",
    [
        event("error", message="overloaded", code="server_error"),
        event("error", error={"message": "overloaded"}),
        event("response.failed", response={**RESPONSE, "error": {"message": "overloaded"}}),
        b'data: {"error":{"message":"overloaded"}}\n\n',
    ],
)
def test_an_error_inside_a_200_is_seen(failing: bytes) -> None:
    assert run(failing).error == "overloaded"


def test_searches_are_counted_as_billed_else_as_shown() -> None:
    told = {**RESPONSE, "tool_usage": {"web_search": {"num_requests": 2}}}
    shown = {**RESPONSE, "output": [{"type": "web_search_call"}, {"type": "message"}]}
    for response, count in ((told, 2), (shown, 1), (RESPONSE, 0)):
        meter = run(event("response.completed", response=response), fee="web_search")
        assert meter.usage is not None
        assert meter.usage.pieces == {"web_search": count}


@pytest.mark.parametrize("count", [-1, "2", True, 2**60, None])
def test_an_absurd_count_of_searches_is_not_believed(count: Any) -> None:
    response = {
        **RESPONSE,
        "tool_usage": {"web_search": {"num_requests": count}},
        "output": [{"type": "web_search_call"}],
    }
    meter = run(event("response.completed", response=response), fee="web_search")
    assert meter.usage is not None
    assert meter.usage.pieces == {"web_search": 1}


def body(value: Any) -> ResponsesBody:
    meter, raw = ResponsesBody(), json.dumps(value).encode()
    assert meter.feed(raw) + meter.close() == raw
    return meter


def test_a_whole_response_is_read_at_its_end() -> None:
    output = [{"type": "message", "content": [{"type": "output_text", "text": "x" * 300}]}]
    meter = body({**RESPONSE, "output": output})
    assert meter.usage == Usage(input_tokens=7, output_tokens=3, reasoning_tokens=1)
    assert (meter.model, meter.service_tier, meter.complete) == ("gpt-5.4", "priority", True)
    assert meter.output_floor == 2
    assert meter.output_ceiling > 300


def test_a_whole_response_without_usage_has_none() -> None:
    assert body({**RESPONSE, "usage": None}).usage is None


KEYS = [
    "type",
    "delta",
    "response",
    "usage",
    "item",
    "output",
    "error",
    "message",
    "content",
    "model",
    "tool_usage",
]
VALUES = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.just("response.completed"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from(KEYS), VALUES), st.sampled_from(["error", "response.failed"])
)
def test_nothing_raises_and_every_byte_comes_out(value: dict[str, Any], kind: str) -> None:
    run(
        event(kind, **{key: part for key, part in value.items() if key != "type"}), fee="web_search"
    )
    run(b"data: " + json.dumps(value).encode() + b"\n\n")
    body(value)
