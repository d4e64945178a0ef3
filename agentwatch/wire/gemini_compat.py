"""OpenAI's wire as Gemini speaks it, below /v1beta/openai: chat completions and embeddings.

Its usage counts what was thought in the total alone. What is Google's own stands in `extra_body`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Raw
from msgspec.structs import replace

from agentwatch.core.usage import Usage
from agentwatch.errors import Refusal
from agentwatch.wire.dialect import Ask, Meter, Request
from agentwatch.wire.gemini_names import Names
from agentwatch.wire.gemini_thinking import NONE, thinking
from agentwatch.wire.json_object import LARGEST, Fields, bad, read_json, read_object, strict, text
from agentwatch.wire.openai import OpenAI
from agentwatch.wire.openai_chat import ChatBody, ChatStream, EmbeddingsBody
from agentwatch.wire.openai_input import unpriced
from agentwatch.wire.openai_request import CHAT, EMBEDDINGS, Answering
from agentwatch.wire.openai_usage import any_usage, read_usage

_PREFIX = re.compile(r"(?:/(?:v1|v1beta|v1alpha))?/openai(?:/v1)?(?=/)")
_TARGET = "/v1beta/openai"
_PATHS = ("/chat/completions", "/embeddings", "/models")
_GOOGLE = ("extra_body", "google")
_GOOGLE_FIELDS = ("thinking_config", "cached_content", "thought_tag_marker")
_THINKING = Names("thinking_config", "thinkingBudget", "thinkingLevel")


class CompatStream(ChatStream):
    """A streamed chat whose usage counts thoughts in its total alone."""

    def _usage(self, raw: Raw) -> Usage | None:
        return _with_thoughts(raw)


class CompatBody(ChatBody):
    """The same in one piece."""

    def _usage(self, raw: Raw) -> Usage | None:
        return _with_thoughts(raw)


def _with_thoughts(raw: Raw | bytes) -> Usage | None:
    usage, fields = read_usage(raw), read_json(raw)
    if usage is None or not isinstance(fields, dict):
        return usage
    total = fields.get("total_tokens")
    if not isinstance(total, int) or isinstance(total, bool) or not 0 <= total <= LARGEST:
        return usage
    made = max(usage.output_tokens, total - usage.input_tokens)
    thought = max(usage.reasoning_tokens, made - usage.output_tokens)
    return replace(usage, output_tokens=made, reasoning_tokens=thought)


class GeminiCompat(OpenAI):
    """The dialect of Gemini's OpenAI-compatible paths."""

    name = "gemini"

    def usage_in(self, told: bytes, model: str) -> Usage | None:
        """The usage as this provider means it."""
        return _with_thoughts(told) or any_usage(told)

    def read(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Ask, Request]:
        """Read a request; raises Refusal."""
        short = _PREFIX.sub("", path, count=1)
        if not any(short == known or short.startswith("/models/") for known in _PATHS):
            raise Refusal(
                "path_not_governed",
                f"{method[:10]!a} on {path[:100]!a} can't be priced, so it is not let through: "
                f"governed are {', '.join(_TARGET + known for known in _PATHS)}",
            )
        ask, request = super().read(method, short, query, headers, body)
        ask.upstream_path = _TARGET + short
        ask.model = ask.model.removeprefix("models/")
        if ask.api == CHAT.name:
            self._read_google(ask, read_object(body))
        return ask, request

    def _read_google(self, ask: Ask, fields: Fields) -> None:
        """What thinking and Google's own fields make of a chat."""
        google = _google(fields)
        config = google.get("thinking_config") or {}
        if not isinstance(config, dict):
            bad("thinking_config must be an object")
        found = _THINKING.found(config)
        effort = text(fields, "reasoning_effort")
        budget = config.get(found.get("thinkingBudget", ""))
        if effort == "none" and budget is None:
            budget = 0
        if budget is not None and (not isinstance(budget, int) or isinstance(budget, bool)):
            bad("thinking_budget must be a whole number")
        level = config.get(found.get("thinkingLevel", ""))
        thought = thinking(ask.model, budget, effort not in (None, "none") or level is not None)
        ask.thinks = thought is not NONE
        ask.thinks_beside_limit = thought.budget is None
        ask.extra_output += (thought.budget or 0) * ask.choices
        ask.input_by_reference = ask.input_by_reference or "cached_content" in google
        ask.service_tier = ask.service_tier or "standard"

    def meter(self, answering: Answering) -> Meter:
        """A meter for one answer."""
        if answering.api == CHAT.name:
            return CompatStream(answering.strip) if answering.streamed else CompatBody()
        if answering.api == EMBEDDINGS.name:
            return EmbeddingsBody()
        return super().meter(answering)


def _google(fields: Fields) -> dict[str, Any]:
    """Google's own fields, which stand in `extra_body.google`, or in `google`. Raises Refusal for
    one that is not known."""
    google: dict[str, Any] = {}
    for key, raw in fields.items():
        if key in _GOOGLE:
            inner = _inner(strict(raw, key), key)
            if google and inner:
                bad("'extra_body' and 'google' say the same: set one of them")
            google |= inner
        elif key.casefold() in _GOOGLE:
            bad(f"the field {key[:40]!a} must be written {key.casefold()!r}")
    unknown = next((key for key in google if key not in _GOOGLE_FIELDS), None)
    if unknown is not None:
        raise unpriced(f"Google's field {unknown[:40]!a}", "take it out of the request")
    return google


def _inner(value: Any, key: str) -> dict[str, Any]:
    if value is not None and key == "extra_body" and isinstance(value, dict):
        unknown = next((name for name in value if name != "google"), None)
        if unknown is not None:
            raise unpriced(f"the field {unknown[:40]!a} of extra_body", "take it out")
        value = value.get("google")
    if value is None:
        return {}
    return value if isinstance(value, dict) else bad(f"{key} must be an object")
