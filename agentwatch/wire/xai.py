"""xAI's wire: OpenAI's chat and responses, and, deprecated, Anthropic's messages.

Every answer states what it is billed at (`cost_in_usd_ticks`, 10^-10 USD): that is the charge.
Where it is missing, tokens count; a chat's reasoning comes on top of its completion tokens, a
response's is in its output. Agents and searches that the provider starts by itself have no bound
in the request, so they are refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Raw
from msgspec.structs import replace

from agentwatch.core.usage import Usage
from agentwatch.errors import Refusal
from agentwatch.wire.anthropic import Anthropic
from agentwatch.wire.anthropic_messages import MessageBody, MessageStream
from agentwatch.wire.anthropic_request import MessageRequest, read_messages
from agentwatch.wire.anthropic_usage import read_usage as read_message_usage
from agentwatch.wire.dialect import Ask, Dialect, Meter, Request
from agentwatch.wire.json_object import (
    LARGEST,
    Fields,
    boolean,
    given,
    read_json,
    read_object,
    strict_list,
    strict_object,
)
from agentwatch.wire.openai import OpenAI
from agentwatch.wire.openai_chat import ChatBody, ChatStream
from agentwatch.wire.openai_input import unpriced
from agentwatch.wire.openai_request import CHAT, RESPONSES, Answering, Api
from agentwatch.wire.openai_responses import ResponsesBody, ResponsesStream
from agentwatch.wire.openai_usage import read_usage

_MESSAGES = "/messages"
TICKS_PER_NANO = 10
#: no single call costs more: a statement above it is none
MOST_NANOS = 1_000 * 10**9
#: what a message's usage alone has
_CACHES = frozenset({"cache_read_input_tokens", "cache_creation_input_tokens"})
_OWN = ("deferred", "search_parameters", "max_turns")
#: models that set several agents to work
_AGENTS = "multi-agent"


class XAI(OpenAI):
    """The dialect of xAI."""

    name = "xai"
    apis: Mapping[str, Api] = {
        "/chat/completions": CHAT._replace(priced=(*CHAT.priced, *_OWN)),
        "/responses": RESPONSES._replace(priced=(*RESPONSES.priced, *_OWN)),
    }
    media: tuple[str, ...] = ()
    stored = re.compile(r"/responses/[A-Za-z0-9_-]{8,128}(?P<items>(?!))?")

    def __init__(self) -> None:
        self._messages = _Messages()

    def at(self, path: str) -> Dialect:
        """Anthropic's wire on the path that is compatible with it."""
        return self._messages if self._short(path) == _MESSAGES else self

    def read(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Ask, Request]:
        """Read a request; raises Refusal."""
        ask, request = super().read(method, path, query, headers, body)
        if not ask.free:
            _refuse_unbounded(ask.model, read_object(body))
        return ask, request

    def usage_in(self, told: bytes, model: str) -> Usage | None:
        """The usage as this provider means it, on whichever of its three wires."""
        fields = read_json(told)
        if isinstance(fields, dict) and not _CACHES.isdisjoint(fields):
            return _stated(read_message_usage(fields, model, True), fields)
        return _stated(_chat_usage(told), fields)

    def answered(self, answer: bytes) -> Meter | None:
        """A whole answer as a caller hands it on, of whichever of its three wires."""
        found = read_json(answer)
        if isinstance(found, dict) and found.get("type") == "message":
            return self._messages.answered(answer)
        return super().answered(answer)

    def meter(self, answering: Answering) -> Meter:
        """A meter for one answer."""
        if answering.api == CHAT.name:
            return XAIChatStream(answering.strip) if answering.streamed else XAIChatBody()
        if answering.api == RESPONSES.name:
            return XAIResponsesStream() if answering.streamed else XAIResponsesBody()
        return super().meter(answering)


class _MessageStream(MessageStream):
    def _usage(self) -> Usage | None:
        return _stated(super()._usage(), self._told)


class _MessageBody(MessageBody):
    def _usage(self) -> Usage | None:
        return _stated(super()._usage(), self._told)


