"""OpenAI's sound and images at the stand-in: what is read from a request, and what it costs.

Prices, from the pages of the models under https://developers.openai.com/api/docs/models and from
https://developers.openai.com/api/docs/pricing, as transcribed in the public data of
github.com/pydantic/genai-prices: whisper-1 $0.006 a minute, gpt-transcribe $0.27 an hour, tts-1
$15 and tts-1-hd $30 for a million characters, the rest by the token. gpt-audio's sound costs $32
and $64 for a million tokens in and out, gpt-audio-mini's $10 and $20. A token of sound that comes
in is a tenth of a second (https://developers.openai.com/api/docs/guides/realtime-costs).
"""

from __future__ import annotations

import base64
import binascii
import email.parser
import email.policy
import io
import math
import wave
from typing import Any

import msgspec
from msgspec import Struct

from agentwatch.standin import tokens
from agentwatch.standin.bill import Entry
from agentwatch.standin.prices import pico
from agentwatch.standin.provider import BadRequestError, Call
from agentwatch.standin.script import directive

PATHS = {
    "/audio/transcriptions": "transcriptions",
    "/audio/translations": "transcriptions",
    "/audio/speech": "speech",
    "/images/generations": "images",
    "/images/edits": "images",
}
APIS = frozenset(PATHS.values())
#: bytes of a second of sound that is no WAV: 128 kbit/s
_SECOND_BYTES = 16_000
_TOKENS_A_SECOND = 10
#: most tokens of an answer
MOST_OUTPUT = 100_000
_IMAGE_IN = 300


class Rates(Struct, frozen=True):
    """pico-USD for a token: text in, sound or image in, text out, image out."""

    text: int
    media: int
    output: int
    drawn: int


def _rates(row: str) -> Rates:
    return Rates(*(pico(usd) for usd in row.split()))


#: by the token: "text media output drawn" in USD for a million
BY_TOKEN = {
    "gpt-4o-transcribe": _rates("2.5 6 10 0"),
    "gpt-4o-mini-transcribe": _rates("1.25 3 5 0"),
    "gpt-4o-mini-tts": _rates("0.6 0 12 0"),
    "gpt-image-1-mini": _rates("2 2.5 8 8"),
    "gpt-image-1.5": _rates("5 8 10 32"),
    "gpt-image-2": _rates("5 8 30 30"),
    "gpt-image-2.5-flare": _rates("5 8 30 30"),
    "gpt-image-2.5-sunburst": _rates("5 8 30 30"),
}
#: nano-USD for a second, or a character
BY_SECOND = {"whisper-1": 100_000, "gpt-transcribe": 75_000}
BY_CHARACTER = {"tts-1": 15_000, "tts-1-hd": 30_000}
#: sound within a chat: pico-USD for a token in and out
CHAT_SOUND = {
    "gpt-audio": (pico("32"), pico("64")),
    "gpt-audio-mini": (pico("10"), pico("20")),
}
MODELS = frozenset([*BY_TOKEN, *BY_SECOND, *BY_CHARACTER])


def read(path: str, body: bytes) -> Call:
    """The call that a request is. Raises BadRequestError, ScriptError."""
    api = PATHS[path]
    fields = _form(body) if body.startswith(b"--") else _object(body)
    model = str(fields.get("model"))
    if model not in MODELS:
        raise BadRequestError(404, _error(f"The model `{model}` does not exist."))
    call = Call(api=api, model=model, body=fields)
    call.stream = (
        str(fields.get("stream")).lower() == "true" or fields.get("stream_format") == "sse"
    )
    call.choices = call.made_choices = int(fields.get("n") or 1)
    told = f"{fields.get('prompt', '')} {fields.get('input', '')}"
    call.directive = directive(told)
    fields["translates"] = path.endswith("translations")
    if model == "whisper-1":
        call.stream = False
    if api == "speech" and not call.stream:
        call.headers = {"Content-Type": "audio/mpeg"}
    if fields.get("response_format") in ("text", "srt", "vtt"):
        call.headers = {"Content-Type": "text/plain"}
    return call


def weigh(call: Call, density: int) -> int:
    """Tokens of what is sent: sound, images and text."""
    fields = call.body
    if call.api == "transcriptions":
        return sound_tokens(fields) + tokens.weigh(str(fields.get("prompt", "")), density)
    if call.api == "speech":
        return tokens.weigh(str(fields.get("input", "")), density)
    return (_text_tokens(fields, density) + _pictures(fields)) * call.choices


