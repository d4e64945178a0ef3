"""Models that are billed by the piece: which they are, and the dearest of several prices."""

from __future__ import annotations

from decimal import Decimal

import pytest

from agentwatch.core.price_book import Unpriced
from agentwatch.pricing import own_rules
from agentwatch.pricing.by_piece import images, is_billed_so, priced, usd_to_nanos


def test_a_model_with_any_rate_for_tokens_is_not_billed_by_the_piece() -> None:
    assert is_billed_so([{"audio_hours": Decimal(1)}])
    assert not is_billed_so([{"audio_hours": Decimal(1), "input_mtok": Decimal(1)}])
    assert not is_billed_so([{"audio_hours": Decimal(1)}, {}])
    assert not is_billed_so([])


def test_of_two_prices_the_dearer_counts() -> None:
    price = priced("openai", "m", [{"audio_hours": Decimal(1)}, {"audio_hours": Decimal(2)}], "s")
    assert price.piece_cost("audio_ms", 3_600_000) == 2_000_000_000
    assert not price.by_tokens


def test_a_part_of_a_nano_is_one() -> None:
    price = priced("groq", "m", [{"audio_hours": Decimal("0.111")}], "s")
    assert price.piece_cost("audio_ms", 1) == 31
    assert usd_to_nanos(Decimal("0.0000000001")) == 1


def test_a_piece_without_a_fee_is_not_free() -> None:
    (entry, *_) = images("openai")
    assert entry.price is not None
    with pytest.raises(Unpriced):
        entry.price.piece_cost("image hd 9x9", 1)


def test_every_size_has_its_price() -> None:
    assert len(list(images("openai"))) == len(own_rules.BY_PIECE["openai"])
    assert list(images("xai")) == []
