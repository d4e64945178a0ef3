"""Speech and transcription on OpenAI's wire: requests, and the meters of their answers.

Some models are billed by tokens, some by the second or the character: an Ask tells both, and the
price of the model decides. A transcription tells its usage as one or the other. Speech tells it
only where it is streamed as events; else the request's characters count, or the bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from agentwatch.core.usage import Usage
from agentwatch.wire.answer import StreamedAnswer, WholeAnswer
from agentwatch.wire.audio_length import longest_ms
from agentwatch.wire.dialect import Ask, Meter
from agentwatch.wire.fingerprint import input_marks
from agentwatch.wire.json_object import (
    Fields,
    bad,
    boolean,
    given,
    read_json,
    refuse_look_alikes,
    strict,
    text,
)
from agentwatch.wire.multipart import Form
from agentwatch.wire.openai_usage import read_usage
from agentwatch.wire.openai_weight import unpriced

TRANSCRIPTIONS = "transcriptions"
SPEECH = "speech"
#: twice what is documented: a token for each 100 ms of sound that comes in, 50 ms that goes out
AUDIO_TOKENS_PER_S = 20
#: text of one block of speech: the models' own limit, and what a second more may add
_BLOCK_TOKENS, _TEXT_TOKENS_PER_S = 2_000, 20
#: sound for a byte of text (six times what speech has), and what stands around it
_SPOKEN_TOKENS, _PAUSE_TOKENS = 8, 1_000
_OVERHEAD = 256
_SLOWEST = 4
#: base64 of one streamed piece of sound
EVENT_LIMIT = 8 << 20
#: models that are billed for the characters of the text
_BY_CHARACTER = re.compile(r"tts-1(?![\w.])|tts-1-hd")
_MOST_SECONDS = 10_000_000
#: models that refuse sound of more than 1,500 s, and that length
_TAKES_NO_LONGER = re.compile(r"gpt-4o(-mini)?-transcribe")
LONGEST_MS = 1_500_000
#: a voice to compare with lasts ten seconds at most
_VOICE_MS = 10_000
_PRICED_FIELDS = frozenset(
    ["model", "file", "stream", "response_format", "prompt", "chunking_strategy"]
)
_PRICED_SPEECH = frozenset(["model", "input", "instructions", "speed", "stream_format"])

UsageReader = Callable[[Raw], Usage | None]


class FormRequest:
    """A form that was read; it has no output limit that could be put in."""

    def __init__(self, form: Form, meter: Callable[[bool], Meter]) -> None:
        self._form = form
        self._meter = meter

    def body(self, output_limit: int | None = None) -> bytes:
        """The form as it was read."""
        return self._form.written()

    def text(self) -> str | None:
        """None: it is not text that is billed."""
        return None

    def meter(self, streamed: bool) -> Meter:
        """A new meter for this request's answer."""
        return self._meter(streamed)


class PlainRequest:
    """A JSON body that was read; it has no output limit that could be put in."""

    def __init__(self, fields: Fields, meter: Callable[[bool], Meter]) -> None:
        self._body = msgspec.json.encode(fields)
        self._meter = meter

    def body(self, output_limit: int | None = None) -> bytes:
        """The body as it was read."""
        return self._body

    def text(self) -> str | None:
        """None: what is billed is not this text alone."""
        return None

    def meter(self, streamed: bool) -> Meter:
        """A new meter for this request's answer."""
        return self._meter(streamed)


def read_transcription(
    provider: str,
    path: str,
    form: Form,
    *,
    least_ms: int = 0,
    meter: Callable[[bool], Meter] | None = None,
) -> tuple[Ask, FormRequest]:
    """Read a transcription or translation. `least_ms`: sound that is billed at least.

    Raises Refusal.
    """
    form.refuse_look_alikes(_PRICED_FIELDS, structured="chunking_strategy")
    files = form.files("file")
    if len(files) != 1:
        bad("exactly one file must be sent")
    voices = [part for part in form.parts if part.name.startswith("known_speaker_references")]
    model = model_of(form.text("model"))
    voice_ms = sum(max(_VOICE_MS, len(part.content)) for part in voices)
    ms = max(least_ms, _bounded_ms(files[0], model)) + voice_ms
    seconds = ms // 1_000
    ask = Ask(
        provider=provider,
        api=TRANSCRIPTIONS,
        upstream_path=path,
        model=model,
        input_bound=_OVERHEAD + form.texts_size() + seconds * AUDIO_TOKENS_PER_S,
        thinks=False,
        audio_in=True,
        output_limit=_BLOCK_TOKENS + seconds * _TEXT_TOKENS_PER_S,
        fixed_output=True,
        units={"audio_ms": ms},
        content_type=form.content_type,
        stream=form.boolean("stream"),
    )
    return ask, FormRequest(form, meter or transcription_meter)


def _bounded_ms(sound: bytes, model: str) -> int:
    """The most that a sound can last. Raises Refusal where neither it nor the model says."""
    longest = longest_ms(sound)
    most = LONGEST_MS if _TAKES_NO_LONGER.match(model.lower()) else None
    if longest is None and most is None:
        raise unpriced(
            "sound whose length its bytes do not bound (FLAC, Ogg, M4A, WebM …)",
            "send WAV or MP3, or ask a model that takes 25 minutes at most (gpt-4o-transcribe)",
        )
    return min(each for each in (longest, most) if each is not None)


