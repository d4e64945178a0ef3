"""The stand-in's own reckoning of sound and images, by figures written down here once more."""

from __future__ import annotations

import base64
import io
import json
import wave

import pytest

from agentwatch.standin import openai_media
from agentwatch.standin.bill import Entry
from agentwatch.standin.provider import BadRequestError


def wav(seconds: float) -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as writer:
        writer.setparams((1, 2, 8_000, 0, "NONE", ""))
        writer.writeframes(b"\0\0" * round(seconds * 8_000))
    return made.getvalue()


def entry(api: str, model: str, **counts: int) -> Entry:
    made = Entry(id="1", method="POST", path="/", started_at=0.0, api=api, model=model)
    for name, count in counts.items():
        if name in made.__struct_fields__:
            setattr(made, name, count)
        else:
            made.extra[name] = count
    return made


@pytest.mark.parametrize(
    ("api", "model", "counts", "nanos"),
    [
        ("transcriptions", "whisper-1", {"seconds": 60}, 6_000_000),
        ("transcriptions", "gpt-transcribe", {"seconds": 3_600}, 270_000_000),
        (
            "transcriptions",
            "gpt-4o-transcribe",
            {"prompt_tokens": 110, "media": 100, "completion_tokens": 20},
            10 * 2_500 + 100 * 6_000 + 20 * 10_000,
        ),
        ("speech", "tts-1-hd", {"characters": 10}, 300_000),
        (
            "speech",
            "gpt-4o-mini-tts",
            {"prompt_tokens": 10, "completion_tokens": 50},
            10 * 600 + 50 * 12_000,
        ),
        (
            "images",
            "gpt-image-1.5",
            {"prompt_tokens": 320, "media": 300, "completion_tokens": 1_066, "reasoning": 10},
            20 * 5_000 + 300 * 8_000 + 10 * 10_000 + 1_056 * 32_000,
        ),
    ],
)
def test_a_call_costs_what_the_price_page_says(
    api: str, model: str, counts: dict[str, int], nanos: int
) -> None:
    assert openai_media.cost(entry(api, model, **counts)) == nanos


def test_sound_is_measured() -> None:
    assert openai_media.sound_tokens({"file": wav(1.25)}) == 13
    assert openai_media.sound_tokens({"file": b"ID3" + b"\0" * 31_997}) == 20
    part = {"input_audio": {"data": base64.b64encode(wav(2)).decode()}}
    assert openai_media.part_tokens(part) == 20
    with pytest.raises(BadRequestError):
        openai_media.part_tokens({"input_audio": {"data": "?"}})


def test_a_form_is_read() -> None:
    lines = [
        b"--b",
        b'Content-Disposition: form-data; name="model"',
        b"",
        b"gpt-image-2",
        b"--b",
        b'Content-Disposition: form-data; name="image[]"; filename="a.png"',
        b"",
        b"\x89PNG",
        b"--b--",
        b"",
    ]
    call = openai_media.read("/images/edits", b"\r\n".join(lines))
    assert (call.model, call.body["images"]) == ("gpt-image-2", 1)


@pytest.mark.parametrize("body", [b"{", b"[]", json.dumps({"model": "gpt-4o"}).encode()])
def test_what_is_no_call_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequestError):
        openai_media.read("/audio/speech", body)
