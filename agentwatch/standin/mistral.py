"""Mistral's wire at the stand-in: OpenAI's chat, strict about fields that it does not know."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from agentwatch.standin import mistral_prices as prices
from agentwatch.standin.bill import Entry
from agentwatch.standin.openai import OpenAI
from agentwatch.standin.openai_chat import DONE, ChatVoice, event
from agentwatch.standin.provider import BadRequestError, Call, Plan, Voice
from agentwatch.standin.script import Script

_UNKNOWN = ("max_completion_tokens", "stream_options", "service_tier", "store")


class Mistral(OpenAI):
    """The provider."""

    name = "mistral"
    prefixes: tuple[str, ...] = ("/mistral/v1",)
    models: Mapping[str, Any] = prices.MODELS
    media: Collection[str] = ()
    apis: Mapping[str, str] = {"/chat/completions": "chat"}

    def read(self, method: str, path: str, body: bytes) -> Call:
        """The call that a request is. Raises BadRequestError, ScriptError."""
        call = super().read(method, path, body)
        for key in _UNKNOWN:
            if key in call.body:
                message = f"Extra inputs are not permitted: {key}"
                raise BadRequestError(422, self.error(422, message))
        return call

    def check_limit(self, call: Call) -> None:
        """There is one name of it."""

    def tier(self, model: str, asked: str | None) -> str:
        """There is one tier."""
        return "default"

    def note(self, entry: Entry, call: Call, script: Script) -> None:
        """Writing to the cache costs nothing extra."""
        entry.written = 0

    def cost(self, entry: Entry) -> int:
        """By Mistral's price page."""
        assert entry.model is not None
        return prices.cost(
            entry.model,
            prompt=entry.prompt_tokens,
            cached=entry.cached,
            output=entry.completion_tokens,
        )

    def voice(self, call: Call, plan: Plan, entry: Entry) -> Voice:
        """The voice of a chat."""
        return MistralVoice(call, plan, entry)


class MistralVoice(ChatVoice):
    """`chat.completion`, whose last frame has the usage."""

    def closing(self) -> bytes:
        """The finish of each choice, the usage with it, and [DONE]."""
        finish = self._finish()
        rows = [
            {"index": at, "delta": {"content": ""}, "finish_reason": finish}
            for at in range(self._call.choices)
        ]
        last = self._frame | {"choices": rows}
        if self._plan.script.usage != "missing":
            last["usage"] = self._usage()
        return event(last) + DONE
