"""Groq's wire at the stand-in: OpenAI's, with usage in `x_groq`, and systems of models.

A script's `iterations` are what other models do for a compound system ("part:INPUT:OUTPUT:MODEL"),
its `web_search` searches that it makes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from agentwatch.standin import groq_prices as prices
from agentwatch.standin.anthropic_messages import Line, lines_of
from agentwatch.standin.bill import Entry
from agentwatch.standin.openai import OpenAI
from agentwatch.standin.openai_chat import DONE, ChatVoice, event
from agentwatch.standin.provider import BadRequestError, Call, Plan, Voice
from agentwatch.standin.script import Script

_FAILED = "the model stopped early: internal error"
_TIERS = ("on_demand", "flex", "performance")


class Groq(OpenAI):
    """The provider."""

    name = "groq"
    prefixes: tuple[str, ...] = ("/groq/openai/v1",)
    models: Mapping[str, Any] = prices.MODELS
    media: Collection[str] = ()
    apis: Mapping[str, str] = {"/chat/completions": "chat", "/responses": "responses"}

    def read(self, method: str, path: str, body: bytes) -> Call:
        """The call that a request is. Raises BadRequestError, ScriptError."""
        call = super().read(method, path, body)
        if call.choices > 1:
            raise BadRequestError(400, self.error(400, "'n' : number must be at most 1"))
        return call

    def check_limit(self, call: Call) -> None:
        """Both names of the limit are taken."""

    def tier(self, model: str, asked: str | None) -> str:
        """The tier asked for; on demand where that is left open."""
        return asked if asked in _TIERS else "on_demand"

    def note(self, entry: Entry, call: Call, script: Script) -> None:
        """What a system calls: models and searches."""
        entry.written = 0
        if call.model not in prices.SYSTEMS:
            return
        entry.searches = script.web_search
        for at, line in enumerate(lines_of(script, prices.SYSTEMS[call.model])):
            entry.extra[f"{at} {line.model} in"] = line.given
            entry.extra[f"{at} {line.model} out"] = line.made

    def cost(self, entry: Entry) -> int:
        """By Groq's price page: each model's part, rounded up by itself, and the searches."""
        assert entry.model is not None
        parts = [
            prices.cost(
                entry.model,
                prompt=entry.prompt_tokens,
                cached=entry.cached,
                output=entry.completion_tokens,
            )
        ]
        for key, given in entry.extra.items():
            if key.endswith(" in"):
                made = entry.extra[key.removesuffix("in") + "out"]
                parts.append(prices.cost(key.split()[1], prompt=given, output=made))
        return sum(-(-part // 1_000) for part in parts) + entry.searches * prices.SEARCH_NANOS

    def voice(self, call: Call, plan: Plan, entry: Entry) -> Voice:
        """The voice of the API that was called."""
        return (
            GroqVoice(call, plan, entry) if call.api == "chat" else super().voice(call, plan, entry)
        )


class GroqVoice(ChatVoice):
    """`chat.completion` as Groq writes it."""

    def __init__(self, call: Call, plan: Plan, entry: Entry) -> None:
        super().__init__(call, plan, entry)
        self._frame["x_groq"] = {"id": f"req_{entry.id}"}
        lead = prices.SYSTEMS.get(call.model)
        self._lines = lines_of(plan.script, lead) if lead else []
        self._lead = lead

    def opening(self) -> bytes:
        """The role, a frame without choices where that is wanted, and the tools that ran."""
        first = super().opening()
        self._frame.pop("x_groq")
        bare = event({**self._frame, "x_groq": {"id": "req_x"}}) if self._plan.script.bare else b""
        tools = self._executed()
        return first + bare + (self._chunk({"executed_tools": tools}, 0) if tools else b"")

    def closing(self) -> bytes:
        """The finish with the usage in x_groq, the usage chunk where it was asked for, [DONE]."""
        told: dict[str, Any] = {"id": f"req_{self._entry.id}"}
        if self._plan.script.usage != "missing":
            told |= {"usage": self._usage(), **self._breakdown()}
        row = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": self._finish()}
        out = event(self._frame | {"choices": [row], "x_groq": told})
        if self._call.include_usage and self._plan.script.usage != "missing":
            out += event(self._frame | {"choices": [], "usage": self._usage()})
        return out + DONE

    def whole(self) -> bytes:
        """The completion in one object."""
        answer = msgspec.json.decode(super().whole())
        if tools := self._executed():
            answer["choices"][0]["message"]["executed_tools"] = tools
        if self._plan.script.usage != "missing":
            answer |= self._breakdown()
        return msgspec.json.encode(answer)

    def broken(self, how: str) -> bytes:
        """An error inside `x_groq`, which no SDK raises on."""
        if not self._call.stream:
            return super().broken(how)
        return event(self._frame | {"choices": [], "x_groq": {"id": "req_x", "error": _FAILED}})

    def _executed(self) -> list[dict[str, Any]]:
        return [
            {"index": at, "type": "search", "arguments": '{"query":"x"}', "output": "found"}
            for at in range(self._entry.searches)
        ]

    def _breakdown(self) -> dict[str, Any]:
        """Each model's part, where several may have one."""
        if not self._lead:
            return {}
        own = Line("own", self._lead, self._entry.prompt_tokens, self._entry.completion_tokens)
        rows = [{"model": line.model, "usage": _tokens(line, 0)} for line in self._lines]
        lead = {"model": self._lead, "usage": _tokens(own, self._entry.cached)}
        return {"usage_breakdown": {"models": [lead, *rows]}}

    def _usage(self) -> dict[str, Any] | None:
        usage = super()._usage()
        if usage is None or self._plan.script.usage not in ("true", "every"):
            return usage
        usage["prompt_tokens"] += sum(line.given for line in self._lines)
        usage["completion_tokens"] += sum(line.made for line in self._lines)
        usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
        usage["prompt_tokens_details"] = {"cached_tokens": self._entry.cached}
        usage["completion_tokens_details"] = {"reasoning_tokens": self._entry.reasoning}
        return {**usage, "queue_time": 0.01, "total_time": 0.2}


def _tokens(line: Line, cached: int) -> dict[str, Any]:
    return {
        "prompt_tokens": line.given,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens": line.made,
        "total_tokens": line.given + line.made,
    }
