"""What the stand-in bills for Gemini: figures of its own, so that its bill is an oracle.

Source of every figure: Google's price page, https://ai.google.dev/gemini-api/docs/pricing (paid
tier, standard), as transcribed on 2026-10-07 in the public data of github.com/api-evangelist
and on 2026-10-14 in that of github.com/pydantic/genai-prices, where these agree. Prices that hold
until a day are those of that time. Flex is half of standard
(https://ai.google.dev/gemini-api/docs/optimization); priority is sold here for the two models
whose rates are published. A search is $35 per 1,000 requests that made any, up to 2.5.
Output limits: the models' own pages under https://ai.google.dev/gemini-api/docs/models.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

#: a prompt of more tokens than this is billed at the model's long rates, all of it
LONG_CONTEXT = 200_000
#: nano-USD for a request that searched
SEARCH_NANOS = 35_000_000


class Rates(Struct, frozen=True):
    """pico-USD for one token of each kind."""

    text: int
    cached: int
    output: int
    audio: int
    cached_audio: int
    image_output: int


class Model(Struct, frozen=True):
    """One model: its rates by tier, short and long, and the most it writes in an answer."""

    tiers: dict[str, Rates]
    long_tiers: dict[str, Rates]
    max_output: int
    thinks: bool
    #: thinking budgets that it takes, 0 included where it can be switched off
    budgets: tuple[int, int, bool] | None = None


def _pico(usd_per_million: str) -> int:
    return int(Decimal(usd_per_million) * 1_000_000)


def _rates(row: str, thousandths: int = 1000) -> Rates:
    """A row "text cached output [audio cached-audio [image-output]]" in USD per million tokens;
    "-": as text."""
    cells = [*row.split(), "-", "-", "-"][:6]
    text, cached, output, audio, cached_audio, image = cells
    cached = text if cached == "-" else cached
    audio_row = text if audio == "-" else audio
    all_of_it = (
        text,
        cached,
        output,
        audio_row,
        (cached if audio == "-" else audio_row) if cached_audio == "-" else cached_audio,
        output if image == "-" else image,
    )
    return Rates(*(_pico(cell) * thousandths // 1000 for cell in all_of_it))


_PRO, _FLASH, _LITE = (128, 32_768, False), (1, 24_576, True), (512, 24_576, True)
#: name: (most output, thinks, budgets, standard row, long row or "", priority row or "")
_TABLE: dict[str, tuple[int, bool, tuple[int, int, bool] | None, str, str, str]] = {
    "gemini-2.0-flash": (8_192, False, None, "0.1 0.025 0.4 0.7 0.175", "", ""),
    "gemini-2.5-flash-lite": (65_536, True, _LITE, "0.1 0.01 0.4 0.3 0.03", "", ""),
    "gemini-2.5-flash": (65_536, True, _FLASH, "0.3 0.03 2.5 1 0.1", "", ""),
    "gemini-2.5-pro": (65_536, True, _PRO, "1.25 0.125 10", "2.5 0.25 15", ""),
    "gemini-2.5-flash-image": (32_768, False, None, "0.3 - 2.5 - - 30", "", ""),
    "gemini-3-flash-preview": (65_536, True, _FLASH, "0.5 0.05 3 1 0.1", "", ""),
    "gemini-3.1-pro-preview": (65_536, True, _PRO, "2 0.2 12", "4 0.4 18", ""),
    "gemini-3.1-flash-lite": (65_536, True, None, "0.25 0.025 1.5 0.5 0.05", "", ""),
    "gemini-3.1-flash-image": (65_536, True, None, "0.5 - 3 - - 60", "", ""),
    "gemini-3.5-flash": (65_536, True, None, "1.5 0.15 9", "", ""),
    "gemini-3.5-flash-lite": (65_536, True, None, "0.3 0.03 2.5", "", ""),
    "gemini-3.8-flash-tts": (16_384, False, None, "0.5 - 9", "", "0.9 - 16.2"),
    "gemini-3.8-flash-lite-tts": (16_384, False, None, "0.5 - 6", "", "0.9 - 10.8"),
    "gemini-embedding-001": (0, False, None, "0.15 - 0", "", ""),
    "gemini-embedding-2": (0, False, None, "0.2 - 0", "", ""),
}


def _model(name: str) -> Model:
    most, thinks, budgets, short, long, priority = _TABLE[name]
    tiers = {"standard": _rates(short), "flex": _rates(short, 500)}
    if priority:
        tiers["priority"] = _rates(priority)
    longs = {"standard": _rates(long), "flex": _rates(long, 500)} if long else {}
    return Model(tiers, longs, most, thinks, budgets)


MODELS: dict[str, Model] = {name: _model(name) for name in _TABLE}


def cost(model: str, tier: str, prompt: int, output: int, **kinds: int) -> int:
    """What one call costs, in nano-USD, rounded up once.

    `kinds` are tokens: `cached`, `audio`, `cached_audio` (parts of `prompt`), `tool_use` (beside
    it), `images` (part of `output`); and `searches`, by the request. Raises KeyError for an
    unknown model or tier.
    """
    known, of = MODELS[model], dict.fromkeys(_KINDS, 0) | kinds
    row = known.tiers[tier]
    if prompt > LONG_CONTEXT:
        row = known.long_tiers.get(tier, row)
    fresh_audio = of["audio"] - of["cached_audio"]
    picos = (
        (prompt - of["cached"] - fresh_audio + of["tool_use"]) * row.text
        + (of["cached"] - of["cached_audio"]) * row.cached
        + fresh_audio * row.audio
        + of["cached_audio"] * row.cached_audio
        + (output - of["images"]) * row.output
        + of["images"] * row.image_output
    )
    return -(-picos // 1_000) + (SEARCH_NANOS if of["searches"] else 0)


_KINDS = ("cached", "audio", "cached_audio", "tool_use", "images", "searches")
