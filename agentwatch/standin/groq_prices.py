"""What the stand-in bills for Groq's models: figures of its own, so that its bill is an oracle.

Source of every figure: https://groq.com/pricing and https://console.groq.com/docs/models (input,
output and cached input in USD per million tokens, most output), and for built-in tools
https://console.groq.com/docs/compound/built-in-tools; as known in 2026-11. A compound system has
no rates: each model that it calls is billed at its own.
"""

from __future__ import annotations

from msgspec import Struct

from agentwatch.standin.prices import Rates, rates

#: nano-USD for one search of the better kind, and for one visit to a page
SEARCH_NANOS = 8_000_000
VISIT_NANOS = 1_000_000


class Model(Struct, frozen=True):
    """One model, and the most it writes in an answer."""

    name: str
    rates: Rates
    max_output: int
    #: takes either name of the limit, as all of Groq's do
    reasons: bool = False


#: name: (most output, "input cached written output")
_TABLE: dict[str, tuple[int, str]] = {
    "llama-3.1-8b-instant": (131_072, "0.05 - - 0.08"),
    "llama-3.3-70b-versatile": (32_768, "0.59 - - 0.79"),
    "meta-llama/llama-4-scout-17b-16e-instruct": (8_192, "0.11 - - 0.34"),
    "moonshotai/kimi-k2-instruct": (16_384, "1 0.5 - 3"),
    "openai/gpt-oss-120b": (65_536, "0.15 0.075 - 0.6"),
    "openai/gpt-oss-20b": (65_536, "0.075 0.0375 - 0.3"),
    "qwen/qwen3-32b": (40_960, "0.29 - - 0.59"),
}
#: which model a system answers with where nothing else is said
SYSTEMS = {
    "groq/compound": "openai/gpt-oss-120b",
    "groq/compound-mini": "openai/gpt-oss-120b",
}
MODELS: dict[str, Model] = {
    name: Model(name=name, rates=rates(row), max_output=most)
    for name, (most, row) in _TABLE.items()
}
MODELS |= {
    name: Model(name=name, rates=MODELS[lead].rates, max_output=8_192)
    for name, lead in SYSTEMS.items()
}


def cost(model: str, *, prompt: int, cached: int = 0, output: int = 0) -> int:
    """What one model's part of a call costs, in pico-USD. `cached` is a part of `prompt`."""
    row = MODELS[model].rates
    return (prompt - cached) * row.fresh + cached * row.cached + output * row.output
