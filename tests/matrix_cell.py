"""One cell of the matrix, run by the SDK that is installed where this runs.

    python matrix_cell.py PROVIDER BASE_URL KEY COLUMN whole|streamed

It imports nothing of ours, so that it runs in the environment of any version of an SDK. It ends
with 0 where the SDK did what its user would see as done, and lets the SDK's error out where not.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

#: what the stand-in is told, by column
DIRECTIVES = {
    "plain": "tokens=23",
    "caching": "tokens=9 density=1 cached=12",
    "reasoning": "tokens=9 reasoning=300",
    "tools": "tools=ls parallel=2",
    "tiers": "tokens=9",
    "errors": "tokens=9",
    "cut": "tokens=30 cut=9",
    "hang-up": "tokens=12 delay=0.03",
}
COLUMNS = tuple(DIRECTIVES)
#: how long a client that hangs up listens to an answer in one piece, which comes later than that
_PATIENCE_S, _LATER = 0.3, "tokens=12 head_delay=0.8"
_LONG_S = 30.0

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
_TOOL = {"type": "function", "function": {"name": "ls", "parameters": SCHEMA}}


def _said(column: str, streamed: bool) -> str:
    what = _LATER if column == "hang-up" and not streamed else DIRECTIVES[column]
    return f"hello [[standin: {what}]]"


def _seconds(column: str, streamed: bool) -> float:
    return _PATIENCE_S if column == "hang-up" and not streamed else _LONG_S


def _chat(made: Any, column: str, streamed: bool, models: dict[str, str]) -> None:
    """A chat on OpenAI's wire."""
    text = {"role": "user", "content": _said(column, streamed)}
    asked: dict[str, Any] = {"model": models.get(column, models["plain"]), "messages": [text]}
    if column == "tools":
        asked["tools"] = [_TOOL]
    if column == "tiers" and "tier" in models:
        asked["service_tier"] = models["tier"]
    answer = made.chat.completions.create(**asked, stream=streamed)
    if not streamed:
        calls = answer.choices[0].message.tool_calls
        assert len(calls or ()) == (2 if column == "tools" else 0)
    elif column == "hang-up":
        next(iter(answer))
        answer.close()
    else:
        assert list(answer)


_OPENAI = {"plain": "gpt-6-sol", "tools": "gpt-4o-mini", "tiers": "gpt-5", "tier": "flex"}
_GROQ = {"plain": "openai/gpt-oss-120b", "tier": "flex"}
_XAI = {"plain": "grok-4.7", "tier": "default"}


def openai(base: str, key: str, column: str, streamed: bool) -> None:
    """OpenAI, chat and responses in turn."""
    _over_openai(base, key, column, streamed, _OPENAI)
    if column not in ("errors", "tools"):
        _responses(base, key, column, streamed)


def xai(base: str, key: str, column: str, streamed: bool) -> None:
    """xAI, through OpenAI's SDK."""
    _over_openai(base, key, column, streamed, _XAI)


def _over_openai(base: str, key: str, column: str, streamed: bool, models: dict[str, str]) -> None:
    import openai as sdk

    with sdk.OpenAI(
        base_url=base, api_key=key, timeout=_seconds(column, streamed), max_retries=_tries(column)
    ) as made:
        _chat(made, column, streamed, models)


def _responses(base: str, key: str, column: str, streamed: bool) -> None:
    import openai as sdk

    asked: dict[str, Any] = {"model": "gpt-5-mini", "input": _said(column, streamed)}
    if column == "tiers":
        asked["service_tier"] = "flex"
    with sdk.OpenAI(
        base_url=base, api_key=key, timeout=_seconds(column, streamed), max_retries=0
    ) as made:
        answer = made.responses.create(**asked, stream=streamed)
        if streamed and column == "hang-up":
            next(iter(answer))
            answer.close()
        elif streamed:
            assert list(answer)


def groq(base: str, key: str, column: str, streamed: bool) -> None:
    """Groq."""
    import groq as sdk

    with sdk.Groq(
        base_url=base, api_key=key, timeout=_seconds(column, streamed), max_retries=_tries(column)
    ) as made:
        _chat(made, column, streamed, _GROQ)


def anthropic(base: str, key: str, column: str, streamed: bool) -> None:
    """Anthropic's messages."""
    import anthropic as sdk

    text = {"role": "user", "content": _said(column, streamed)}
    asked: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 1000, "messages": [text]}
    if column == "tools":
        asked["tools"] = [{"name": "ls", "input_schema": SCHEMA}]
    if column == "tiers":
        asked["service_tier"] = "standard_only"
    if column == "reasoning":
        asked |= {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4000}
    with sdk.Anthropic(
        base_url=base, api_key=key, timeout=_seconds(column, streamed), max_retries=_tries(column)
    ) as made:
        answer = made.messages.create(**asked, stream=streamed)
        if streamed and column == "hang-up":
            next(iter(answer))
            answer.close()
        elif streamed:
            assert list(answer)


def gemini(base: str, key: str, column: str, streamed: bool) -> None:
    """Gemini's generateContent."""
    from google import genai

    model = "gemini-2.5-pro" if column == "reasoning" else "gemini-2.5-flash"
    asked: dict[str, Any] = {"model": model, "contents": _said(column, streamed)}
    if column == "tools":
        asked["config"] = {"tools": [{"function_declarations": [{"name": "ls"}]}]}
    if column == "tiers":
        asked["config"] = {"service_tier": "flex"}
    options: dict[str, Any] = {"base_url": base}
    options["timeout"] = round(_seconds(column, streamed) * 1_000)
    if column == "errors":
        options["retry_options"] = {"attempts": 3, "initial_delay": 0.05, "max_delay": 0.1}
    made = genai.Client(api_key=key, http_options=options)
    if not streamed:
        made.models.generate_content(**asked)
        return
    answer = made.models.generate_content_stream(**asked)
    if column == "hang-up":
        next(answer)
        answer.close()
    else:
        assert list(answer)


def _tries(column: str) -> int:
    """An error is tried again, as the SDK does; what is broken off is not."""
    return 2 if column == "errors" else 0


RUN: dict[str, Callable[[str, str, str, bool], None]] = {
    "openai": openai,
    "anthropic": anthropic,
    "gemini": gemini,
    "groq": groq,
    "xai": xai,
}
#: columns in which the SDK may raise, as something is broken in them
BROKEN = ("cut", "hang-up")


@contextmanager
def what_breaks(column: str) -> Iterator[None]:
    """Take an error for what it is where the cell breaks something."""
    try:
        yield
    except Exception:
        if column not in BROKEN:
            raise


def run(provider: str, base: str, key: str, column: str, streamed: bool) -> None:
    """Run one cell."""
    with what_breaks(column):
        RUN[provider](base, key, column, streamed)


if __name__ == "__main__":
    run(*sys.argv[1:5], sys.argv[5] == "streamed")
