"""OpenAI's chat completions, legacy completions and embeddings, as the SDK expects to read them."""

from __future__ import annotations

import base64
import struct
from typing import Any

import msgspec

from agentwatch.standin.bill import Entry
from agentwatch.standin.openai_media import chat_sound_out
from agentwatch.standin.provider import Call, Piece, Plan, twist

DONE = b"data: [DONE]\n\n"
_FINGERPRINT = "fp_standin"
#: a piece of sound, in base64
_SOUND = base64.b64encode(b"\0\1" * 64).decode()
_BROKEN = {"message": "The server had an error.", "type": "server_error", "code": None}


def event(value: Any) -> bytes:
    """One server-sent event without a name."""
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


class ChatVoice:
    """`chat.completion` and its chunks."""

    kind = "chat.completion"

    def __init__(self, call: Call, plan: Plan, entry: Entry) -> None:
        self._call, self._plan, self._entry = call, plan, entry
        self._frame: dict[str, Any] = {
            "id": f"chatcmpl-{entry.id}",
            "object": f"{self.kind}.chunk",
            "created": int(entry.started_at),
            "model": entry.model,
            "service_tier": entry.tier,
            "system_fingerprint": _FINGERPRINT,
        }

    def opening(self) -> bytes:
        """The role, for each choice."""
        role = {"role": "assistant", "content": "", "refusal": None}
        return b"".join(self._chunk(role, at) for at in range(self._call.choices))

    def token(self, piece: Piece, choice: int) -> bytes:
        """One chunk."""
        return self._chunk(self._delta(piece), choice)

    def closing(self) -> bytes:
        """The finish of each choice, the usage if it was asked for, and [DONE]."""
        finish = self._finish()
        ends = [self._chunk({}, at, finish) for at in range(self._call.choices)]
        if self._call.include_usage and self._plan.script.usage != "missing":
            ends.append(event(self._frame | {"choices": [], "usage": self._usage()}))
        return b"".join(ends) + DONE

    def whole(self) -> bytes:
        """The completion in one object."""
        choices = [
            {
                "index": at,
                "message": self._message(),
                "logprobs": None,
                "finish_reason": self._finish(),
            }
            for at in range(self._call.choices)
        ]
        answer = self._frame | {"object": self.kind, "choices": choices}
        if self._plan.script.usage != "missing":
            answer["usage"] = self._usage()
        return msgspec.json.encode(answer)

    def broken(self, how: str) -> bytes:
        """`{"error": …}`, at which the SDK raises in mid-stream."""
        return event({"error": _BROKEN}) if self._call.stream else _json({"error": _BROKEN})

    def _chunk(self, delta: dict[str, Any], choice: int, finish: str | None = None) -> bytes:
        row = {"index": choice, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._framed(row)

    def _framed(self, row: dict[str, Any]) -> bytes:
        chunk = self._frame | {"choices": [row]}
        if self._plan.script.usage == "every":
            chunk["usage"] = self._usage()
        elif self._call.include_usage:
            chunk["usage"] = None
        return event(chunk)

    def _delta(self, piece: Piece) -> dict[str, Any]:
        if piece.call is None and self._entry.extra.get("speaks"):
            return {"audio": {"id": "audio_1", "data": _SOUND, "transcript": piece.text}}
        if piece.call is None:
            return {"content": piece.text}
        function: dict[str, Any] = {"arguments": piece.text}
        row: dict[str, Any] = {"index": piece.call, "function": function}
        if piece.opens:
            function["name"] = self._plan.calls[piece.call].name
            row |= {"id": self._call_id(piece.call), "type": "function"}
        return {"tool_calls": [row]}

    def _call_id(self, at: int) -> str:
        return f"call_{self._entry.id}_{at}"

    def _message(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "refusal": None, "annotations": []}
        calls = self._plan.tool_calls()
        message["content"] = None if calls else self._plan.text()
        if self._entry.extra.get("speaks"):
            heard = {"id": "audio_1", "data": _SOUND, "expires_at": 1_800_000_000}
            message |= {"content": None, "audio": heard | {"transcript": self._plan.text()}}
        if calls:
            message["tool_calls"] = [
                {
                    "id": self._call_id(at),
                    "type": "function",
                    "function": {"name": called.name, "arguments": called.arguments},
                }
                for at, called in enumerate(calls)
            ]
        return message

    def _finish(self) -> str:
        if self._plan.cut_short:
            return "length"
        return "tool_calls" if self._plan.calls else "stop"

    def _usage(self) -> dict[str, Any] | None:
        entry = self._entry
        spoken = chat_sound_out(entry)
        usage = {
            "prompt_tokens": entry.prompt_tokens,
            "completion_tokens": entry.completion_tokens,
            "total_tokens": entry.prompt_tokens + entry.completion_tokens,
            "prompt_tokens_details": {
                "cached_tokens": entry.cached,
                "cache_write_tokens": entry.written,
                "audio_tokens": entry.extra.get("sound_in", 0),
            },
            "completion_tokens_details": {
                "reasoning_tokens": entry.reasoning,
                "audio_tokens": spoken,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }
        return twist(usage, self._plan.script.usage, output="completion_tokens")


class TextVoice(ChatVoice):
    """`text_completion`, of which chunks are of the same type."""

    kind = "text_completion"

    def __init__(self, call: Call, plan: Plan, entry: Entry) -> None:
        super().__init__(call, plan, entry)
        self._frame |= {"id": f"cmpl-{entry.id}", "object": self.kind}
        del self._frame["service_tier"]

    def opening(self) -> bytes:
        """Nothing: the first chunk has text already."""
        return b""

    def token(self, piece: Piece, choice: int) -> bytes:
        """One chunk."""
        return self._framed(self._row(piece.text, choice, None))

    def whole(self) -> bytes:
        """The completion in one object."""
        text = self._plan.text()
        choices = [self._row(text, at, self._finish()) for at in range(self._call.choices)]
        answer = self._frame | {"choices": choices}
        if self._plan.script.usage != "missing":
            answer["usage"] = self._usage()
        return msgspec.json.encode(answer)

    def _chunk(self, delta: dict[str, Any], choice: int, finish: str | None = None) -> bytes:
        return self._framed(self._row("", choice, finish))

    def _row(self, text: str, choice: int, finish: str | None) -> dict[str, Any]:
        return {"text": text, "index": choice, "logprobs": None, "finish_reason": finish}


class EmbeddingsVoice:
    """Embeddings: never streamed, billed by their input alone."""

    def __init__(self, call: Call, plan: Plan, entry: Entry) -> None:
        self._call, self._plan, self._entry = call, plan, entry

    def opening(self) -> bytes:
        """Nothing: embeddings are not streamed."""
        return b""

    def token(self, piece: Piece, choice: int) -> bytes:
        """Nothing."""
        return b""

    def closing(self) -> bytes:
        """The whole answer, as there is no other form of it."""
        return self.whole()

    def whole(self) -> bytes:
        """A small vector for each text."""
        rows = [
            {"object": "embedding", "index": at, "embedding": self._vector()}
            for at in range(self._call.choices)
        ]
        answer: dict[str, Any] = {"object": "list", "data": rows, "model": self._entry.model}
        if self._plan.script.usage != "missing":
            answer["usage"] = self._usage()
        return msgspec.json.encode(answer)

    def broken(self, how: str) -> bytes:
        """`{"error": …}`."""
        return _json({"error": _BROKEN})

    def _vector(self) -> list[float] | str:
        vector = [0.5, -0.25, 0.125, 0.0]
        if self._call.body.get("encoding_format") == "base64":
            return base64.b64encode(struct.pack("<4f", *vector)).decode()
        return vector

    def _usage(self) -> dict[str, Any] | None:
        count = self._entry.prompt_tokens
        usage = {"prompt_tokens": count, "total_tokens": count}
        return twist(usage, self._plan.script.usage, output="prompt_tokens")


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)
