"""Gemini's answers as its SDK expects to read them: events, one JSON array, a body."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from agentwatch.standin.bill import Entry
from agentwatch.standin.openai_chat import ChatVoice, EmbeddingsVoice
from agentwatch.standin.provider import Call, Piece, Plan, twist

_BROKEN = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


class GeminiVoice:
    """`GenerateContentResponse`, whole and in chunks. Which form a stream has depends on the
    query, which the server tells in `Call.as_array`."""

    def __init__(self, call: Call, plan: Plan, entry: Entry) -> None:
        self._call, self._plan, self._entry = call, plan, entry
        self._begun = False

    def opening(self) -> bytes:
        """Nothing comes before the first token."""
        return b""

    def token(self, piece: Piece, choice: int) -> bytes:
        """A chunk of text; a function call comes whole, at the end."""
        if piece.call is not None:
            return b""
        return self._chunk([self._candidate([self._shown(piece.text)], choice)])

    def closing(self) -> bytes:
        """The calls, why it ended, and the usage once more."""
        parts = self._calls()
        last = [
            {**self._candidate(parts, choice), "finishReason": self._reason()}
            for choice in range(self._call.choices)
        ]
        if self._entry.searches:
            last[0]["groundingMetadata"] = {"webSearchQueries": ["one", "two"]}
        return self._chunk(last) + (b"]" if self._call.as_array else b"")

    def whole(self) -> bytes:
        """The response in one piece."""
        parts = [*([self._shown(self._plan.text())] if self._plan.text() else []), *self._calls()]
        candidates = [
            {**self._candidate(parts, choice), "finishReason": self._reason()}
            for choice in range(self._call.choices)
        ]
        if self._entry.searches:
            candidates[0]["groundingMetadata"] = {"webSearchQueries": ["one", "two"]}
        return msgspec.json.encode(self._response(candidates, last=True))

    def broken(self, how: str) -> bytes:
        """Google's error, in the form of the answer."""
        if not self._call.stream:
            return msgspec.json.encode(_BROKEN)
        return self._framed(_BROKEN) + (b"]" if self._call.as_array else b"")

    def _shown(self, text: str) -> dict[str, Any]:
        if not self._entry.extra.get("images"):
            return {"text": text}
        data = base64.b64encode(text.encode()).decode()
        return {"inlineData": {"mimeType": "image/png", "data": data}}

    def _candidate(self, parts: list[dict[str, Any]], choice: int) -> dict[str, Any]:
        return {"content": {"parts": parts, "role": "model"}, "index": choice}

    def _calls(self) -> list[dict[str, Any]]:
        return [
            {"functionCall": {"name": called.name, "args": _arguments(called.arguments)}}
            for called in self._plan.tool_calls()
        ]

    def _reason(self) -> str:
        return "MAX_TOKENS" if self._plan.cut_short else "STOP"

    def _chunk(self, candidates: list[dict[str, Any]]) -> bytes:
        last = any("finishReason" in each for each in candidates)
        return self._framed(self._response(candidates, last=last))

    def _framed(self, value: Any) -> bytes:
        data = msgspec.json.encode(value)
        if not self._call.as_array:
            return b"data: " + data + b"\n\n"
        opens, self._begun = (b",\n" if self._begun else b"["), True
        return opens + data + b"\n"

    def _response(self, candidates: list[dict[str, Any]], *, last: bool) -> dict[str, Any]:
        response: dict[str, Any] = {
            "candidates": candidates,
            "modelVersion": self._entry.model,
            "responseId": self._entry.id,
        }
        how = self._plan.script.usage
        if how != "missing" and (last or how != "last"):
            response["usageMetadata"] = _told(_usage(self._entry), how)
        return response


class CompatVoice(ChatVoice):
    """A chat on OpenAI's wire, whose usage has what was thought in its total alone."""

    def _usage(self) -> dict[str, Any] | None:
        entry = self._entry
        usage = {
            "prompt_tokens": entry.prompt_tokens,
            "completion_tokens": entry.completion_tokens - entry.reasoning,
            "total_tokens": entry.prompt_tokens + entry.completion_tokens,
        }
        return twist(usage, self._plan.script.usage, output="completion_tokens")


class EmbeddingVoice(EmbeddingsVoice):
    """Embeddings, of one content or of several."""

    def whole(self) -> bytes:
        """The vectors, and the usage, which is not always there."""
        vector = {"values": [0.25, -0.5, 0.125]}
        wanted = self._call.body.get("requests")
        body: dict[str, Any] = (
            {"embedding": vector} if wanted is None else {"embeddings": [vector] * len(wanted)}
        )
        if self._plan.script.usage != "missing":
            count = self._entry.prompt_tokens
            body["usageMetadata"] = {"promptTokenCount": count, "totalTokenCount": count}
        return msgspec.json.encode(body)

    def broken(self, how: str) -> bytes:
        """Google's error."""
        return msgspec.json.encode(_BROKEN)


def _arguments(text: str) -> Any:
    """What was written of them; nothing where the limit cut them off."""
    try:
        return msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return {}


def _usage(entry: Entry) -> dict[str, Any]:
    extra = entry.extra
    shown = entry.completion_tokens - entry.reasoning
    media = {kind: extra.get(kind, 0) for kind in ("image", "audio", "video", "document")}
    text = entry.prompt_tokens - sum(media.values())
    usage: dict[str, Any] = {
        "promptTokenCount": entry.prompt_tokens,
        "candidatesTokenCount": shown,
        "totalTokenCount": entry.prompt_tokens + entry.completion_tokens + extra.get("tool_use", 0),
        "promptTokensDetails": _details({"text": text, **media}),
    }
    if entry.reasoning:
        usage["thoughtsTokenCount"] = entry.reasoning
    if extra.get("tool_use"):
        usage["toolUsePromptTokenCount"] = extra["tool_use"]
    if entry.cached:
        heard = extra.get("cached_audio", 0)
        usage["cachedContentTokenCount"] = entry.cached
        usage["cacheTokensDetails"] = _details({"text": entry.cached - heard, "audio": heard})
    if extra.get("images"):
        usage["candidatesTokensDetails"] = _details({"image": shown})
    return usage


def _told(usage: dict[str, Any], how: str) -> dict[str, Any] | None:
    """The usage as the script wants it told; its details are no part of a lie."""
    if how in ("true", "last", "every"):
        return usage
    counts = {name: count for name, count in usage.items() if isinstance(count, int)}
    return twist(counts, how, output="candidatesTokenCount")


def _details(kinds: dict[str, int]) -> list[dict[str, Any]]:
    return [
        {"modality": kind.upper(), "tokenCount": count} for kind, count in kinds.items() if count
    ]
