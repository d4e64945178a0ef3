"""A provider that the configuration alone defines: it speaks OpenAI's wire, and has a name.

`[providers.NAME] wire = "openai"`: a server on this machine (vLLM, Ollama), or any service that
takes OpenAI's chat completions. What it is billed at is in the user's prices.toml.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Raw
from msgspec.structs import replace

from agentwatch.core.usage import Usage
from agentwatch.wire.dialect import Meter
from agentwatch.wire.json_object import LARGEST, read_json
from agentwatch.wire.openai import OpenAI
from agentwatch.wire.openai_chat import ChatBody, ChatStream
from agentwatch.wire.openai_request import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    RESPONSES,
    Answering,
    Api,
)
from agentwatch.wire.openai_usage import read_usage


class Compatible(OpenAI):
    """The dialect of one such provider."""

    apis: Mapping[str, Api] = {
        "/chat/completions": CHAT,
        "/responses": RESPONSES,
        "/completions": COMPLETIONS,
        "/embeddings": EMBEDDINGS,
    }
    media: tuple[str, ...] = ()
    #: whether reading what is stored is free is not known
    stored = re.compile(r"(?!)(?P<items>)")

    def __init__(self, name: str) -> None:
        self.name = name

    def meter(self, answering: Answering) -> Meter:
        """A meter for one answer."""
        if answering.api == CHAT.name:
            return _Stream(answering.strip) if answering.streamed else _Body()
        return super().meter(answering)


class _Stream(ChatStream):
    def _usage(self, raw: Raw) -> Usage | None:
        return _usage(raw)


class _Body(ChatBody):
    def _usage(self, raw: Raw) -> Usage | None:
        return _usage(raw)


def _usage(raw: Raw) -> Usage | None:
    """OpenAI's usage; where it tells no cached part, what DeepSeek calls that."""
    usage, fields = read_usage(raw), read_json(raw)
    if usage is None or usage.cached_input_tokens or not isinstance(fields, dict):
        return usage
    hit = fields.get("prompt_cache_hit_tokens")
    if not isinstance(hit, int) or isinstance(hit, bool) or not 0 < hit <= LARGEST:
        return usage
    return replace(usage, cached_input_tokens=min(hit, usage.input_tokens))
