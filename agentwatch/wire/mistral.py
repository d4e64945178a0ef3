"""Mistral's wire: OpenAI's chat and embeddings, with names of its own.

It knows `max_tokens` alone and refuses fields that it does not know; its streams tell their usage
unasked. What is billed by the page or the search (OCR, agents, conversations) is refused, and so is
a fill in the middle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from agentwatch.wire.dialect import Ask, Request
from agentwatch.wire.json_object import bad, given, read_object
from agentwatch.wire.openai import OpenAI
from agentwatch.wire.openai_request import CHAT, EMBEDDINGS, Api

_CHAT = CHAT._replace(limits=("max_tokens",), tells_usage=True)
_UNKNOWN = ("max_completion_tokens", "stream_options")


class Mistral(OpenAI):
    """The dialect of Mistral, under the name that the configuration gives it."""

    apis: Mapping[str, Api] = {
        "/chat/completions": _CHAT,
        "/embeddings": EMBEDDINGS,
    }
    media: tuple[str, ...] = ()
    stored = re.compile(r"(?!)(?P<items>)")

    def __init__(self, name: str) -> None:
        self.name = name

    def read(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Ask, Request]:
        """Read a request; raises Refusal."""
        ask, request = super().read(method, path, query, headers, body)
        fields = {} if ask.free else read_object(body)
        for key in _UNKNOWN:
            if given(fields, key) is not None:
                bad(f"Mistral knows no {key!r}: its limit is 'max_tokens', its usage comes unasked")
        return ask, request
