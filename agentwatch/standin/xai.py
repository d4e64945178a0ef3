"""xAI's wire at the stand-in: chat, responses and messages, each answer with its cost in ticks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from agentwatch.standin import xai_prices as prices
from agentwatch.standin.anthropic import Anthropic, follow
from agentwatch.standin.anthropic_messages import MessageVoice
from agentwatch.standin.bill import Entry
from agentwatch.standin.openai import OpenAI
from agentwatch.standin.openai_chat import ChatVoice
from agentwatch.standin.openai_responses import ResponsesVoice
from agentwatch.standin.provider import BadRequestError, Call, Plan, Voice, twist
from agentwatch.standin.script import Script

TICKS_PER_NANO = 10


class XAI(OpenAI):
    """The provider."""

    name = "xai"
    prefixes: tuple[str, ...] = ("/xai/v1",)
    models: Mapping[str, Any] = prices.MODELS
    media: Collection[str] = ()
    apis: Mapping[str, str] = {"/chat/completions": "chat", "/responses": "responses"}

    def __init__(self) -> None:
        super().__init__()
        self._anthropic = Anthropic()

    def credential(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        """The bearer token; messages take the other slot, too."""
        return super().credential(headers, query) or headers.get("x-api-key")

    def read(self, method: str, path: str, body: bytes) -> Call:
        """The call that a request is. Raises BadRequestError, ScriptError."""
        if path != "/messages" or method != "POST":
            return super().read(method, path, body)
        fields = self._fields(body)
        model, limit = str(fields.get("model")), fields.get("max_tokens")
        if model not in self.models or not isinstance(limit, int):
            raise BadRequestError(
                400, self._anthropic.error(400, "no such model, or no max_tokens")
            )
        streams = fields.get("stream") is True
        call = Call(api="messages", model=model, body=fields, limit=limit, stream=streams)
        follow(call)
        return call

    def weigh(self, call: Call, density: int) -> int:
        """Tokens of the prompt."""
        if call.api == "messages":
            return self._anthropic.weigh(call, density)
        return super().weigh(call, density)

    def check_limit(self, call: Call) -> None:
        """Both names of the limit are taken."""

    def tier(self, model: str, asked: str | None) -> str:
        """There is one tier here."""
        return "default"

    def note(self, entry: Entry, call: Call, script: Script) -> None:
        """Writing to the cache costs nothing extra."""
        entry.written = 0

    def cost(self, entry: Entry) -> int:
        """By xAI's price page, in ticks, and those in nanos rounded up."""
        return -(-ticks(entry) // TICKS_PER_NANO)

    def voice(self, call: Call, plan: Plan, entry: Entry) -> Voice:
        """The voice of the API that was called."""
        if call.api == "messages":
            return XAIMessageVoice(call, plan, entry)
        if call.api == "chat":
            return XAIChatVoice(call, plan, entry)
        voice = XAIResponsesVoice(call, plan, entry)
        self._remember(voice.id, call, entry.prompt_tokens + plan.made)
        return voice


def ticks(entry: Entry) -> int:
    """What an entry is billed at as it stands."""
    assert entry.model is not None
    return prices.ticks(
        entry.model, prompt=entry.prompt_tokens, cached=entry.cached, output=entry.completion_tokens
    )


class XAIChatVoice(ChatVoice):
    """`chat.completion`, whose reasoning is not in its completion tokens."""

    def _usage(self) -> dict[str, Any] | None:
        entry = self._entry
        usage = {
            "prompt_tokens": entry.prompt_tokens,
            "completion_tokens": entry.completion_tokens - entry.reasoning,
            "total_tokens": entry.prompt_tokens + entry.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": entry.cached, "text_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": entry.reasoning},
            "num_sources_used": 0,
        }
        return _priced(twist(usage, self._plan.script.usage, output="completion_tokens"), entry)


class XAIResponsesVoice(ResponsesVoice):
    """A response; its reasoning is in its output tokens."""

    def _usage(self) -> dict[str, Any] | None:
        return _priced(super()._usage(), self._entry)


class XAIMessageVoice(MessageVoice):
    """`message`, without a statement of its cost."""


def _priced(usage: dict[str, Any] | None, entry: Entry) -> dict[str, Any] | None:
    return usage and {**usage, "cost_in_usd_ticks": ticks(entry)}
