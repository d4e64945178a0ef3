"""Images on OpenAI's wire: how many tokens they can cost, and the meters of their answers.

An image is billed by the tokens it is made of, which depend on its size and quality. These are
documented for the older models; for those that take any size a generous bound is taken. Retired
models are billed by the piece.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from agentwatch.core.usage import Usage
from agentwatch.wire.answer import StreamedAnswer, WholeAnswer
from agentwatch.wire.dialect import Ask, Meter
from agentwatch.wire.json_object import (
    Fields,
    bad,
    boolean,
    given,
    read_json,
    refuse_look_alikes,
    text,
    whole,
)
from agentwatch.wire.multipart import Form
from agentwatch.wire.openai_audio import FormRequest, PlainRequest, model_of
from agentwatch.wire.openai_input import IMAGE_TOKENS, unpriced
from agentwatch.wire.openai_usage import count_in

IMAGES = "images"
#: tokens of one image by quality, and (square, portrait, landscape): OpenAI's guide, for the
#: models that make these sizes only
_DOCUMENTED = {
    "low": (272, 408, 400),
    "medium": (1_056, 1_584, 1_568),
    "high": (4_160, 6_240, 6_208),
}
_SIZES = ("1024x1024", "1024x1536", "1536x1024")
_FIXED = re.compile(r"gpt-image-1(?![\w])|chatgpt-image")
#: of models that make any size up to 3840x2160: "high" comes to some 13,000 there
_ANY_SIZE = {"low": 16_384, "medium": 16_384, "high": 16_384, "xhigh": 65_536, "max": 131_072}
_NO_MORE_THAN_HIGH = re.compile(r"gpt-image-2(?!\.)")
_PARTIAL_TOKENS = 100
#: what a model may write for itself before it draws
_PLANNING_TOKENS = 8_192
_OVERHEAD = 512
#: base64 of one image
EVENT_LIMIT = 32 << 20
_MOST_IMAGES, _MOST_PARTIAL = 10, 3
_PRICED = frozenset(
    ["model", "prompt", "n", "size", "quality", "partial_images", "stream", "output_format"]
)
_PRICED_FILES = frozenset(["image", "mask", "markup"])
_CLOSED = ("svg", "frame_count")


class _Wanted(Struct, frozen=True):
    """What bears on the price of a request for images."""

    model: str
    n: int
    size: str
    quality: str
    partial: int
    output_format: str
    stream: bool


def read_generation(provider: str, path: str, fields: Fields) -> tuple[Ask, PlainRequest]:
    """Read a request for new images. Raises Refusal."""
    refuse_look_alikes(fields, _PRICED.union(_CLOSED))
    _refuse_closed([name for name in _CLOSED if given(fields, name) is not None])
    wanted = _Wanted(
        model=model_of(text(fields, "model")),
        n=whole(fields, "n") or 1,
        size=text(fields, "size") or "auto",
        quality=text(fields, "quality") or "auto",
        partial=_partial(fields),
        output_format=text(fields, "output_format") or "png",
        stream=boolean(fields, "stream"),
    )
    request = PlainRequest(fields, _meter_of(wanted))
    return _ask(provider, path, wanted, len(request.body())), request


def read_edit(provider: str, path: str, form: Form) -> tuple[Ask, FormRequest]:
    """Read a request to change images. Raises Refusal."""
    form.refuse_look_alikes(_PRICED | _PRICED_FILES | frozenset(_CLOSED))
    _refuse_closed([part.name for part in form.parts if part.name.startswith(_CLOSED)])
    if any(part.name.casefold().startswith("images") for part in form.parts):
        raise unpriced("an image that is only named", "send it as a file called 'image'")
    partial = form.text("partial_images")
    wanted = _Wanted(
        model=model_of(form.text("model")),
        n=form.whole("n") or 1,
        size=form.text("size") or "auto",
        quality=form.text("quality") or "auto",
        partial=0 if partial == "0" else form.whole("partial_images") or 0,
        output_format=form.text("output_format") or "png",
        stream=form.boolean("stream"),
    )
    form.files("image", "mask", "markup")
    images = sum(part.filename is not None for part in form.parts)
    request = FormRequest(form, _meter_of(wanted))
    ask = _ask(provider, path, wanted, form.texts_size() + images * IMAGE_TOKENS)
    ask.content_type = form.content_type
    return ask, request


def _partial(fields: Fields) -> int:
    raw = given(fields, "partial_images")
    return 0 if raw is None or bytes(raw) == b"0" else whole(fields, "partial_images") or 0


def _refuse_closed(names: list[str]) -> None:
    if names:
        raise unpriced(f"the field {names[0]!r}", "ask for png, jpeg or webp")


def _ask(provider: str, path: str, wanted: _Wanted, size: int) -> Ask:
    if wanted.n > _MOST_IMAGES:
        bad(f"n must be at most {_MOST_IMAGES}")
    if wanted.partial > _MOST_PARTIAL:
        bad(f"partial_images must be at most {_MOST_PARTIAL}")
    if wanted.output_format not in ("png", "jpeg", "webp"):
        raise unpriced(f"the output_format {wanted.output_format[:20]!a}", "ask for png")
    return Ask(
        provider=provider,
        api=IMAGES,
        upstream_path=path,
        model=wanted.model,
        # each image is billed as if it had been asked for alone
        input_bound=(size + _OVERHEAD) * wanted.n,
        thinks=False,
        output_limit=most_tokens(wanted.model, wanted.size, wanted.quality, wanted.partial),
        choices=wanted.n,
        fixed_output=True,
        units={_piece(wanted): wanted.n},
        stream=wanted.stream,
    )


def most_tokens(model: str, size: str, quality: str, partial: int) -> int:
    """Tokens that one image is made of at most."""
    drawn = _drawn(model, size, quality)
    return drawn + partial * _PARTIAL_TOKENS + _PLANNING_TOKENS


def _drawn(model: str, size: str, quality: str) -> int:
    if not _FIXED.match(model):
        dearest = "high" if _NO_MORE_THAN_HIGH.match(model) else "max"
        return _ANY_SIZE.get(quality, _ANY_SIZE[dearest])
    row = _DOCUMENTED.get(quality, _DOCUMENTED["high"])
    return row[_SIZES.index(size)] if size in _SIZES else max(row)


def _piece(wanted: _Wanted) -> str:
    """The name of the fee of models that are billed by the image."""
    quality = wanted.quality if wanted.quality == "hd" else "standard"
    size = wanted.size if wanted.size != "auto" else "1024x1024"
    return f"image {quality} {size}"[:64]


def _meter_of(wanted: _Wanted) -> Callable[[bool], Meter]:
    most = most_tokens(wanted.model, wanted.size, wanted.quality, wanted.partial)
    piece = _piece(wanted) if wanted.model.startswith("dall-e") else None

    def meter(streamed: bool) -> Meter:
        if streamed:
            return ImagesStream(most * wanted.n, wanted.n)
        return ImagesBody(most * wanted.n, piece)

    return meter


# ---- answers


class _Told(Struct):
    type: Any = None
    data: Raw = Raw()
    usage: Raw = Raw()
    svg_usage: Raw = Raw()
    error: Raw = Raw()


_TOLD = msgspec.json.Decoder(_Told)
_ABSENT = (b"", b"null")


def image_usage(raw: Raw | bytes) -> Usage | None:
    """What an image cost; what is not told to be text is taken for image. None where it can't be
    believed."""
    found = read_json(raw)
    if not isinstance(found, dict):
        return None
    try:
        given_tokens, made = count_in(found, "input_tokens"), count_in(found, "output_tokens")
        if given_tokens is None or made is None:
            return None
        before = _details(found, "input_tokens_details")
        after = _details(found, "output_tokens_details")
        text_out = min(count_in(after, "text_tokens") or 0, made)
        text_in = count_in(before, "text_tokens") if before else None
        pictures = count_in(before, "image_tokens") or 0
    except ValueError:
        return None
    if text_in is None:
        text_in = 0
    return Usage(
        by_kind=True,
        input_tokens=given_tokens,
        input_media_tokens=max(min(pictures, given_tokens), given_tokens - text_in),
        output_tokens=made,
        output_media_tokens=made - text_out,
    )


def _details(found: dict[str, Any], name: str) -> dict[str, Any]:
    details = found.get(name)
    return details if isinstance(details, dict) else {}


class ImagesBody(WholeAnswer):
    """Images in one piece. `piece`: the fee's name where they are billed by the piece."""

    def __init__(self, most: int, piece: str | None) -> None:
        super().__init__()
        self._most = most
        self._piece = piece

    @property
    def output_ceiling(self) -> int:
        """An image's bytes tell nothing of its tokens."""
        return self._most

    def _read(self, body: bytes) -> None:
        told = _TOLD.decode(body)
        self.complete = True
        if bytes(told.error) not in _ABSENT:
            self._failed(told.error)
        if self._piece is not None:
            images = read_json(told.data)
            made = len(images) if isinstance(images, list) else 0
            self.usage = Usage(pieces={self._piece: made}) if made else None
        elif bytes(told.svg_usage) in _ABSENT:
            self.usage = image_usage(told.usage)


class ImagesStream(StreamedAnswer):
    """Streamed images. Each that is done tells what it cost; what `n` of them cost is known when
    the last of them is there."""

    def __init__(self, most: int, n: int) -> None:
        super().__init__(EVENT_LIMIT)
        self._most = most
        self._missing = n
        self._told: Usage | None = None

    @property
    def output_ceiling(self) -> int:
        """An image's bytes tell nothing of its tokens."""
        return self._most

    def _read(self, data: bytes) -> bool:
        if data == b"[DONE]":
            return True
        told = _TOLD.decode(data)
        if str(told.type).endswith(".completed"):
            self._done(image_usage(told.usage))
        elif bytes(told.error) not in _ABSENT:
            self._failed(told.error)
        return True

    def _done(self, usage: Usage | None) -> None:
        self._missing -= 1
        if usage is None:
            return
        self._told = usage if self._told is None else _sum(self._told, usage)
        if self._missing <= 0:
            self.complete, self.usage = True, self._told


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        by_kind=True,
        input_tokens=one.input_tokens + other.input_tokens,
        input_media_tokens=one.input_media_tokens + other.input_media_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        output_media_tokens=one.output_media_tokens + other.output_media_tokens,
    )