def note(entry: Entry, call: Call) -> None:
    """Enter what is not billed by the token, and which tokens are what."""
    fields = call.body
    if call.api == "transcriptions":
        entry.extra["seconds"] = max(1, round(_seconds(fields.get("file", b""))))
        entry.extra["media"] = sound_tokens(fields)
    elif call.api == "speech":
        entry.extra["characters"] = len(str(fields.get("input", "")))
    else:
        entry.extra["media"] = _pictures(fields) * call.choices


def note_chat(entry: Entry, call: Call) -> None:
    """Enter the sound that a chat brings."""
    if entry.model in CHAT_SOUND and call.api == "chat":
        messages = call.body["messages"]
        entry.extra["sound_in"] = sum(content_tokens(each.get("content")) for each in messages)
        entry.extra["speaks"] = int("audio" in (call.body.get("modalities") or []))


def cost(entry: Entry) -> int:
    """Nano-USD of a call, rounded up once."""
    model = str(entry.model)
    if model in BY_SECOND:
        return entry.extra.get("seconds", 0) * BY_SECOND[model]
    if model in BY_CHARACTER:
        return entry.extra.get("characters", 0) * BY_CHARACTER[model]
    rates, media = BY_TOKEN[model], entry.extra.get("media", 0)
    picos = (entry.prompt_tokens - media) * rates.text + media * rates.media
    drawn = entry.completion_tokens - entry.reasoning if entry.api == "images" else 0
    picos += (entry.completion_tokens - drawn) * rates.output + drawn * rates.drawn
    return -(-picos // 1_000)


def chat_sound_out(entry: Entry) -> int:
    """Tokens of a chat's answer that are sound: three of four, where sound was asked for."""
    return entry.completion_tokens * 3 // 4 if entry.extra.get("speaks") else 0


def chat_sound(entry: Entry) -> int:
    """What the sound in a chat costs, in pico-USD."""
    sound = CHAT_SOUND.get(str(entry.model))
    if sound is None:
        return 0
    return entry.extra.get("sound_in", 0) * sound[0] + chat_sound_out(entry) * sound[1]


def sound_tokens(fields: dict[str, Any]) -> int:
    """Tokens of the file that is to be transcribed."""
    return math.ceil(_seconds(fields.get("file", b"")) * _TOKENS_A_SECOND)


def _seconds(sound: bytes) -> float:
    if sound.startswith(b"RIFF"):
        with wave.open(io.BytesIO(sound)) as read_:
            return float(read_.getnframes() / read_.getframerate())
    return len(sound) / _SECOND_BYTES


def part_tokens(part: dict[str, Any]) -> int:
    """Tokens of a part of a message that is sound; 0 where it is none."""
    sound = part.get("input_audio")
    if not isinstance(sound, dict):
        return 0
    try:
        data = base64.b64decode(sound.get("data", ""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequestError(400, _error("Invalid base64.")) from error
    return math.ceil(_seconds(data) * _TOKENS_A_SECOND)


def content_tokens(content: Any) -> int:
    """Tokens of the sound in a message's content."""
    parts = content if isinstance(content, list) else []
    return sum(part_tokens(part) for part in parts if isinstance(part, dict))


def _text_tokens(fields: dict[str, Any], density: int) -> int:
    return tokens.weigh(str(fields.get("prompt", "")), density)


def _pictures(fields: dict[str, Any]) -> int:
    return _IMAGE_IN * int(fields.get("images", 0))


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(body)
    except msgspec.DecodeError:
        fields = None
    if not isinstance(fields, dict):
        raise BadRequestError(400, _error("We could not parse the JSON body of your request."))
    return fields


def _form(body: bytes) -> dict[str, Any]:
    """A form's fields, by the standard library's mail parser; of images their number."""
    boundary = body[2 : body.find(b"\r\n")]
    head = b'Content-Type: multipart/form-data; boundary="' + boundary + b'"\r\n\r\n'
    parsed = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    fields: dict[str, Any] = {"images": 0}
    for part in parsed.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        if part.get_filename() is None:
            fields[name] = content.decode()
        elif name.removesuffix("[]") in ("image", "mask", "markup"):
            fields["images"] += 1
        else:
            fields[name] = content
    return fields


def _error(message: str) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": "invalid_request_error"}})
