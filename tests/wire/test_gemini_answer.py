"""Meters: the last report counts, in whatever form the answer comes; not a byte is changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core.anomaly import Step
from agentwatch.core.usage import Usage
from agentwatch.wire.answer import StreamedAnswer
from agentwatch.wire.gemini_answer import (
    GeminiArray,
    GeminiBody,
    GeminiEmbeddings,
    GeminiStream,
)
from agentwatch.wire.gemini_usage import Expected


def chunk(*parts: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "gemini-2.5-flash", **more}


def told(prompt: int, shown: int, thought: int = 0) -> dict[str, int]:
    counts = {"promptTokenCount": prompt, "candidatesTokenCount": shown}
    return counts | ({"thoughtsTokenCount": thought} if thought else {})


def events(*chunks: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(each).encode() + b"\r\n\r\n" for each in chunks)


def array(*chunks: Any) -> bytes:
    return b"[" + b"\n,\r\n".join(json.dumps(each, indent=1).encode() for each in chunks) + b"\n]"


CHUNKS = [
    chunk({"text": "Hé"}, usageMetadata=told(7, 1, 90)),
    chunk({"text": "!"}, usageMetadata=told(7, 2, 90)),
    chunk({"text": ""}, finish="STOP", usageMetadata=told(7, 3, 90)),
]
USAGE = Usage(input_tokens=7, output_tokens=93, reasoning_tokens=90)


def run(meter: StreamedAnswer, stream: bytes, step: int = 1 << 20) -> bytes:
    out = [meter.feed(stream[at : at + step]) for at in range(0, len(stream), step)]
    return b"".join(out) + meter.close()


@pytest.mark.parametrize("step", [1, 3, 50, 1 << 20])
@pytest.mark.parametrize(("form", "meter"), [(events, GeminiStream), (array, GeminiArray)])
def test_reports_are_cumulative_and_not_added_up(form: Any, meter: Any, step: int) -> None:
    made = meter(Expected())
    stream = form(*CHUNKS)
    assert run(made, stream, step) == stream
    assert made.usage == USAGE and made.complete and made.error is None
    assert made.model == "gemini-2.5-flash"


def test_a_body_is_read_at_its_end() -> None:
    meter = GeminiBody(Expected())
    body = json.dumps(chunk({"text": "a"}, finish="STOP", usageMetadata=told(7, 3, 90))).encode()
    assert meter.feed(body) + meter.close() == body
    assert meter.usage == USAGE and meter.complete


@pytest.mark.parametrize(
    ("told_in", "tier"),
    [("priority", "priority"), ("FLEX", "flex"), ("", None)],
)
def test_the_tier_that_answered_is_told_in_a_header(told_in: str, tier: str | None) -> None:
    meter = GeminiBody(Expected())
    meter.head({"x-gemini-service-tier": told_in} if told_in else {})
    assert meter.service_tier == tier


def test_a_tier_in_the_usage_counts_too() -> None:
    meter = GeminiStream(Expected())
    usage = {**told(1, 1), "serviceTier": "SERVICE_TIER_FLEX"}
    run(meter, events(chunk(usageMetadata=usage)))
    assert meter.service_tier == "flex"


def test_what_was_reported_once_was_made() -> None:
    meter = GeminiStream(Expected())
    run(meter, events(chunk(usageMetadata=told(7, 50)), chunk(usageMetadata=told(7, 2))))
    assert meter.usage is not None and meter.usage.output_tokens == 2
    assert meter.output_floor == 50


def test_a_report_that_cannot_be_believed_does_not_undo_the_one_before() -> None:
    meter = GeminiStream(Expected())
    run(meter, events(CHUNKS[0], chunk(usageMetadata={"promptTokenCount": -1})))
    assert meter.usage == Usage(input_tokens=7, output_tokens=91, reasoning_tokens=90)


def test_thoughts_that_are_shown_are_summaries_and_no_output_of_their_own() -> None:
    meter = GeminiStream(Expected())
    run(meter, events(chunk({"text": "x" * 500, "thought": True})))
    assert meter.output_floor == 0 and meter.output_ceiling >= 500


@pytest.mark.parametrize(
    "part",
    [
        {"functionCall": {"name": "f", "args": {"a": "x" * 100}}},
        {"executableCode": {"code": "x" * 100}},
        {"codeExecutionResult": {"output": "x" * 100}},
        {"inlineData": {"mimeType": "image/png", "data": "x" * 100}},
    ],
)
def test_what_is_no_text_may_be_output(part: dict[str, Any]) -> None:
    meter = GeminiStream(Expected())
    run(meter, events(chunk(part)))
    assert meter.output_ceiling >= 132


def test_each_candidate_must_have_ended() -> None:
    meter = GeminiStream(Expected(choices=2))
    meter.feed(events(chunk(finish="STOP")))
    assert not meter.complete
    second = chunk(finish="MAX_TOKENS")
    second["candidates"][0]["index"] = 1
    meter.feed(events(second))
    assert meter.complete


def test_a_prompt_that_was_blocked_is_an_answer() -> None:
    meter = GeminiStream(Expected())
    run(meter, events({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": told(9, 0)}))
    assert meter.complete and meter.usage == Usage(input_tokens=9)


@pytest.mark.parametrize(("form", "meter"), [(events, GeminiStream), (array, GeminiArray)])
def test_an_error_inside_a_200_is_seen(form: Any, meter: Any) -> None:
    made = meter(Expected())
    run(made, form(CHUNKS[0], {"error": {"code": 503, "message": "overloaded"}}))
    assert made.error == "overloaded" and not made.complete
    assert made.usage is not None


@pytest.mark.parametrize("searches", [True, False])
def test_a_search_is_counted_once_and_only_where_one_may_be_billed(searches: bool) -> None:
    meter = GeminiStream(Expected(searches=searches))
    found = chunk(usageMetadata=told(7, 1))
    found["candidates"][0]["groundingMetadata"] = {"webSearchQueries": ["a", "b"]}
    run(meter, events(chunk(usageMetadata=told(7, 1)), found, chunk(usageMetadata=told(7, 2))))
    assert meter.usage is not None
    assert meter.usage.pieces == ({"web_search": 1} if searches else {})


def test_embeddings_have_no_output() -> None:
    meter = GeminiEmbeddings(Expected(has_output=False))
    body = (
        b'{"embedding":{"values":[1]},"usageMetadata":{"promptTokenCount":4,"totalTokenCount":9}}'
    )
    meter.feed(body)
    meter.close()
    assert meter.usage == Usage(input_tokens=4)
    assert meter.output_ceiling == meter.output_floor == 0


# ---- the last word


@pytest.mark.parametrize("seen", [0, 1, 3])
def test_an_array_that_is_ended_by_us_is_json(seen: int) -> None:
    meter = GeminiArray(Expected())
    stream = array(*CHUNKS)
    shown = b"" if seen == 0 else meter.feed(stream[: stream.rindex(b"\n]")] if seen == 3 else b"")
    if seen == 1:
        shown = meter.feed(array(CHUNKS[0])[:-2])
    whole = json.loads(shown + meter.last_word(b'{"error":{}}'))
    assert whole == [*CHUNKS[:seen], {"error": {}}]


def test_nothing_follows_an_array_that_is_closed() -> None:
    meter = GeminiArray(Expected())
    meter.feed(array(CHUNKS[0]))
    assert meter.last_word(b"{}") == b""


def test_an_event_follows_events_as_it_is() -> None:
    assert GeminiStream(Expected()).last_word(b"data: {}\n\n") == b"data: {}\n\n"


# ---- whatever comes

RECORDED = [events(*CHUNKS), array(*CHUNKS), json.dumps(CHUNKS[-1]).encode()]
METERS = [GeminiStream, GeminiArray, GeminiBody, GeminiEmbeddings]


@given(
    st.sampled_from(RECORDED),
    st.sampled_from(METERS),
    st.lists(st.tuples(st.integers(0, 500), st.binary(max_size=3)), max_size=4),
    st.integers(1, 400),
    st.integers(1, 64),
)
def test_a_stream_cut_and_mutated_at_any_byte_comes_through_unchanged(
    stream: bytes, made: Any, edits: list[tuple[int, bytes]], end: int, step: int
) -> None:
    for at, patch in edits:
        stream = stream[:at] + patch + stream[at + 1 :]
    stream = stream[:end]
    meter = made(Expected())
    out = b"".join(meter.feed(stream[at : at + step]) for at in range(0, len(stream), step))
    assert out + meter.close() == stream
    assert meter.output_floor >= 0


CALL = {"functionCall": {"name": "read", "args": {"at": 1}}}


def step(meter: Any, raw: bytes) -> Step | None:
    meter.feed(raw)
    meter.close()
    found: Step | None = meter.step
    return found


def test_what_an_answer_does_is_not_known_or_another_for_its_form() -> None:
    def forms(*chunks: Any) -> set[Step | None]:
        whole = {**chunks[-1], "candidates": [{**chunks[-1]["candidates"][0]}]}
        parts = [part for each in chunks for part in each["candidates"][0]["content"]["parts"]]
        whole["candidates"][0]["content"] = {"parts": parts}
        return {
            step(GeminiStream(Expected()), events(*chunks)),
            step(GeminiArray(Expected()), array(*chunks)),
            step(GeminiBody(Expected()), json.dumps(whole).encode()),
        }

    (called,) = forms(chunk({"text": "hm", "thought": True}, CALL), chunk(finish="STOP"))
    (other,) = forms(chunk({"functionCall": {"name": "read", "args": {"at": 2}}}, finish="STOP"))
    (said,) = forms(*CHUNKS)
    assert called is not None and called.calls and called != other
    assert said is not None and said.said
    assert forms(chunk(finish="STOP")) == {Step()}
    assert step(GeminiStream(Expected()), events(CHUNKS[0])) is None
