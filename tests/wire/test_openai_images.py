"""Images on OpenAI's wire: what they can cost at most, and what they did."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentwatch.core.usage import Usage
from agentwatch.errors import Refusal
from agentwatch.wire.dialect import Ask, Request
from agentwatch.wire.multipart import Form, Part
from agentwatch.wire.openai import OpenAI
from agentwatch.wire.openai_images import ImagesStream, image_usage, most_tokens

USAGE = {
    "input_tokens": 50,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    "output_tokens": 1_056,
    "total_tokens": 1_106,
}


def generation(**fields: Any) -> tuple[Ask, Request]:
    body = {"model": "gpt-image-1.5", "prompt": "a cat", **fields}
    return OpenAI().read("POST", "/v1/images/generations", "", {}, json.dumps(body).encode())


def edit(images: int = 1, **fields: Any) -> tuple[Ask, Request]:
    parts = [Part("image[]", b"\x89PNG", b"a.png", b"image/png") for _ in range(images)]
    told = {"model": "gpt-image-2", "prompt": "more cats", **fields}
    parts += [Part(name, str(value).encode()) for name, value in told.items()]
    form = Form("b", parts)
    headers = {"content-type": form.content_type}
    return OpenAI().read("POST", "/v1/images/edits", "", headers, form.written())


@pytest.mark.parametrize(
    ("model", "size", "quality", "tokens"),
    [
        ("gpt-image-1.5", "1024x1024", "low", 272),
        ("gpt-image-1-mini", "1024x1536", "medium", 1_584),
        ("chatgpt-image-latest", "1536x1024", "high", 6_208),
        ("gpt-image-1.5", "auto", "auto", 6_240),
        ("gpt-image-1.5", "1024x1024", "auto", 4_160),
        ("gpt-image-1.5", "9x9", "mystery", 6_240),
        # what OpenAI's own calculator says for gpt-image-2 at "high"
        ("gpt-image-2", "1024x1024", "high", 7_024),
        ("gpt-image-2", "3584x2048", "high", 12_329),
    ],
)
def test_an_image_is_made_of_no_more_tokens_than_documented(
    model: str, size: str, quality: str, tokens: int
) -> None:
    assert most_tokens(model, size, quality, 0) >= tokens
    assert most_tokens(model, size, quality, 3) == most_tokens(model, size, quality, 0) + 300


def test_a_quality_that_is_left_open_is_the_dearest_of_that_model() -> None:
    assert most_tokens("gpt-image-2.5-flare", "auto", "auto", 0) == most_tokens(
        "gpt-image-2.5-flare", "auto", "max", 0
    )
    assert most_tokens("gpt-image-2", "auto", "auto", 0) == most_tokens(
        "gpt-image-2-2026-04-21", "auto", "high", 0
    )


def test_each_image_is_billed_as_if_asked_for_alone() -> None:
    one, three = generation()[0], generation(n=3)[0]
    assert three.input_bound >= 3 * one.input_bound
    assert (three.choices, three.output_limit) == (3, one.output_limit)
    assert one.fixed_output


def test_an_image_that_is_sent_is_input() -> None:
    ask, request = edit(images=4)
    assert ask.input_bound > 4 * 25_000
    assert ask.content_type.startswith("multipart/form-data")
    assert request.body().count(b"\x89PNG") == 4


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"output_format": "svg"}, "model_not_priced"),
        ({"output_format": "gif"}, "model_not_priced"),
        ({"svg": {"model": "gpt-5"}}, "model_not_priced"),
        ({"frame_count": 9}, "model_not_priced"),
        ({"n": 11}, "bad_request"),
        ({"n": 1.5}, "bad_request"),
        ({"partial_images": 4}, "bad_request"),
        ({"model": None}, "bad_request"),
        ({"Quality": "low"}, "bad_request"),
        ({"stream": "yes"}, "bad_request"),
    ],
)
def test_what_has_no_bound_is_refused_by_name(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refusal) as refusal:
        generation(**fields)
    assert refusal.value.reason == reason


@pytest.mark.parametrize("fields", [{"svg[model]": "gpt-5"}, {"output_format": "gif"}, {"N": "2"}])
def test_what_has_no_bound_is_refused_in_a_form_too(fields: dict[str, Any]) -> None:
    with pytest.raises(Refusal):
        edit(**fields)


def test_no_partial_images_are_none() -> None:
    assert generation(partial_images=0)[0].output_limit == generation()[0].output_limit
    assert edit(partial_images="0")[0].output_limit == edit()[0].output_limit


def test_what_is_not_told_to_be_text_is_image() -> None:
    usage = image_usage(json.dumps(USAGE).encode())
    assert usage == Usage(
        by_kind=True,
        input_tokens=50,
        input_media_tokens=40,
        output_tokens=1_056,
        output_media_tokens=1_056,
    )
    told = {**USAGE, "output_tokens_details": {"text_tokens": 56, "image_tokens": 1_000}}
    more = image_usage(json.dumps(told).encode())
    assert more is not None and more.output_media_tokens == 1_000
    bare = image_usage(b'{"input_tokens":50,"output_tokens":5}')
    assert bare is not None and bare.input_media_tokens == 50


@pytest.mark.parametrize(
    "told",
    [None, [], {}, {"input_tokens": -1, "output_tokens": 1}, {"input_tokens": 1}],
)
def test_a_usage_that_cannot_be_meant_is_none(told: Any) -> None:
    assert image_usage(json.dumps(told).encode()) is None


def body_usage(request: Request, **answer: Any) -> Usage | None:
    meter = request.meter(False)
    meter.feed(json.dumps({"created": 1, "data": [{"b64_json": "A"}], **answer}).encode())
    meter.close()
    return meter.usage


def test_images_tell_their_usage() -> None:
    request = generation()[1]
    assert body_usage(request, usage=USAGE) == image_usage(json.dumps(USAGE).encode())
    assert body_usage(request) is None
    assert body_usage(request, usage=USAGE, svg_usage={"input_tokens": 1}) is None


def test_retired_models_are_billed_by_the_piece() -> None:
    ask, request = generation(model="dall-e-3", quality="hd", size="1024x1792", n=2)
    assert ask.units == {"image hd 1024x1792": 2}
    assert body_usage(request) == Usage(pieces={"image hd 1024x1792": 1})


def done(kind: str) -> bytes:
    return b"data: " + json.dumps({"type": kind, "usage": USAGE}).encode() + b"\n\n"


@pytest.mark.parametrize("kind", ["image_generation.completed", "image_edit.completed"])
def test_images_in_a_stream_are_added_up_and_none_is_left_out(kind: str) -> None:
    meter = ImagesStream(20_000, 2)
    meter.feed(b'data: {"type":"image_generation.partial_image","b64_json":"A"}\n\n' + done(kind))
    assert (meter.usage, meter.complete, meter.output_ceiling) == (None, False, 20_000)
    meter.feed(done(kind))
    assert meter.complete
    assert meter.usage is not None
    assert (meter.usage.input_tokens, meter.usage.output_media_tokens) == (100, 2_112)
