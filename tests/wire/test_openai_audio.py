"""Sound on OpenAI's wire: bounds, units, and both kinds of usage."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core.usage import Usage
from agentwatch.errors import Refusal
from agentwatch.wire.dialect import Ask, Request
from agentwatch.wire.multipart import Form, Part
from agentwatch.wire.openai import OpenAI
from agentwatch.wire.openai_audio import (
    SpeechBody,
    SpeechStream,
    TranscriptionBody,
    TranscriptionStream,
    transcription_usage,
)

SOUND = b"ID3" + b"\0" * 59_997  # a minute at the lowest rate


def transcription(path: str = "/audio/transcriptions", **fields: Any) -> tuple[Ask, Request]:
    parts = [Part("file", fields.pop("file", SOUND), b"a.mp3", b"audio/mpeg")]
    parts += [
        Part(name, str(value).encode()) for name, value in {"model": "whisper-1", **fields}.items()
    ]
    form = Form("b", parts)
    return OpenAI().read("POST", path, "", {"content-type": form.content_type}, form.written())


def speech(**fields: Any) -> tuple[Ask, Request]:
    body = {"model": "tts-1", "input": "hello", "voice": "alloy", **fields}
    return OpenAI().read("POST", "/v1/audio/speech", "", {}, json.dumps(body).encode())


@pytest.mark.parametrize("path", ["/audio/transcriptions", "/v1/audio/translations"])
def test_sound_is_bounded_in_tokens_and_in_seconds(path: str) -> None:
    ask, request = transcription(path)
    assert ask.units == {"audio_ms": 60_000}
    assert ask.input_bound >= 60 * 20 and ask.audio_in and ask.fixed_output
    assert ask.output_limit == 2_000 + 60 * 20
    assert ask.content_type == 'multipart/form-data; boundary="b"'
    assert SOUND in request.body()
    assert request.text() is None


def test_what_is_sent_is_written_from_what_was_read() -> None:
    _, request = transcription(prompt="p")
    assert request.body() == request.body(output_limit=3)


def test_voices_to_compare_with_are_sound_too() -> None:
    ask, _ = transcription(**{"known_speaker_references[]": "data:audio/wav;base64," + "A" * 5_000})
    assert ask.units["audio_ms"] > 60_000


@pytest.mark.parametrize(
    "fields",
    [{"model": ""}, {"model": "m" * 300}, {"stream": "maybe"}, {"Model": "x"}, {"FILE": "x"}],
)
def test_a_form_that_cannot_be_priced_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(Refusal) as refusal:
        transcription(**fields)
    assert refusal.value.reason == "bad_request"


def test_json_in_a_forms_place_is_refused() -> None:
    with pytest.raises(Refusal, match="multipart/form-data"):
        OpenAI().read("POST", "/audio/transcriptions", "", {}, b'{"model":"whisper-1"}')


def test_speech_is_bounded_by_its_text() -> None:
    ask, request = speech(input="hé" * 100)
    assert ask.units == {"characters": 200}
    assert ask.output_limit == 300 * 8 + 1_000
    assert speech(input="hé" * 100, speed=0.25)[0].output_limit == 4 * (300 * 8 + 1_000)
    assert json.loads(request.body())["input"] == "hé" * 100


@pytest.mark.parametrize("fields", [{"speed": 0}, {"speed": "slow"}, {"model": 1}, {"Input": "x"}])
def test_speech_that_cannot_be_bounded_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Refusal):
        speech(**fields)


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({"type": "duration", "seconds": 12}, Usage(pieces={"audio_ms": 12_000})),
        ({"type": "duration", "seconds": 12.3}, Usage(pieces={"audio_ms": 12_300})),
        ({"type": "duration", "seconds": 0.0001}, Usage(pieces={"audio_ms": 1})),
        ({"type": "duration", "seconds": -1}, None),
        ({"type": "duration", "seconds": "12"}, None),
        ({"type": "duration", "seconds": True}, None),
        ({"type": "duration", "seconds": 1e30}, None),
        ({"type": "duration"}, None),
        ({"type": "tokens", "input_tokens": 9, "output_tokens": -1}, None),
        (None, None),
    ],
)
def test_a_duration_is_a_usage(told: Any, usage: Usage | None) -> None:
    assert transcription_usage(json.dumps(told).encode()) == usage


TOKENS = {
    "type": "tokens",
    "input_tokens": 120,
    "output_tokens": 30,
    "input_token_details": {"audio_tokens": 100, "text_tokens": 20},
}


def test_tokens_of_sound_are_told_from_those_of_text() -> None:
    meter = TranscriptionBody()
    meter.feed(json.dumps({"text": "hello", "usage": TOKENS}).encode())
    meter.close()
    assert meter.complete
    assert meter.usage == Usage(input_tokens=120, input_audio_tokens=100, output_tokens=30)


def test_a_text_without_a_usage_is_not_free() -> None:
    meter = TranscriptionBody()
    meter.feed(b"1\n00:00:00,000 --> 00:00:02,000\nhello\n")
    meter.close()
    assert (meter.usage, meter.complete) == (None, False)
    assert meter.output_ceiling > 30


@given(st.integers(1, 40))
def test_a_streamed_transcript_is_read_however_it_is_cut(cut: int) -> None:
    stream = b'data: {"type":"transcript.text.delta","delta":"hel"}\n\n'
    stream += b'data: {"type":"transcript.text.done","text":"hello","usage":'
    stream += json.dumps(TOKENS).encode() + b"}\n\n"
    meter = TranscriptionStream()
    out = b"".join(meter.feed(stream[at : at + cut]) for at in range(0, len(stream), cut))
    assert out + meter.close() == stream
    assert meter.complete and meter.usage is not None and meter.usage.output_tokens == 30


def test_characters_are_known_before_a_sound_is_heard() -> None:
    meter = speech()[1].meter(False)
    assert isinstance(meter, SpeechBody)
    assert meter.usage == Usage(pieces={"characters": 5})
    assert meter.feed(b"\xff\xfb") == b"\xff\xfb"
    meter.close()
    assert meter.complete


def test_a_model_billed_by_tokens_tells_them_only_in_events() -> None:
    _, request = speech(model="gpt-4o-mini-tts", stream_format="sse")
    assert request.meter(False).usage is None
    meter = request.meter(True)
    assert isinstance(meter, SpeechStream)
    meter.feed(b'data: {"type":"speech.audio.delta","audio":"AAAA"}\n\n')
    meter.feed(b'data: {"type":"speech.audio.done","usage":{"input_tokens":4,"output_tokens":50}}')
    meter.close()
    assert meter.usage == Usage(input_tokens=4, output_tokens=50)


@pytest.mark.parametrize("made", [TranscriptionStream(), SpeechStream(None)])
def test_an_error_in_a_stream_is_kept(made: Any) -> None:
    made.feed(b'data: {"error":{"message":"broke"}}\n\n')
    assert made.error == "broke"
