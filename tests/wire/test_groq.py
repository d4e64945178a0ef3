"""Groq's wire: paths, systems of models, and what it tells in x_groq."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core.usage import Share, Usage
from agentwatch.errors import Refusal
from agentwatch.wire.dialect import Ask, Request
from agentwatch.wire.groq import Groq, GroqBody, GroqStream

MODEL = "openai/gpt-oss-120b"
TOOLS = {"tools": {"enabled_tools": ["web_search", "wolfram_alpha"]}}


def read(path: str = "/openai/v1/chat/completions", **fields: Any) -> tuple[Ask, Request]:
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], **fields}
    return Groq().read("POST", path, "", {}, json.dumps(asked).encode())


@pytest.mark.parametrize("prefix", ["/openai/v1", "/v1", "/openai/v1/openai/v1", "/v1/v1", ""])
def test_whoever_adds_the_version_the_call_goes_where_groq_takes_it(prefix: str) -> None:
    ask, _ = read(f"{prefix}/chat/completions")
    assert (ask.provider, ask.upstream_path) == ("groq", "/openai/v1/chat/completions")


def test_a_stream_is_not_asked_for_its_usage_as_it_tells_it_anyway() -> None:
    _, request = read(stream=True)
    assert b"stream_options" not in request.body()


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/openai/v1/batches", "POST"),
        ("/openai/v1/files", "POST"),
        ("/v1/fine_tunings", "POST"),
        ("/openai/v1/images/generations", "POST"),
        ("/openai/v1/moderations", "POST"),
        ("/openai/v1/responses/resp_1", "GET"),
    ],
)
def test_what_groq_does_not_sell_or_sells_later_is_refused(path: str, method: str) -> None:
    with pytest.raises(Refusal) as refused:
        Groq().read(method, path, "", {}, b"{}")
    assert refused.value.reason == "path_not_governed"


def test_models_are_listed_for_nothing() -> None:
    ask, _ = Groq().read("GET", "/openai/v1/models", "", {}, b"")
    assert ask.free and ask.upstream_path == "/openai/v1/models"


def test_a_system_is_held_at_all_that_it_may_call() -> None:
    ask, _ = read(
        model="groq/compound",
        compound_custom={**TOOLS, "models": {"answering_model": "a", "reasoning_model": None}},
    )
    assert (ask.rounds, ask.choices, ask.pieces) == (10, 11, {"web_search": 10})
    assert ask.also_models == ("a",)


def test_a_system_without_tools_answers_once() -> None:
    ask, _ = read(model="groq/compound-mini", compound_custom={"tools": {"enabled_tools": []}})
    assert (ask.rounds, ask.choices, ask.pieces) == (0, 1, {})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"model": "groq/compound"}, "model_not_priced"),
        ({"model": "Groq/Compound"}, "model_not_priced"),
        ({"model": "groq/compound", "compound_custom": {"tools": 3}}, "model_not_priced"),
        (
            {"model": "groq/compound", "compound_custom": {"tools": {"enabled_tools": "web"}}},
            "model_not_priced",
        ),
        (
            {"model": "groq/compound", "compound_custom": {"tools": {"enabled_tools": ["python"]}}},
            "model_not_priced",
        ),
        ({"model": "groq/compound", "compound_custom": {**TOOLS, "models": 1}}, "bad_request"),
        (
            {"model": "groq/compound", "compound_custom": {**TOOLS, "models": {"x": 1}}},
            "bad_request",
        ),
        ({"compound_custom": TOOLS}, "bad_request"),
        ({"Compound_custom": TOOLS}, "bad_request"),
        ({"n": 2}, "bad_request"),
    ],
)
def test_what_has_no_bound_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refusal) as refused:
        read(**fields)
    assert refused.value.reason == reason


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


USAGE = {"prompt_tokens": 40, "completion_tokens": 9, "total_tokens": 49}
PARTS = {
    "models": [
        {"model": "a", "usage": {"prompt_tokens": 30, "completion_tokens": 4}},
        {"model": "b", "usage": {"prompt_tokens": 10, "completion_tokens": 5}},
    ]
}
SHARES = (
    Share(model="a", usage=Usage(input_tokens=30, output_tokens=4)),
    Share(model="b", usage=Usage(input_tokens=10, output_tokens=5)),
)


def frame(*choices: Any, **told: Any) -> bytes:
    return event({"model": MODEL, "choices": list(choices), **told})


TOOL = {"index": 0, "delta": {"executed_tools": [{"index": 0, "type": "search"}]}}
STREAM = b"".join(
    [
        frame({"index": 0, "delta": {"role": "assistant"}}, x_groq={"id": "r"}),
        event({"x_groq": {"id": "r"}}),
        frame(TOOL),
        frame(TOOL),
        frame({"index": 0, "delta": {"content": "Hé"}}),
        frame(
            {"index": 0, "delta": {}, "finish_reason": "stop"},
            x_groq={"id": "r", "usage": USAGE, "usage_breakdown": PARTS},
        ),
        frame(usage=USAGE),
        b"data: [DONE]\n\n",
    ]
)


def run(meter: GroqStream | GroqBody, data: bytes, step: int = 1 << 20) -> bytes:
    out = [meter.feed(data[at : at + step]) for at in range(0, len(data), step)]
    return b"".join(out) + meter.close()


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_a_stream_tells_usage_parts_and_tools(step: int) -> None:
    meter = GroqStream()
    assert run(meter, STREAM, step) == STREAM
    # a tool that is told of twice has run once
    assert meter.usage == Usage(shares=SHARES, pieces={"web_search": 1})
    assert meter.complete and meter.error is None and meter.output_floor == 1


def test_a_body_tells_the_same() -> None:
    said = {"content": "hi", "executed_tools": [{"index": 0, "type": "visit"}]}
    meter = GroqBody()
    body = {"choices": [{"message": said}], "usage": USAGE, "usage_breakdown": PARTS}
    run(meter, json.dumps({**body, "x_groq": {"usage": {"dram_cached_tokens": 3}}}).encode())
    assert meter.usage == Usage(shares=SHARES, pieces={"visit_website": 1})


def test_what_no_part_accounts_for_is_the_models_own() -> None:
    meter = GroqStream()
    run(meter, frame(x_groq={"usage": {**USAGE, "prompt_tokens": 50}, "usage_breakdown": PARTS}))
    assert meter.usage == Usage(input_tokens=10, shares=SHARES)


@pytest.mark.parametrize(
    "parts", [None, {}, {"models": 1}, {"models": [1]}, {"models": [{"model": "a", "usage": {}}]}]
)
def test_parts_that_can_not_be_believed_leave_the_total(parts: Any) -> None:
    meter = GroqStream()
    run(meter, frame(x_groq={"usage": USAGE, "usage_breakdown": parts}))
    assert meter.usage == Usage(input_tokens=40, output_tokens=9)


def test_a_tool_that_is_not_known_is_not_free() -> None:
    meter = GroqStream()
    tools = [{"index": at, "type": kind} for at, kind in enumerate(["python", "wolfram_alpha"])]
    run(meter, frame({"delta": {"executed_tools": tools}}, x_groq={"usage": USAGE}))
    assert meter.usage is not None and meter.usage.pieces == {"python": 1}


def test_an_error_inside_a_200_is_kept() -> None:
    meter = GroqStream()
    run(meter, frame(x_groq={"error": "over capacity"}))
    assert meter.error == "over capacity"


@given(st.data())
def test_a_stream_cut_or_changed_anywhere_goes_on_unchanged(data: st.DataObject) -> None:
    broken = bytearray(STREAM[: data.draw(st.integers(0, len(STREAM)))])
    for _ in range(data.draw(st.integers(0, 3))):
        if broken:
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    meter = GroqStream()
    assert run(meter, bytes(broken), data.draw(st.integers(1, 200))) == bytes(broken)
    assert meter.output_floor <= meter.output_ceiling


def test_speech_is_billed_by_the_character() -> None:
    ask, request = read(
        "/openai/v1/audio/speech", model="canopylabs/orpheus-v1-english", input="héé"
    )
    assert (ask.units, ask.upstream_path) == ({"characters": 3}, "/openai/v1/audio/speech")
    meter = request.meter(False)
    meter.feed(b"RIFF")
    meter.close()
    assert meter.usage == Usage(pieces={"characters": 3})


def test_sound_is_held_at_ten_seconds_at_the_least() -> None:
    form = (
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-large-v3\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nID3\r\n--b--\r\n'
    )
    kind = {"content-type": "multipart/form-data; boundary=b"}
    ask, _ = Groq().read("POST", "/openai/v1/audio/transcriptions", "", kind, form)
    assert ask.units["audio_ms"] >= 10_000
    assert ask.upstream_path == "/openai/v1/audio/transcriptions"


def test_packed_silence_has_no_length_and_is_refused() -> None:
    form = (
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-large-v3\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nfLaC\r\n--b--\r\n'
    )
    kind = {"content-type": "multipart/form-data; boundary=b"}
    with pytest.raises(Refusal, match="send WAV or MP3"):
        Groq().read("POST", "/openai/v1/audio/transcriptions", "", kind, form)
