"""A provider that the configuration alone defines: it speaks OpenAI's wire, and has a name.

`[providers.NAME] wire = "openai"`: a server on this machine (vLLM, Ollama), or any service that
takes OpenAI's chat completions. What it is billed at is in the user's prices.toml.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from agentwatch.core.usage import Usage
from agentwatch.wire.dialect import Ask, Meter, Request
from agentwatch.wire.json_object import LARGEST, given, read_json, read_object
from agentwatch.wire.openai import OpenAI
from agentwatch.wire.openai_chat import ChatBody, ChatStream
from agentwatch.wire.openai_input import unpriced
from agentwatch.wire.openai_request import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    RESPONSES,
    Answering,
    Api,
)
from agentwatch.wire.openai_usage import any_usage, read_usage

_OLD, _NEW = _LIMITS = ("max_tokens", "max_completion_tokens")
#: what services on this wire take beside OpenAI's fields, and may bill for: other models that may
#: answer, dearer hosts of the same one, searches …
_DEARER = (
    *("models", "route", "provider", "plugins", "preset", "fallbacks", "extra_body"),
    *("web_search", "web_search_options", "enable_search", "search_options", "search_parameters"),
)
#: … and limits under other names, one of which may be what is kept to
_OTHER_LIMITS = (
    *("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens"),
    *("num_predict", "options", "best_of", "n", "chat_template"),
)
#: the end of a model's name that turns a search on
_SEARCHING = ":online"


def _closed(api: Api) -> Api:
    known = (api.input, *api.limits, *api.priced)
    more = (name for name in (*_DEARER, *_OTHER_LIMITS) if name not in known)
    return api._replace(closed=tuple(dict.fromkeys((*api.closed, *more))))


class Compatible(OpenAI):
    """The dialect of one such provider."""

    apis: Mapping[str, Api] = {
        # the limit's newer name is ignored by many, and what is ignored limits nothing
        "/chat/completions": _closed(CHAT._replace(limits=_LIMITS)),
        "/responses": _closed(RESPONSES),
        "/completions": _closed(COMPLETIONS),
        "/embeddings": _closed(EMBEDDINGS),
    }
    media: tuple[str, ...] = ()
    #: whether reading what is stored is free is not known
    stored = re.compile(r"(?!)(?P<items>)")

    def __init__(self, name: str) -> None:
        self.name = name

    def read(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Ask, Request]:
        """Read a request; a limit that has the newer name alone gets both. Raises Refusal."""
        if _NEW.encode() in body:
            fields = read_object(body)
            limit = given(fields, _NEW)
            if limit is not None and given(fields, _OLD) is None:
                body = msgspec.json.encode({**fields, _OLD: limit})
        ask, request = super().read(method, path, query, headers, body)
        if ask.model.lower().endswith(_SEARCHING):
            raise unpriced(f"{ask.model[:80]!a}, which searches the web on its own,")
        return ask, request

    def usage_in(self, told: bytes, model: str) -> Usage | None:
        """The usage as this provider means it."""
        return _usage(told) or any_usage(told)

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


def _usage(raw: Raw | bytes) -> Usage | None:
    """OpenAI's usage; where it tells no cached part, what DeepSeek calls that."""
    usage, fields = read_usage(raw), read_json(raw)
    if usage is None or usage.cached_input_tokens or not isinstance(fields, dict):
        return usage
    hit = fields.get("prompt_cache_hit_tokens")
    if not isinstance(hit, int) or isinstance(hit, bool) or not 0 < hit <= LARGEST:
        return usage
    return replace(usage, cached_input_tokens=min(hit, usage.input_tokens))
