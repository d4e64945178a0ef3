"""What the stand-in provider bills for: a price table of its own, so that its bill is an oracle.

It shares no line with the price book that AgentWatch charges by: where both read one table, one
misread figure would agree with itself.

Source of every figure: OpenAI's public price page, https://developers.openai.com/api/docs/pricing
(standard, flex and fast/priority tables), as transcribed with dates of verification in the public
data of github.com/pydantic/genai-prices (2026-10-12, gpt-6.1-terra 2026-10-26, gpt-4, gpt-3.5,
completions and embeddings models undated). Hosted tools are in openai_hosted.py.
Output limits: the models' own pages under https://developers.openai.com/api/docs/models.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

#: a prompt of more tokens than this is billed at the model's long rates, all of it
LONG_CONTEXT = 272_000
#: tiers as the answer names them, by what the request asked for
TIER_NAMES = {"fast": "priority", "priority": "priority", "flex": "flex"}


class Rates(Struct, frozen=True):
    """pico-USD for one token of each kind."""

    fresh: int
    cached: int
    written: int
    output: int


class Model(Struct, frozen=True):
    """One model: its rates by tier, and the most it writes in an answer."""

    name: str
    tiers: dict[str, Rates]
    long_tiers: dict[str, Rates]
    max_output: int
    #: takes max_completion_tokens only, as the reasoning models do
    reasons: bool


def pico(usd_per_million: str) -> int:
    """`"0.15"` USD for a million tokens is 150,000 pico-USD for one; exact."""
    return int(Decimal(usd_per_million) * 1_000_000)


def rates(row: str) -> Rates:
    """A row "input cached written output" in USD per million tokens; "-": billed as input."""
    fresh, cached, written, output = row.split()
    return Rates(
        fresh=pico(fresh),
        cached=pico(fresh if cached == "-" else cached),
        written=pico(fresh if written == "-" else written),
        output=pico("0" if output == "-" else output),
    )


#: name: (most output, reasons, {tier: "input cached written output"}); "+" is the long context's
_TABLE: dict[str, tuple[int, bool, dict[str, str]]] = {
    "gpt-3.5-turbo": (4_096, False, {"default": "0.5 - - 1.5"}),
    "gpt-3.5-turbo-instruct": (4_096, False, {"default": "1.5 - - 2"}),
    "davinci-002": (16_384, False, {"default": "2 - - 2"}),
    "gpt-4": (8_192, False, {"default": "30 - - 60"}),
    "gpt-4o": (
        16_384,
        False,
        {"default": "2.5 1.25 - 10", "priority": "4.25 2.125 - 17"},
    ),
    "gpt-4o-mini": (
        16_384,
        False,
        {"default": "0.15 0.075 - 0.6", "priority": "0.25 0.125 - 1"},
    ),
    "gpt-audio": (16_384, False, {"default": "2.5 - - 10"}),
    "gpt-audio-mini": (16_384, False, {"default": "0.6 - - 2.4"}),
    "gpt-4.1": (32_768, False, {"default": "2 0.5 - 8", "priority": "3.5 0.875 - 14"}),
    "gpt-4.1-mini": (
        32_768,
        False,
        {"default": "0.4 0.1 - 1.6", "priority": "0.7 0.175 - 2.8"},
    ),
    "gpt-4.1-nano": (
        32_768,
        False,
        {"default": "0.1 0.025 - 0.4", "priority": "0.2 0.05 - 0.8"},
    ),
    "o3": (
        100_000,
        True,
        {"default": "2 0.5 - 8", "flex": "1 0.25 - 4", "priority": "3.5 0.875 - 14"},
    ),
    "o4-mini": (
        100_000,
        True,
        {"default": "1.1 0.275 - 4.4", "flex": "0.55 0.138 - 2.2", "priority": "2 0.5 - 8"},
    ),
    "gpt-5": (
        128_000,
        True,
        {"default": "1.25 0.125 - 10", "flex": "0.625 0.0625 - 5", "priority": "2.5 0.25 - 20"},
    ),
    "gpt-5-mini": (
        128_000,
        True,
        {"default": "0.25 0.025 - 2", "flex": "0.125 0.0125 - 1", "priority": "0.45 0.045 - 3.6"},
    ),
    "gpt-5-nano": (
        128_000,
        True,
        {"default": "0.05 0.005 - 0.4", "flex": "0.025 0.0025 - 0.2"},
    ),
    "gpt-5.1": (
        128_000,
        True,
        {"default": "1.25 0.125 - 10", "flex": "0.625 0.0625 - 5", "priority": "2.5 0.25 - 20"},
    ),
    "gpt-5.1-codex-mini": (128_000, True, {"default": "0.25 0.025 - 2"}),
    "gpt-5.2": (
        128_000,
        True,
        {"default": "1.75 0.175 - 14", "flex": "0.875 0.0875 - 7", "priority": "3.5 0.35 - 28"},
    ),
    "gpt-5.3-codex": (
        128_000,
        True,
        {"default": "1.75 0.175 - 14", "priority": "3.5 0.35 - 28"},
    ),
    "gpt-5.4": (
        128_000,
        True,
        {
            "default": "2.5 0.25 - 15",
            "default+": "5 0.5 - 22.5",
            "flex": "1.25 0.13 - 7.5",
            "flex+": "2.5 0.25 - 11.25",
            "priority": "5 0.5 - 30",
        },
    ),
    "gpt-5.4-mini": (
        128_000,
        True,
        {"default": "0.75 0.075 - 4.5", "flex": "0.375 0.0375 - 2.25", "priority": "1.5 0.15 - 9"},
    ),
    "gpt-5.4-nano": (
        128_000,
        True,
        {"default": "0.2 0.02 - 1.25", "flex": "0.1 0.01 - 0.625"},
    ),
    "gpt-5.5": (
        128_000,
        True,
        {
            "default": "5 0.5 - 30",
            "default+": "10 1 - 45",
            "flex": "2.5 0.25 - 15",
            "flex+": "5 0.5 - 22.5",
            "priority": "12.5 1.25 - 75",
        },
    ),
    "gpt-5.6-sol": (
        128_000,
        True,
        {
            "default": "4 0.4 5 20",
            "default+": "8 0.8 10 30",
            "flex": "2 0.2 2.5 10",
            "flex+": "4 0.4 5 15",
            "priority": "8 0.8 10 40",
            "priority+": "16 1.6 20 60",
        },
    ),
    "gpt-6-luna": (
        128_000,
        True,
        {
            "default": "0.1 0.01 0.125 0.5",
            "default+": "0.2 0.02 0.25 0.75",
            "flex": "0.05 0.005 0.0625 0.25",
            "flex+": "0.1 0.01 0.125 0.375",
            "priority": "0.2 0.02 0.25 1",
            "priority+": "0.4 0.04 0.5 1.5",
        },
    ),
    "gpt-6-sol": (
        128_000,
        True,
        {
            "default": "2 0.2 2.5 10",
            "default+": "4 0.4 5 15",
            "flex": "1 0.1 1.25 5",
            "flex+": "2 0.2 2.5 7.5",
            "priority": "4 0.4 5 20",
            "priority+": "8 0.8 10 30",
        },
    ),
    "gpt-6-astra": (
        128_000,
        True,
        {
            "default": "10 1 12.5 50",
            "default+": "20 2 25 75",
            "flex": "5 0.5 6.25 25",
            "flex+": "10 1 12.5 37.5",
            "priority": "20 2 25 100",
            "priority+": "40 4 50 150",
        },
    ),
    "gpt-6.1-sol": (
        128_000,
        True,
        {
            "default": "2 0.1 2.5 10",
            "default+": "4 0.2 5 15",
            "flex": "1 0.05 1.25 5",
            "flex+": "2 0.1 2.5 7.5",
            "priority": "4 0.2 5 20",
            "priority+": "8 0.4 10 30",
        },
    ),
    "gpt-6.1-terra": (
        128_000,
        True,
        {
            "default": "1 0.05 1.25 5",
            "default+": "2 0.1 2.5 7.5",
            "flex": "0.5 0.025 0.625 2.5",
            "flex+": "1 0.05 1.25 3.75",
            "priority": "2 0.1 2.5 10",
            "priority+": "4 0.2 5 15",
        },
    ),
    "text-embedding-3-small": (0, False, {"default": "0.02 - - -"}),
    "text-embedding-3-large": (0, False, {"default": "0.13 - - -"}),
    "text-embedding-ada-002": (0, False, {"default": "0.1 - - -"}),
}

#: other names under which the same page sells the same model
_ALIASES = {
    "gpt-3.5-turbo-0125": "gpt-3.5-turbo",
    "gpt-4o-2024-08-06": "gpt-4o",
    "gpt-4o-2024-11-20": "gpt-4o",
    "gpt-4o-mini-2024-07-18": "gpt-4o-mini",
    "gpt-4.1-2025-04-14": "gpt-4.1",
    "gpt-4.1-mini-2025-04-14": "gpt-4.1-mini",
    "gpt-5-2025-08-07": "gpt-5",
    "gpt-5-codex": "gpt-5",
    "gpt-5-mini-2025-08-07": "gpt-5-mini",
    "gpt-5.1-codex": "gpt-5.1",
    "gpt-5.1-codex-max": "gpt-5.1",
    "gpt-5.2-codex": "gpt-5.2",
    "gpt-5.6": "gpt-5.6-sol",
}


def _model(name: str) -> Model:
    most, reasons, rows = _TABLE[name]
    return Model(
        name=name,
        tiers={tier: rates(row) for tier, row in rows.items() if not tier.endswith("+")},
        long_tiers={tier[:-1]: rates(row) for tier, row in rows.items() if tier.endswith("+")},
        max_output=most,
        reasons=reasons,
    )


MODELS: dict[str, Model] = {name: _model(name) for name in _TABLE}
MODELS |= {alias: MODELS[name] for alias, name in _ALIASES.items()}


def tier_of(model: str, asked: str | None) -> str:
    """The tier that answers: the one asked for where the model has it, else "default"."""
    tier = TIER_NAMES.get(asked or "", "default")
    return tier if tier in MODELS[model].tiers else "default"


def cost(
    model: str,
    tier: str,
    *,
    prompt: int,
    cached: int = 0,
    written: int = 0,
    output: int = 0,
    fees: int = 0,
    more_picos: int = 0,
) -> int:
    """What one call costs, in nano-USD, rounded up once.

    `cached` and `written` are parts of `prompt` (tokens); `more_picos` is what is billed at other
    rates, `fees` (nanos) what is billed beside tokens. Raises KeyError for an unknown model or a
    tier that the model is not sold at.
    """
    known = MODELS[model]
    row = known.tiers[tier]
    if prompt > LONG_CONTEXT:
        row = known.long_tiers.get(tier, row)
    picos = (
        (prompt - cached - written) * row.fresh
        + cached * row.cached
        + written * row.written
        + output * row.output
        + more_picos
    )
    return -(-picos // 1_000) + fees
