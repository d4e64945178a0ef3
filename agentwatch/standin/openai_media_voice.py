"""OpenAI's sound and images, as the SDK expects to read them."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from agentwatch.standin.bill import Entry
from agentwatch.standin.openai_chat import event
from agentwatch.standin.openai_media import BY_CHARACTER, BY_SECOND
from agentwatch.standin.provider import Call, Piece, Plan, twist

_BROKEN = {"message": "The server had an error.", "type": "server_error", "code": None}
_PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 64).decode()
#: bytes of sound for a token
_SOUND = b"\xff\xfb\x90\x00" * 8


class _Voice:
    def __init__(self, call: Call, plan: Plan, entry: Entry) -> None:
        self._call, self._plan, self._entry = call, plan, entry

    def opening(self) -> bytes:
        """Nothing."""
        return b""

    def broken(self, how: str) -> bytes:
        """`{"error": …}`."""
        if self._call.stream:
            return event({"error": _BROKEN})
        return msgspec.json.encode({"error": _BROKEN})

    def _twisted(self, usage: dict[str, Any]) -> dict[str, Any] | None:
        return twist(usage, self._plan.script.usage, output="output_tokens")

    @property
    def _tells(self) -> bool:
        return self._plan.script.usage != "missing"


class TranscriptionVoice(_Voice):
    """A transcript: JSON, plain text, or events."""

    def token(self, piece: Piece, choice: int) -> bytes:
        """One delta."""
        return event({"type": "transcript.text.delta", "delta": piece.text})

    def closing(self) -> bytes:
        """The whole text with its usage."""
        done = {"type": "transcript.text.done", "text": self._plan.text()}
        return event(done | self._usage())

    def whole(self) -> bytes:
        """The transcript in one piece."""
        if self._call.headers:
            return self._plan.text().encode()
        return msgspec.json.encode({"text": self._plan.text()} | self._usage())

    def _usage(self) -> dict[str, Any]:
        entry = self._entry
        if not self._tells or self._call.body["translates"]:
            return {}
        if entry.model in BY_SECOND:
            return {"usage": {"type": "duration", "seconds": entry.extra["seconds"]}}
        sound = entry.extra["media"]
        usage = {
            "type": "tokens",
            "input_tokens": entry.prompt_tokens,
            "input_token_details": {
                "audio_tokens": sound,
                "text_tokens": entry.prompt_tokens - sound,
            },
            "output_tokens": entry.completion_tokens,
            "total_tokens": entry.prompt_tokens + entry.completion_tokens,
        }
        return {"usage": self._twisted(usage)}


class SpeechVoice(_Voice):
    """Sound, as it is or in events."""

    def token(self, piece: Piece, choice: int) -> bytes:
        """One piece of sound."""
        sound = base64.b64encode(_SOUND).decode()
        return event({"type": "speech.audio.delta", "audio": sound})

    def closing(self) -> bytes:
        """The end, with the usage."""
        entry = self._entry
        done: dict[str, Any] = {"type": "speech.audio.done"}
        if self._tells and entry.model not in BY_CHARACTER:
            done["usage"] = self._twisted(
                {
                    "input_tokens": entry.prompt_tokens,
                    "output_tokens": entry.completion_tokens,
                    "total_tokens": entry.prompt_tokens + entry.completion_tokens,
                }
            )
        return event(done)

    def whole(self) -> bytes:
        """The sound in one piece."""
        return _SOUND * self._plan.made


class ImagesVoice(_Voice):
    """Images, in one piece or in events with what they grew from."""

    def opening(self) -> bytes:
        """The partial images."""
        count = int(self._call.body.get("partial_images") or 0)
        return b"".join(
            event({"type": f"{self._kind}.partial_image", "partial_image_index": at, **_told()})
            for at in range(count)
        )

    def token(self, piece: Piece, choice: int) -> bytes:
        """Nothing: an image's tokens are not shown."""
        return b""

    def closing(self) -> bytes:
        """Each image with what it cost."""
        count = self._call.choices
        return b"".join(
            event({"type": f"{self._kind}.completed", **_told(), **self._usage(count)})
            for _ in range(count)
        )

    def whole(self) -> bytes:
        """All images."""
        data = [{"b64_json": _PNG} for _ in range(self._call.choices)]
        answer = {"created": int(self._entry.started_at), "data": data}
        return msgspec.json.encode(answer | self._usage(1))

    @property
    def _kind(self) -> str:
        return "image_edit" if self._call.body.get("images") else "image_generation"

    def _usage(self, share: int) -> dict[str, Any]:
        """What one of `share` images cost."""
        entry = self._entry
        if not self._tells:
            return {}
        given, pictures = entry.prompt_tokens // share, entry.extra["media"] // share
        made = entry.completion_tokens // share
        usage: dict[str, Any] = {
            "input_tokens": given,
            "input_tokens_details": {"text_tokens": given - pictures, "image_tokens": pictures},
            "output_tokens": made,
            "total_tokens": given + made,
        }
        if not self._call.stream:
            text = entry.reasoning // share
            usage["output_tokens_details"] = {"image_tokens": made - text, "text_tokens": text}
        return {"usage": self._twisted(usage)}


def _told() -> dict[str, Any]:
    shape = {"background": "opaque", "output_format": "png", "quality": "low", "size": "1024x1024"}
    return {"b64_json": _PNG, "created_at": 1_700_000_000, **shape}
