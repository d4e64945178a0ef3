"""What the stand-in bills for xAI's models: figures of its own, so that its bill is an oracle.

Source of every figure: https://docs.x.ai/developers/models (USD per million tokens; a prompt of
200,000 tokens or more is billed at the second row, all of it) and
https://docs.x.ai/developers/pricing, as known in 2026-11. Money is counted in ticks as xAI does:
1 USD has 10^10 of them (https://docs.x.ai/developers/cost-tracking).
"""

from __future__ import annotations

from msgspec import Struct

from agentwatch.standin.prices import Rates, rates

#: a prompt of so many tokens, or more, is a long one
LONG_CONTEXT = 200_000
#: a pico-USD is a hundredth of a tick
_PICOS_PER_TICK = 100


class Model(Struct, frozen=True):
    """One model, and the most it writes in an answer."""

    name: str
    rates: Rates
    long_rates: Rates
    max_output: int
    reasons: bool = False


#: name: (most output, "input cached written output", the same for a long prompt or "")
_TABLE: dict[str, tuple[int, str, str]] = {
    "grok-3-mini": (131_072, "0.3 0.075 - 0.5", ""),
    "grok-4-fast-reasoning": (2_000_000, "0.2 0.05 - 0.5", ""),
    "grok-code-fast-1": (256_000, "0.2 0.02 - 1.5", ""),
    "grok-4.3": (1_000_000, "1.25 0.2 - 2.5", "2.5 0.4 - 5"),
    "grok-4.5": (500_000, "2 0.3 - 6", "4 0.6 - 12"),
    "grok-4.7": (500_000, "2 0.5 - 6", "4 1 - 12"),
}
MODELS: dict[str, Model] = {
    name: Model(name=name, rates=rates(row), long_rates=rates(long or row), max_output=most)
    for name, (most, row, long) in _TABLE.items()
}


def ticks(model: str, *, prompt: int, cached: int = 0, output: int = 0) -> int:
    """What one call is billed at, in ticks, rounded up. `cached` is a part of `prompt`."""
    known = MODELS[model]
    row = known.long_rates if prompt >= LONG_CONTEXT else known.rates
    picos = (prompt - cached) * row.fresh + cached * row.cached + output * row.output
    return -(-picos // _PICOS_PER_TICK)
