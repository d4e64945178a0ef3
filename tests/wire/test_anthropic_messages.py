"""Meters of messages, in events and in one piece."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core.anomaly import Step
from agentwatch.core.usage import Usage
from agentwatch.wire.answer import FRAME_TOKENS
from agentwatch.wire.anthropic_messages import MessageBody, MessageStream

MODEL = "claude-sonnet-5"


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def delta(**grown: Any) -> bytes:
    return event("content_block_delta", index=0, delta=grown)


def ends(made: int, reason: str | None = "end_turn", **usage: Any) -> bytes:
    told = {"output_tokens": made, **usage}
    return event("message_delta", delta={"stop_reason": reason}, usage=told)


START = event(
    "message_start",
    message={
        "model": MODEL,
        "content": [],
        "usage": {"input_tokens": 25, "output_tokens": 1, "service_tier": "standard"},
    },
)
OPEN = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
TEXT = [delta(type="text_delta", text="Hé"), delta(type="text_delta", text="!")]
SHUT = event("content_block_stop", index=0)
STOP = event("message_stop")
STREAM = b"".join([START, event("ping"), OPEN, *TEXT, SHUT, ends(15), STOP])


def run(stream: bytes, step: int = 1 << 20, meter: MessageStream | None = None) -> MessageStream:
    """The meter after a stream, whose every byte must have come out again."""
    meter = meter or MessageStream()
    out = [meter.feed(stream[at : at + step]) for at in range(0, len(stream), step)]
    assert b"".join(out) + meter.close() == stream
    return meter


@pytest.mark.parametrize("step", [1, 3, 50, 1 << 20])
def test_a_stream_tells_model_tier_and_usage_and_is_handed_on_as_it_is(step: int) -> None:
    meter = run(STREAM, step)
    assert meter.usage == Usage(input_tokens=25, output_tokens=15)
    assert (meter.model, meter.service_tier, meter.complete) == (MODEL, "standard", True)
    assert meter.output_floor == 2


@pytest.mark.parametrize("cut", [[START, OPEN, *TEXT], [START, OPEN, *TEXT, ends(2, None)]])
def test_the_first_report_of_a_stream_that_breaks_off_is_no_usage(cut: list[bytes]) -> None:
    """Its one token of output is no count: a stream that is cut would cost nothing."""
    meter = run(b"".join(cut))
    assert meter.usage is None
    assert meter.begun is not None
    assert meter.begun.input_tokens == 25
    assert not meter.complete


def test_a_stream_that_stops_without_a_last_report_has_no_usage() -> None:
    meter = run(b"".join([START, OPEN, *TEXT, SHUT, STOP]))
    assert meter.complete
    assert meter.usage is None


def test_of_several_reports_the_last_counts() -> None:
    meter = run(b"".join([START, OPEN, *TEXT, ends(2, None), ends(9), STOP]))
    assert meter.usage == Usage(input_tokens=25, output_tokens=9)


def test_speed_counts_as_a_tier() -> None:
    usage = {"input_tokens": 1, "output_tokens": 1, "service_tier": "standard", "speed": "fast"}
    meter = run(event("message_start", message={"model": MODEL, "usage": usage}))
    assert meter.service_tier == "fast"


@pytest.mark.parametrize(
    ("grown", "floor", "other"),
    [
        ({"text": "12345"}, 1, 0),
        ({"partial_json": "12345"}, 0, 5),
        ({"thinking": "12345"}, 0, 5),
        ({"content": "12345"}, 0, 5),
        ({"signature": "12345"}, 0, 0),
        ({"citation": {"cited_text": "12345"}}, 0, 0),
    ],
)
def test_only_text_was_certainly_made_and_what_is_shown_counts_at_most_by_its_bytes(
    grown: dict[str, Any], floor: int, other: int
) -> None:
    meter = run(delta(**grown))
    assert meter.output_floor == floor
    assert meter.output_ceiling == 5 * floor + other + FRAME_TOKENS


def test_what_the_server_found_is_no_output() -> None:
    found = {"type": "web_search_tool_result", "content": [{"encrypted_content": "x" * 9000}]}
    assert run(event("content_block_start", content_block=found)).output_ceiling == FRAME_TOKENS
    asked = {"type": "server_tool_use", "input": {"query": "x" * 50}}
    assert run(event("content_block_start", content_block=asked)).output_ceiling > 50


def test_an_error_inside_a_200_is_seen() -> None:
    meter = run(START + event("error", error={"type": "overloaded_error", "message": "Overloaded"}))
    assert (meter.error, meter.usage, meter.complete) == ("Overloaded", None, False)


def test_an_event_of_unknown_shape_counts_in_full() -> None:
    odd = event("content_block_delta", delta={"text": ["x" * 50]})
    assert run(odd).output_ceiling > 50


@pytest.mark.parametrize("usage", [{"output_tokens": -1}, {"output_tokens": 1e400}, {}])
def test_absurd_usage_at_the_end_is_no_usage(usage: dict[str, Any]) -> None:
    told = event("message_delta", delta={"stop_reason": "end_turn"}, usage=usage)
    odd = run(event("message_start", message={"model": MODEL, "usage": {}}) + told + STOP)
    assert odd.usage is None


@given(st.data())
def test_no_stream_raises_and_every_byte_of_it_comes_out(data: st.DataObject) -> None:
    """Cut anywhere, any bytes changed, fed in any pieces."""
    stream = bytearray(STREAM[: data.draw(st.integers(0, len(STREAM)))])
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)))):
        if at < len(stream):
            stream[at] = byte
    meter = run(bytes(stream), data.draw(st.integers(1, 99)))
    assert 0 <= meter.output_floor <= meter.output_ceiling


def body(value: Any) -> MessageBody:
    meter = MessageBody()
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    assert meter.feed(raw) == raw
    assert meter.close() == b""
    return meter


ANSWER = {
    "type": "message",
    "model": MODEL,
    "content": [{"type": "text", "text": "x" * 300}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 7, "output_tokens": 3, "service_tier": "priority"},
}


def test_a_whole_answer_is_read_at_its_end() -> None:
    meter = body(ANSWER)
    assert meter.usage == Usage(input_tokens=7, output_tokens=3)
    assert (meter.model, meter.service_tier, meter.complete) == (MODEL, "priority", True)
    assert (meter.output_floor, meter.output_ceiling) == (2, 300 + 2 * FRAME_TOKENS)


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": 7}, {"output_tokens": "7"}])
def test_a_whole_answer_without_usage_has_none(usage: Any) -> None:
    assert body({**ANSWER, "usage": usage}).usage is None


def test_an_answer_cut_off_counts_in_full() -> None:
    meter = body(json.dumps(ANSWER).encode()[:200])
    assert (meter.usage, meter.complete, meter.output_ceiling) == (None, False, 200 + FRAME_TOKENS)


def test_an_error_in_place_of_an_answer_is_seen() -> None:
    meter = body({"type": "error", "error": {"message": "Overloaded"}})
    assert (meter.error, meter.usage) == ("Overloaded", None)


@given(st.binary(max_size=60) | st.dictionaries(st.sampled_from([*ANSWER]), st.none() | st.text()))
def test_no_body_raises(value: Any) -> None:
    body(value)


TOOL = {"type": "tool_use", "id": "toolu_1", "name": "read"}
USED = event("content_block_start", index=1, content_block={**TOOL, "input": {}})


def whole(*content: dict[str, Any]) -> Step | None:
    meter = MessageBody()
    meter.feed(json.dumps({"model": MODEL, "content": content}).encode())
    meter.close()
    return meter.step


def test_what_an_answer_does_is_not_known_or_another_for_its_chunks() -> None:
    bits = [delta(type="input_json_delta", partial_json=bit) for bit in ('{"at"', ": 1}")]
    called = run(b"".join([START, OPEN, *TEXT, USED, *bits, ends(9, "tool_use"), STOP])).step
    assert called == whole({"type": "text", "text": "now"}, {**TOOL, "input": {"at": 1}})
    assert called != whole({**TOOL, "input": {"at": 2}})
    assert run(STREAM).step == whole({"type": "text", "text": "Hé!"})
    assert run(b"".join([START, ends(1), STOP])).step == whole() == Step()
    assert run(b"".join([START, OPEN, *TEXT])).step is None
