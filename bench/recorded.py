"""Recorded sessions of coding agents, as the calls that they were.

Two forms are read: Claude Code's transcripts (entries of type "user" and "assistant", the blocks of
one answer one by one) and pi's (entries of type "message"). A call is made of all that was said
before an answer, on the wire that the form is nearest to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple


class Recorded(NamedTuple):
    """One call: when (seconds), on which wire, what was asked and answered, the prompt's tokens."""

    at: float
    wire: str
    body: bytes
    answer: bytes
    prompt: int


def calls(lines: Iterable[str]) -> Iterator[Recorded]:
    """The calls of a recorded session."""
    entries = [json.loads(line) for line in lines if line.strip()]
    if any(entry.get("type") == "message" for entry in entries):
        return _pi(entries)
    return _claude(entries)


# ---- Claude Code


def _claude(entries: Iterable[dict[str, Any]]) -> Iterator[Recorded]:
    said: list[dict[str, Any]] = []
    answer: dict[str, Any] | None = None
    #: what was said since: tools that an answer calls at once have results before its last block
    since: list[dict[str, Any]] = []
    for entry in entries:
        message = entry.get("message") or {}
        if entry.get("type") == "user" and message.get("content"):
            content = message["content"]
            since += [{"type": "text", "text": content}] if isinstance(content, str) else content
        elif entry.get("type") == "assistant":
            if answer is not None and answer["id"] == message.get("id"):
                answer["content"] += message["content"]
                continue
            if answer is not None:
                yield _claude_call(said, answer)
            said.append({"role": "user", "content": since})
            since = []
            at = datetime.fromisoformat(entry["timestamp"]).timestamp()
            answer = {**message, "at": at, "content": list(message["content"])}
    if answer is not None:
        yield _claude_call(said, answer)


def _claude_call(said: list[dict[str, Any]], answer: dict[str, Any]) -> Recorded:
    body = {"model": "claude-sonnet-4-5", "max_tokens": 32_000, "messages": said}
    used = answer.get("usage") or {}
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    content = [
        {key: block.get(key) for key in ("type", "name", "input", "text", "id") if key in block}
        for block in answer["content"]
        if block["type"] in ("text", "tool_use")
    ]
    call = Recorded(
        answer["at"],
        "anthropic",
        json.dumps(body).encode(),
        json.dumps({"content": content}).encode(),
        sum(used.get(name) or 0 for name in names),
    )
    said.append({"role": "assistant", "content": content})
    return call


# ---- pi


def _pi(entries: Iterable[dict[str, Any]]) -> Iterator[Recorded]:
    said: list[dict[str, Any]] = []
    for entry in entries:
        if entry.get("type") != "message":
            continue
        told = entry["message"]
        role, content = told.get("role"), told.get("content") or []
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        text = "\n".join(part.get("text", "") for part in parts if part.get("type") == "text")
        if role == "user":
            said.append({"role": "user", "content": text})
        elif role == "toolResult":
            call_id = told.get("toolCallId")
            said.append({"role": "tool", "tool_call_id": call_id, "content": text})
        elif role == "assistant" and told.get("usage", {}).get("output"):
            answer = _pi_answer(parts, text)
            yield _pi_call(said, answer, told)
            said.append({"role": "assistant", **answer})


def _pi_answer(parts: list[dict[str, Any]], text: str) -> dict[str, Any]:
    called = [
        {"function": {"name": part["name"], "arguments": json.dumps(part["arguments"])}}
        for part in parts
        if part.get("type") == "toolCall"
    ]
    return {"content": text, "tool_calls": called} if called else {"content": text}


def _pi_call(said: list[Any], answer: dict[str, Any], told: dict[str, Any]) -> Recorded:
    used = told["usage"]
    return Recorded(
        (told.get("timestamp") or 0) / 1000,
        "openai",
        json.dumps({"model": "gpt-4o", "messages": said}).encode(),
        json.dumps({"choices": [{"message": answer}]}).encode(),
        sum(used.get(name) or 0 for name in ("input", "cacheRead", "cacheWrite")),
    )
