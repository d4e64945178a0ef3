"""What the price library does not know, as data: output limits, context windows, service tiers,
hosted tools' fees, missing audio rates, regional uplifts.

Gathered from the providers' documentation and their SDKs up to 2026-11. Every figure errs on the
side that costs more: a limit that is too high makes a hold larger, one that is too low would make
it too small.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

#: our names of the providers and the price library's
PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "groq": "groq",
    "xai": "x-ai",
    "gemini": "google",
    "mistral": "mistral",
}


class Limits(NamedTuple):
    """Tokens: the most that one answer has, and all that a model takes in; None: not known."""

    max_output: int | None
    context_window: int | None


#: by the beginning of the model's id; the longest that fits counts
LIMITS: dict[str, dict[str, Limits]] = {
    "openai": {
        "gpt-3.5": Limits(4_096, 16_385),
        "ft:gpt-3.5": Limits(4_096, 16_385),
        "gpt-3.5-turbo-16k": Limits(16_384, 16_385),
        "gpt-4": Limits(8_192, 8_192),
        "gpt-4-32k": Limits(32_768, 32_768),
        "gpt-4-turbo": Limits(4_096, 128_000),
        "gpt-4-vision": Limits(4_096, 128_000),
        "gpt-4o": Limits(16_384, 128_000),
        "ft:gpt-4o": Limits(16_384, 128_000),
        "gpt-4o:extended": Limits(65_536, 128_000),
        "gpt-4o-transcribe": Limits(2_000, 16_000),
        "gpt-4o-mini-transcribe": Limits(2_000, 16_000),
        "gpt-4o-realtime": Limits(4_096, 128_000),
        "gpt-4o-mini-realtime": Limits(4_096, 128_000),
        "chatgpt-4o": Limits(16_384, 128_000),
        "gpt-4.1": Limits(32_768, 1_047_576),
        "gpt-4.5": Limits(16_384, 128_000),
        "gpt-5": Limits(128_000, 400_000),
        "gpt-5-pro": Limits(272_000, 400_000),
        "gpt-5.4": Limits(128_000, 1_050_000),
        "gpt-5.5": Limits(128_000, 1_050_000),
        "gpt-5.6": Limits(128_000, 1_050_000),
        "gpt-6": Limits(128_000, 1_050_000),
        "gpt-chat-latest": Limits(128_000, 1_050_000),
        "gpt-audio": Limits(16_384, 128_000),
        "gpt-realtime": Limits(32_000, 128_000),
        "gpt-realtime-2": Limits(32_000, 128_000),
        "gpt-oss": Limits(131_072, 131_072),
        "codex-mini": Limits(100_000, 200_000),
        "computer-use": Limits(16_384, 128_000),
        "o1": Limits(100_000, 200_000),
        "o1-mini": Limits(65_536, 128_000),
        "o1-preview": Limits(32_768, 128_000),
        "o3": Limits(100_000, 200_000),
        "o4-mini": Limits(100_000, 200_000),
        "davinci-002": Limits(16_384, 16_384),
        "babbage-002": Limits(16_384, 16_384),
    },
    "anthropic": {
        "claude-2": Limits(4_096, 200_000),
        "claude-3": Limits(8_192, 200_000),
        "claude-3-7-sonnet": Limits(128_000, 200_000),
        "claude-haiku-4-5": Limits(64_000, 200_000),
        "claude-haiku-5": Limits(128_000, 1_000_000),
        "claude-opus-4-0": Limits(32_000, 200_000),
        "claude-opus-4-1": Limits(32_000, 200_000),
        "claude-opus-4-5": Limits(64_000, 200_000),
        "claude-opus": Limits(128_000, 1_000_000),
        "claude-sonnet-4": Limits(128_000, 1_000_000),
        "claude-sonnet-5": Limits(128_000, 1_000_000),
        "claude-fable": Limits(128_000, 1_000_000),
        "claude-mythos": Limits(128_000, 1_000_000),
    },
    "groq": {
        "openai/gpt-oss": Limits(131_072, 131_072),
        "groq/compound": Limits(8_192, 131_072),
        "compound-beta": Limits(8_192, 131_072),
        "llama-3.3-70b-versatile": Limits(131_072, 131_072),
        "llama-3.1-8b-instant": Limits(131_072, 131_072),
    },
    "xai": {
        "grok-4.6": Limits(500_000, 500_000),
        "grok-4.7": Limits(500_000, 500_000),
        "grok-4.5": Limits(500_000, 500_000),
        "grok-4.3": Limits(1_000_000, 1_000_000),
    },
    "gemini": {
        "gemini-1.5": Limits(8_192, 2_097_152),
        "gemini-2.0": Limits(65_536, 1_048_576),
        "gemini-2.5": Limits(65_536, 1_048_576),
        "gemini-3": Limits(65_536, 1_048_576),
        "gemini-4": Limits(65_536, 1_048_576),
    },
}


def limits_of(provider: str, model: str) -> Limits:
    """The limits of a model by its id; both None where it has none here."""
    known = LIMITS.get(provider, {})
    fitting = [start for start in known if model.startswith(start)]
    return known[max(fitting, key=len)] if fitting else Limits(None, None)


#: other names of service tiers that mean the same price
TIER_ALIASES: dict[str, dict[str, str]] = {
    "openai": {"standard": "default", "scale": "default", "fast": "priority"},
    "anthropic": {"standard": "default", "standard_only": "default"},
    "groq": {"standard": "default", "on_demand": "default"},
    "xai": {"standard": "default", "standard_only": "default"},
    "gemini": {"standard": "default"},
}


class TierRule(NamedTuple):
    """A service tier of a provider that the price list may lack: its rates as thousandths of the
    default ones, for models whose id begins with one of `models`."""

    name: str
    thousandths: int
    models: tuple[str, ...] = ("",)


#: where the price list has a tier itself, that counts. Flex is priced without its discount and
#: priority at the dearest factor of any model (gpt-5.5's), as it is not known for these models.
#: Anthropic's priority is capacity that was bought beforehand: no call in it has its own price.
TIER_RULES: dict[str, tuple[TierRule, ...]] = {
    "anthropic": (TierRule("priority", 1000),),
    "openai": (
        TierRule("flex", 1000),
        TierRule("priority", 2500),
        TierRule("ultrafast", 6000, ("gpt-5.6", "gpt-6")),
    ),
    # ai.google.dev/gemini-api/docs/optimization: flex 50 % off, priority 75 to 100 % more
    # console.groq.com/docs/flex-processing: at the on-demand price, when there is room
    "groq": (TierRule("flex", 1000),),
    "gemini": (TierRule("flex", 500), TierRule("priority", 2000)),
}

#: a write to the cache that is kept for 12 hours, as thousandths of the input rate, for models
#: that price writes at all
LONG_WRITE_THOUSANDTHS = {"openai": 2500}

#: hosted tools, nanos a call: the dearest that the provider asks for any model
FEES: dict[str, dict[str, int]] = {
    "openai": {
        "web_search": 10_000_000,
        "web_search_preview": 25_000_000,
        "file_search": 2_500_000,
        # where code runs, by its memory: for a session of 20 minutes
        "container 1g": 30_000_000,
        "container 4g": 120_000_000,
        "container 16g": 480_000_000,
        "container 64g": 1_920_000_000,
    },
    "anthropic": {"web_search": 10_000_000, "web_fetch": 0},
    # what of groq/compound is billed by the call; the dearer of its two kinds of search
    "groq": {"web_search": 8_000_000, "visit_website": 1_000_000},
    "xai": {
        "web_search": 5_000_000,
        "x_search": 5_000_000,
        "code_execution": 5_000_000,
        "attachment_search": 10_000_000,
        "collections_search": 2_500_000,
    },
    "gemini": {"web_search": 35_000_000},
}

#: rates that the price library lacks, nano-USD per million tokens
MISSING_RATES: dict[tuple[str, str], dict[str, int]] = {
    ("openai", "gpt-4o-audio-preview"): {
        "input_audio": 40_000_000_000,
        "output_audio": 80_000_000_000,
    },
    ("openai", "gpt-4o-mini-audio-preview"): {
        "input_audio": 10_000_000_000,
        "output_audio": 20_000_000_000,
    },
}

#: models that are billed by the image, nanos each: by quality and size as they are asked for.
#: Retired in 2026-05; some still speak their names.
BY_PIECE: dict[str, dict[str, dict[str, int]]] = {
    "openai": {
        "dall-e-2": {
            "image standard 256x256": 16_000_000,
            "image standard 512x512": 18_000_000,
            "image standard 1024x1024": 20_000_000,
        },
        "dall-e-3": {
            "image standard 1024x1024": 40_000_000,
            "image standard 1024x1792": 80_000_000,
            "image standard 1792x1024": 80_000_000,
            "image hd 1024x1024": 80_000_000,
            "image hd 1024x1792": 120_000_000,
            "image hd 1792x1024": 120_000_000,
        },
    }
}

#: providers whose list has a rate for sound only where it is not that of text
SOUND_AS_TEXT = ("gemini",)

#: systems that answer by several models, each billed for its part: those it may call by itself
_COMPOUND = (
    "openai/gpt-oss-120b",
    "openai/gpt-oss-20b",
    "llama-3.3-70b-versatile",
    "meta-llama/llama-4-scout-17b-16e-instruct",
    "meta-llama/llama-4-maverick-17b-128e-instruct",
    "qwen/qwen3-32b",
)
SYSTEMS: dict[str, dict[str, tuple[str, ...]]] = {
    "groq": {
        "groq/compound": _COMPOUND,
        "groq/compound-mini": _COMPOUND,
        "compound-beta": _COMPOUND,
        "compound-beta-mini": _COMPOUND,
    }
}

#: models that are known to be free, by the beginning of their names
FREE: dict[str, tuple[str, ...]] = {"openai": ("omni-moderation-", "text-moderation-")}


def uplift_thousandths(provider: str, base_url: str) -> int:
    """What a provider's regional address costs more, as thousandths of the usual rates."""
    host = urlsplit(base_url).hostname or ""
    regional = {"openai": ".api.openai.com", "xai": ".api.x.ai"}.get(provider)
    return 1100 if regional and host.endswith(regional) else 1000