def transcription_meter(streamed: bool) -> Meter:
    """A meter for a transcription's answer."""
    return TranscriptionStream() if streamed else TranscriptionBody()


def read_speech(
    provider: str, path: str, fields: Fields, *, by_character: bool | None = None
) -> tuple[Ask, PlainRequest]:
    """Read a request for speech. `by_character`: the model is billed so (None: OpenAI's are known).

    Raises Refusal.
    """
    refuse_look_alikes(fields, _PRICED_SPEECH)
    model, said = model_of(text(fields, "model")), text(fields, "input") or ""
    spoken = len(said.encode(errors="replace")) * _SPOKEN_TOKENS + _PAUSE_TOKENS
    if given(fields, "speed") is not None:
        spoken *= _slowness(strict(fields["speed"], "speed"))
    counted = bool(_BY_CHARACTER.match(model)) if by_character is None else by_character
    characters = len(said) if counted else None

    def meter(streamed: bool) -> Meter:
        return SpeechStream(characters) if streamed else SpeechBody(characters)

    request = PlainRequest(fields, meter)
    ask = Ask(
        provider=provider,
        api=SPEECH,
        upstream_path=path,
        model=model,
        input_bound=_OVERHEAD + len(request.body()),
        thinks=False,
        output_limit=spoken,
        fixed_output=True,
        units={"characters": len(said)},
        stream=text(fields, "stream_format") == "sse" or boolean(fields, "stream"),
        marks=input_marks(given(fields, "input")),
    )
    return ask, request


def model_of(model: str | None) -> str:
    """A model's name. Raises Refusal where it is missing or too long."""
    if not model:
        bad("model is missing")
    if len(model) > 256:
        bad("model is longer than 256 characters")
    return model


def _slowness(speed: object) -> int:
    """How many times longer speech is at this speed."""
    if isinstance(speed, bool) or not isinstance(speed, (int, float)) or not speed > 0:
        bad("speed must be a number above 0")
    return 1 if speed >= 1 else _SLOWEST


# ---- answers


class _Told(Struct):
    type: Any = None
    text: Any = None
    delta: Any = None
    audio: Any = None
    model: Any = None
    usage: Raw = Raw()
    error: Raw = Raw()


_TOLD = msgspec.json.Decoder(_Told)
_ABSENT = (b"", b"null")


def transcription_usage(raw: Raw | bytes) -> Usage | None:
    """The union: tokens, or a duration in seconds. None where it can't be believed."""
    found = read_json(raw)
    if not isinstance(found, dict) or found.get("type") != "duration":
        return read_usage(raw)
    seconds = found.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return None
    if not 0 <= seconds <= _MOST_SECONDS:
        return None
    return Usage(pieces={"audio_ms": -(-round(seconds * 1_000_000) // 1_000)})


class TranscriptionBody(WholeAnswer):
    """A transcription in one piece; one that is no JSON (text, srt, vtt) tells no usage."""

    def _read(self, body: bytes) -> None:
        told = _TOLD.decode(body)
        self.complete = True
        self._name(told.model, None)
        self._text_bytes += _size(told.text)
        if bytes(told.usage) not in _ABSENT:
            self.usage = transcription_usage(told.usage)
        if bytes(told.error) not in _ABSENT:
            self._failed(told.error)


class TranscriptionStream(StreamedAnswer):
    """A streamed transcription: its usage is in `transcript.text.done`."""

    def _read(self, data: bytes) -> bool:
        if data == b"[DONE]":
            return True
        told = _TOLD.decode(data)
        if told.type == "transcript.text.delta":
            self._saw_text(_size(told.delta))
        elif told.type == "transcript.text.done":
            self.complete = True
            self.usage = transcription_usage(told.usage) or self.usage
        if bytes(told.error) not in _ABSENT:
            self._failed(told.error)
        return True


def _spoken(characters: int | None) -> Usage | None:
    return None if characters is None else Usage(pieces={"characters": characters})


class SpeechBody(WholeAnswer):
    """Sound: nothing in it tells what it cost. Where the text's characters are what is billed,
    that is known beforehand."""

    def __init__(self, characters: int | None) -> None:
        super().__init__(limit=0)
        self.usage = _spoken(characters)

    def close(self) -> bytes:
        """The sound is at its end."""
        self.complete = True
        return super().close()


class SpeechStream(StreamedAnswer):
    """Speech as events: `speech.audio.delta`, and `speech.audio.done` with the usage."""

    def __init__(self, characters: int | None) -> None:
        super().__init__(EVENT_LIMIT)
        self.usage = _spoken(characters)

    def _read(self, data: bytes) -> bool:
        told = _TOLD.decode(data)
        if told.type == "speech.audio.done":
            self.complete = True
            self.usage = self.usage or read_usage(told.usage)
        elif bytes(told.error) not in _ABSENT:
            self._failed(told.error)
        else:
            self._saw_other(_size(told.audio))
        return True


def _size(value: object) -> int:
    return len(value.encode(errors="replace")) if isinstance(value, str) else 0
