"""What the stand-in bills for Mistral's models: figures of its own, so that its bill is an oracle.

Source of every figure: https://mistral.ai/pricing (USD per million tokens) and the models' pages
under https://docs.mistral.ai/getting-started/models (context, which bounds an answer), as known in
2026-11.
"""

from __future__ import annotations

from msgspec import Struct

from agentwatch.standin.prices import Rates, rates


class Model(Struct, frozen=True):
    """One model, and the most it writes in an answer."""

    name: str
    rates: Rates
    max_output: int
    reasons: bool = False


#: name: (most output, "input cached written output")
_TABLE: dict[str, tuple[int, str]] = {
    "codestral-2508": (256_000, "0.3 0.03 - 0.9"),
    "mistral-large-2512": (262_144, "0.5 0.05 - 1.5"),
    "mistral-small-2603": (262_144, "0.15 0.015 - 0.6"),
}
MODELS: dict[str, Model] = {
    name: Model(name=name, rates=rates(row), max_output=most)
    for name, (most, row) in _TABLE.items()
}


def cost(model: str, *, prompt: int, cached: int = 0, output: int = 0) -> int:
    """What one call costs, in nano-USD, rounded up once. `cached` is a part of `prompt`."""
    row = MODELS[model].rates
    picos = (prompt - cached) * row.fresh + cached * row.cached + output * row.output
    return -(-picos // 1_000)
