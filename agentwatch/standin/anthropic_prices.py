"""What the stand-in bills for Claude: a price table of its own, so that its bill is an oracle.

It shares no line with the price book that AgentWatch charges by.

Source of every figure: Anthropic's public price page,
https://platform.claude.com/docs/en/about-claude/pricing (tables "Model pricing", "Fast mode",
"Long context", "Data residency", web search), read 2026-11-26; its rows for Fable 5.2, Opus 5.5,
Sonnet 5.5 and Haiku 5.5 as transcribed with dates of verification in the public data of
github.com/pydantic/genai-prices (2026-11). Web search: $10 per 1,000. Output limits: the models
overview, https://platform.claude.com/docs/en/about-claude/models/overview.
"""

from __future__ import annotations

from msgspec import Struct

from agentwatch.standin.prices import pico

#: nano-USD for one hosted web search; fetches are free
WEB_SEARCH_NANOS = 10_000_000
#: tokens made in the United States cost more, on models from 4.6 on
US_TENTHS = 11


class Rates(Struct, frozen=True):
    """pico-USD for one token of each kind."""

    fresh: int
    written: int
    written_long: int
    read: int
    output: int


class Model(Struct, frozen=True):
    """One model: its rates, those of a long prompt and of fast mode where it has them, and the
    most it writes in an answer."""

    name: str
    rates: Rates
    max_output: int
    #: prompts of more tokens than this are billed at `long`, all of it
    long_above: int | None = None
    long: Rates | None = None
    fast: Rates | None = None
    #: is sold by place
    placed: bool = True


def rates(row: str) -> Rates:
    """A row "input 5m-write 1h-write read output" in USD per million tokens."""
    return Rates(*map(pico, row.split()))


#: name: (most output, rates, (a long prompt's threshold and rates), fast rates)
_TABLE: dict[str, tuple[int, str, tuple[int, str] | None, str | None]] = {
    "claude-fable-5-2": (128_000, "8 10 16 0.2 40", None, "16 20 32 0.4 80"),
    "claude-fable-5": (128_000, "10 12.5 20 1 50", None, None),
    "claude-opus-5-5": (128_000, "4 5 8 0.2 20", None, "8 10 16 0.4 40"),
    "claude-opus-5": (128_000, "5 6.25 10 0.5 25", None, "10 12.5 20 1 50"),
    "claude-opus-4-8": (128_000, "5 6.25 10 0.5 25", None, "10 12.5 20 1 50"),
    "claude-opus-4-6": (128_000, "5 6.25 10 0.5 25", None, None),
    "claude-opus-4-1": (32_000, "15 18.75 30 1.5 75", None, None),
    "claude-sonnet-5-5": (128_000, "2 2.5 4 0.1 10", None, None),
    "claude-sonnet-5": (128_000, "2 2.5 4 0.2 10", None, None),
    "claude-sonnet-4-6": (128_000, "3 3.75 6 0.3 15", None, None),
    "claude-sonnet-4-5": (64_000, "3 3.75 6 0.3 15", (200_000, "6 7.5 12 0.6 22.5"), None),
    "claude-haiku-5-5": (
        128_000,
        "0.1 0.125 0.2 0.01 0.5",
        (100_000, "0.5 0.625 1 0.05 2.5"),
        None,
    ),
    "claude-haiku-4-5": (64_000, "1 1.25 2 0.1 5", None, None),
    "claude-3-5-haiku-latest": (8_192, "0.8 1 1.6 0.08 4", None, None),
}
#: sold before places were
_UNPLACED = ("claude-opus-4-1", "claude-sonnet-4-5", "claude-haiku-4-5", "claude-3-5-haiku-latest")
#: other names of the same
_ALIASES = {
    "claude-haiku-4-5-20251001": "claude-haiku-4-5",
    "claude-sonnet-4-5-20250929": "claude-sonnet-4-5",
    "claude-3-5-haiku-20241022": "claude-3-5-haiku-latest",
}


def _model(name: str) -> Model:
    most, row, long, fast = _TABLE[name]
    return Model(
        name=name,
        rates=rates(row),
        max_output=most,
        long_above=long[0] if long else None,
        long=rates(long[1]) if long else None,
        fast=rates(fast) if fast else None,
        placed=name not in _UNPLACED,
    )


MODELS: dict[str, Model] = {name: _model(name) for name in _TABLE}
MODELS |= {alias: MODELS[name] for alias, name in _ALIASES.items()}


def cost(
    model: str,
    *,
    fresh: int,
    written: int = 0,
    written_long: int = 0,
    read: int = 0,
    output: int = 0,
    fast: bool = False,
    us: bool = False,
) -> int:
    """What one line of the bill costs, in nano-USD, rounded up once. Tokens of each kind apart.

    Raises KeyError for an unknown model.
    """
    known = MODELS[model]
    row = known.fast if fast and known.fast else known.rates
    prompt = fresh + written + written_long + read
    if known.long and known.long_above is not None and prompt > known.long_above:
        row = known.long
    picos = (
        fresh * row.fresh
        + written * row.written
        + written_long * row.written_long
        + read * row.read
        + output * row.output
    )
    tenths = US_TENTHS if us and known.placed else 10
    return -(-picos * tenths // 10_000)
