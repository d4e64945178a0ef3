"""Gemini's bill, reckoned by hand."""

from __future__ import annotations

import pytest

from agentwatch.core.prices import cost
from agentwatch.core.usage import Usage
from agentwatch.pricing import load_book
from agentwatch.standin.gemini_prices import MODELS
from agentwatch.standin.gemini_prices import cost as billed

BOOK = load_book(None)


def test_sound_and_text_have_their_own_rates() -> None:
    # 100 fresh text at 0.3, 40 cached text at 0.03, 20 fresh sound at 1, 10 cached at 0.1, 8 at 2.5
    nanos = billed("gemini-2.5-flash", "standard", 170, 8, cached=50, audio=30, cached_audio=10)
    assert nanos == 30_000 + 1_200 + 20_000 + 1_000 + 20_000


def test_all_of_a_long_prompt_is_dearer() -> None:
    assert billed("gemini-2.5-pro", "standard", 200_000, 1) == 250_010_000
    assert billed("gemini-2.5-pro", "standard", 200_001, 1) == 500_017_500


def test_a_search_is_billed_once() -> None:
    with_searches = billed("gemini-2.5-flash", "standard", 1_000, 0, searches=3)
    assert with_searches == 300_000 + 35_000_000


def test_images_have_their_own_rate() -> None:
    assert billed("gemini-2.5-flash-image", "standard", 0, 1_290, images=1_290) == 38_700_000


def test_a_part_of_a_nano_is_rounded_up_once() -> None:
    assert billed("gemini-3.5-flash-lite", "flex", 1, 0, cached=1) == 15
    assert billed("gemini-2.5-flash-lite", "flex", 1, 0, cached=1) == 5
    assert billed("gemini-3.1-flash-lite", "flex", 1, 0, cached=1) == 13


@pytest.mark.parametrize("name", sorted(MODELS))
def test_both_price_tables_say_the_same(name: str) -> None:
    price = BOOK.find("gemini", name)
    assert price is not None
    makes_images = "image" in name
    for tier in MODELS[name].tiers:
        for prompt in (1, 1_000, 200_000, 200_001):
            cached, audio = (0, 0) if makes_images else (prompt // 3, prompt // 4)
            cached = 0 if MODELS[name].max_output == 0 or "tts" in name else cached
            audio = 0 if MODELS[name].max_output == 0 else audio
            output = 333 if MODELS[name].max_output else 0
            usage = Usage(
                input_tokens=prompt,
                cached_input_tokens=cached,
                input_audio_tokens=audio,
                output_tokens=output,
                output_media_tokens=200 if makes_images else 0,
                by_kind=True,
            )
            images = 200 if makes_images else 0
            kinds = {"cached": cached, "audio": audio, "images": images}
            assert cost(price, usage, tier) == billed(name, tier, prompt, output, **kinds)