class _Messages(Anthropic):
    """xAI's messages, which are Anthropic's, errors included."""

    name = XAI.name
    whole = _MessageBody

    def at(self, path: str) -> Dialect:
        """One path."""
        return self

    def read(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Ask, Request]:
        """Read a request; raises Refusal."""
        if method != "POST" or query not in ("", "beta=true"):
            raise Refusal(
                "path_not_governed",
                f"{method[:10]!a} on {path[:100]!a} can't be priced, so it is not let through: "
                f"governed is POST /v1{_MESSAGES}",
            )
        fields = read_object(body)
        ask, request = read_messages(self.name, _MESSAGES, fields, headers, _message_meter)
        _refuse_unbounded(ask.model, fields)
        return ask, request


def _refuse_unbounded(model: str, fields: Fields) -> None:
    """Raises Refusal for what costs more than the request can tell."""
    if _AGENTS in model.lower():
        raise unpriced(f"{model[:80]!r}, which sets several agents to work,", "use another model")
    if boolean(fields, "deferred"):
        raise Refusal(
            "path_not_governed",
            "a deferred completion is fetched later, and can't be governed: leave out 'deferred'",
        )
    if strict_object(fields, "search_parameters").get("mode", "auto") != "off" and given(
        fields, "search_parameters"
    ):
        raise unpriced("live search, of which each source costs,", "leave out search_parameters")
    _refuse_hosted(fields)


def _refuse_hosted(fields: Fields) -> None:
    raw = given(fields, "tools")
    for tool in [] if raw is None else strict_list(raw, "tools"):
        kind = str(tool.get("type", "custom"))
        if kind not in ("function", "custom", "namespace"):
            raise unpriced(
                f"the tool {kind[:40]!a}, which xAI calls as often as it likes,",
                "take it out of the request's tools",
            )


class XAIChatStream(ChatStream):
    """A streamed chat."""

    def _usage(self, raw: Raw) -> Usage | None:
        return _stated(_chat_usage(raw), read_json(raw))


class XAIChatBody(ChatBody):
    """A chat in one piece."""

    def _usage(self, raw: Raw) -> Usage | None:
        return _stated(_chat_usage(raw), read_json(raw))


class XAIResponsesStream(ResponsesStream):
    """A streamed response."""

    def _usage(self, response: Any) -> Usage | None:
        return _stated(super()._usage(response), read_json(response.usage))


class XAIResponsesBody(ResponsesBody):
    """A response in one piece."""

    def _usage(self, response: Any) -> Usage | None:
        return _stated(super()._usage(response), read_json(response.usage))


def _message_meter(request: MessageRequest, streamed: bool) -> Meter:
    made = _MessageStream if streamed else _MessageBody
    return made(request.keeps_long)


def _chat_usage(raw: Raw | bytes) -> Usage | None:
    """The usage of a chat, whose reasoning comes on top, unless its total says otherwise."""
    usage, fields = read_usage(raw), read_json(raw)
    if usage is None or not isinstance(fields, dict):
        return usage
    details = fields.get("completion_tokens_details")
    thought = _count(details.get("reasoning_tokens") if isinstance(details, dict) else None)
    if not thought or fields.get("total_tokens") == usage.input_tokens + usage.output_tokens:
        return usage
    return replace(usage, output_tokens=usage.output_tokens + thought, reasoning_tokens=thought)


def _stated(usage: Usage | None, fields: object) -> Usage | None:
    """The usage with the cost that is stated beside it. Nothing, for tokens that were used, and
    more than any call can cost are no statement: tokens count then."""
    if usage is None or not isinstance(fields, dict):
        return usage
    ticks = _count(fields.get("cost_in_usd_ticks"))
    nanos = -(-(ticks or 0) // TICKS_PER_NANO)
    return replace(usage, stated_nanos=nanos) if 0 < nanos <= MOST_NANOS else usage


def _count(value: object) -> int | None:
    """A count, where it is one."""
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST
    return value if good and isinstance(value, int) else None
