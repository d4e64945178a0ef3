"""The catalogue that is made of genai-prices and our own rules."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentwatch.core.price_book import Catalogue, ModelPrice, PriceBook
from agentwatch.core.prices import Unpriced, cost
from agentwatch.core.usage import Usage
from agentwatch.pricing.compile import bundled_providers, compile_catalogue, uplifted

NOW = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
USD = 1_000_000_000


def compiled(now: float = NOW, providers: Any = None) -> Catalogue:
    return compile_catalogue(
        bundled_providers() if providers is None else providers,
        source="genai-prices",
        version="test",
        now=now,
    )


BOOK = PriceBook(compiled())


def find(model: str, provider: str = "openai") -> ModelPrice:
    price = BOOK.find(provider, model)
    assert price is not None, f"{model} has no price"
    return price


def fake(*models: Any) -> list[Any]:
    return [SimpleNamespace(id="openai", models=models)]


def model(id_: str, prices: Any, variants: Any = None, window: int | None = None) -> Any:
    return SimpleNamespace(
        id=id_,
        match=SimpleNamespace(equals=id_),
        prices=prices,
        price_variants=variants,
        context_window=window,
    )


def usd(**prices: str) -> Any:
    return SimpleNamespace(**{key: Decimal(value) for key, value in prices.items()})


def only(*models: Any, now: float = NOW) -> ModelPrice:
    price = PriceBook(compiled(now, fake(*models))).find("openai", models[0].id)
    assert price is not None
    return price


def test_all_five_providers_are_in() -> None:
    for provider, name in {
        "openai": "gpt-4o-mini",
        "anthropic": "claude-opus-5-5",
        "groq": "openai/gpt-oss-120b",
        "xai": "grok-4.7",
        "gemini": "gemini-2.5-pro",
    }.items():
        assert find(name, provider).source == "genai-prices"


def test_rates_are_exact_nanos() -> None:
    rates = find("gpt-4o-mini").tiers["default"][0].rates
    assert (rates.input, rates.cached_input, rates.output) == (150_000_000, 75_000_000, 600_000_000)


@pytest.mark.parametrize("name", ["gpt-4o-2024-08-06", "gpt-4o", "gpt-4o-2024-11-20"])
def test_dated_snapshots_are_the_model_they_are(name: str) -> None:
    assert find(name).model == "gpt-4o"


def test_the_dearer_first_snapshot_is_not_taken_for_its_successor() -> None:
    assert find("gpt-4o-2024-05-13").tiers["default"][0].rates.input == 5 * USD


@pytest.mark.parametrize(
    "name", ["ft:gpt-4-0613:me::1", "ft:gpt-4.1-2025-04-14:me::1", "ft:o4-mini:me", "ft:gpt-9"]
)
def test_a_fine_tuned_model_never_has_the_price_of_what_it_was_made_from(name: str) -> None:
    assert BOOK.find("openai", name) is None


def test_a_fine_tuned_model_with_a_price_of_its_own_has_that() -> None:
    price = find("ft:gpt-4o-2024-08-06:me::1")
    assert price.tiers["default"][0].rates.input == 3_750_000_000


@pytest.mark.parametrize("name", ["gpt-6.2-sol", "gpt-4o-2031-01-01", "gpt-99"])
def test_what_is_not_listed_is_not_priced(name: str) -> None:
    assert BOOK.find("openai", name) is None


def test_an_empty_price_is_unpriced_and_not_zero() -> None:
    assert BOOK.find("gemini", "gemma-3") is None
    for _, entry in BOOK.entries():
        if entry.price is not None and entry.price.source != "agentwatch":
            assert entry.price.tiers["default"][0].rates.input or entry.price.per, entry.model


@pytest.mark.parametrize(
    ("provider", "name", "piece", "count", "nanos"),
    [
        ("openai", "whisper-1", "audio_ms", 90_000, 9_000_000),
        ("openai", "gpt-transcribe", "audio_ms", 1_000, 75_000),
        ("openai", "tts-1", "characters", 4_096, 61_440_000),
        ("openai", "tts-1-hd", "characters", 1, 30_000),
        ("openai", "dall-e-3", "image hd 1024x1792", 2, 240_000_000),
        ("groq", "whisper-large-v3", "audio_ms", 3_600_000, 111_000_000),
        ("groq", "whisper-large-v3", "audio_ms", 1, 31),
    ],
)
def test_what_is_not_billed_by_tokens_is_billed_by_the_piece(
    provider: str, name: str, piece: str, count: int, nanos: int
) -> None:
    price = find(name, provider)
    assert not price.by_tokens
    assert cost(price, Usage(pieces={piece: count})) == nanos
    for usage in (Usage(input_tokens=1), Usage(output_tokens=1), Usage(pieces={"else": 1})):
        with pytest.raises(Unpriced):
            cost(price, usage)


def test_only_models_known_to_be_free_are_free() -> None:
    assert cost(find("omni-moderation-latest"), Usage(input_tokens=10**6)) == 0


def test_long_context_is_dearer_from_exactly_where_the_list_says() -> None:
    price = find("gpt-5.6-sol")
    assert cost(price, Usage(input_tokens=272_000)) == 272_000 * 4_000
    assert cost(price, Usage(input_tokens=272_001)) == 272_001 * 8_000
    grok = find("grok-4.7", "xai")
    assert cost(grok, Usage(input_tokens=199_999)) == 199_999 * 2_000
    assert cost(grok, Usage(input_tokens=200_000)) == 200_000 * 4_000


def test_a_twelve_hour_cache_write_costs_two_and_a_half_inputs() -> None:
    usage = Usage(input_tokens=1000, cache_write_long_tokens=1000)
    assert cost(find("gpt-5.6-sol"), usage) == 1000 * 10_000
    assert cost(find("gpt-5.6-sol"), usage, "priority") == 1000 * 20_000


def test_ultrafast_costs_six_times_where_it_exists_and_is_unpriced_elsewhere() -> None:
    usage = Usage(input_tokens=1000, output_tokens=10)
    sol = find("gpt-6.1-sol")
    assert cost(sol, usage, "ultrafast") == 6 * cost(sol, usage)
    with pytest.raises(Unpriced):
        cost(find("gpt-4o"), usage, "ultrafast")


def test_the_lists_own_tiers_count_before_our_rules() -> None:
    usage = Usage(input_tokens=1_000_000)
    assert cost(find("gpt-4o"), usage, "priority") == 4_250_000_000
    assert cost(find("gpt-5.5"), usage, "fast") == 12_500_000_000
    assert cost(find("gpt-5"), usage, "flex") == 625_000_000


def test_a_tier_that_only_a_rule_prices_is_not_cheaper_than_any_known_one() -> None:
    usage = Usage(input_tokens=1_000_000)
    nano = find("gpt-5-nano")
    assert "priority" in nano.ruled_tiers
    assert cost(nano, usage, "priority") == 125_000_000
    assert cost(find("gpt-4o"), usage, "flex") == cost(find("gpt-4o"), usage)


@pytest.mark.parametrize(
    ("provider", "name", "tier"),
    [("anthropic", "claude-sonnet-5", "fast"), ("xai", "grok-4.7", "priority")],
)
def test_an_anthropic_or_xai_tier_without_a_price_is_unpriced(
    provider: str, name: str, tier: str
) -> None:
    with pytest.raises(Unpriced):
        cost(find(name, provider), Usage(input_tokens=1), tier)


def test_capacity_that_was_bought_beforehand_is_priced_as_if_it_had_not_been() -> None:
    opus, usage = find("claude-opus-5-5", "anthropic"), Usage(input_tokens=7, output_tokens=5)
    assert cost(opus, usage, "priority") == cost(opus, usage, "standard") > 0
    assert "priority" in opus.ruled_tiers


def test_audio_has_a_rate_or_is_refused() -> None:
    audio = Usage(input_tokens=100, input_audio_tokens=100)
    assert cost(find("gpt-4o-audio-preview"), audio) == 100 * 40_000
    with pytest.raises(Unpriced):
        cost(find("gpt-4o"), audio)


def test_output_limits_of_the_main_models_are_known() -> None:
    limits = {
        "gpt-4o": 16_384,
        "gpt-4o-mini": 16_384,
        "gpt-4.1-nano": 32_768,
        "o3": 100_000,
        "gpt-5-mini": 128_000,
        "gpt-6-luna": 128_000,
        "gpt-3.5-turbo": 4_096,
        "gpt-4": 8_192,
        "gpt-4-turbo": 4_096,
    }
    assert {name: find(name).max_output_tokens for name in limits} == limits


def test_a_window_is_never_smaller_than_the_list_or_our_table_says() -> None:
    assert find("gpt-4.1").context_window == 1_047_576
    assert find("gpt-5.5").context_window == 1_050_000


def test_an_embeddings_window_does_not_bound_a_batch_of_them() -> None:
    assert find("text-embedding-3-small").context_window is None


def test_hosted_tools_have_the_models_own_fee() -> None:
    search = Usage(pieces={"web_search": 2})
    assert cost(find("gpt-4o"), search) == 20_000_000
    assert cost(find("gemini-3.5-flash", "gemini"), search) == 28_000_000
    assert BOOK.fee("gemini", "web_search") == 35_000_000


def test_the_book_says_when_its_prices_change_by_date() -> None:
    catalogue = compiled()
    assert catalogue.stale_at == datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    assert catalogue.from_at <= NOW
    later = PriceBook(compiled(catalogue.stale_at))
    now_, then = find("gemini-4-argon", "gemini"), later.find("gemini", "gemini-4-argon")
    assert then is not None
    assert cost(then, Usage(input_tokens=10)) == 2 * cost(now_, Usage(input_tokens=10))


def test_a_price_that_begins_tomorrow_is_not_in_force_today() -> None:
    prices = [
        SimpleNamespace(constraint=None, prices=usd(input_mtok="1", output_mtok="1")),
        SimpleNamespace(
            constraint=SimpleNamespace(start_date=date(2026, 11, 24)),
            prices=usd(input_mtok="2", output_mtok="2"),
        ),
    ]
    assert only(model("m", prices)).tiers["default"][0].rates.input == 1 * USD
    assert only(model("m", prices), now=NOW + 86_400).tiers["default"][0].rates.input == 2 * USD


def test_a_price_that_changes_by_the_hour_is_the_dearest_of_them() -> None:
    night = SimpleNamespace(start_time=time(0), end_time=time(6))
    prices = [
        SimpleNamespace(constraint=None, prices=usd(input_mtok="1", output_mtok="9")),
        SimpleNamespace(constraint=night, prices=usd(input_mtok="3", output_mtok="2")),
    ]
    rates = only(model("m", prices)).tiers["default"][0].rates
    assert (rates.input, rates.output) == (3 * USD, 9 * USD)


def test_a_discount_for_some_hours_is_not_counted_on() -> None:
    night = SimpleNamespace(start_time=time(0), end_time=time(6))
    variant = SimpleNamespace(
        when={"service_tier": "flex"}, prices=usd(input_mtok="0.1"), constraint=night
    )
    price = only(model("m", usd(input_mtok="1", output_mtok="1"), [variant]))
    assert price.tiers["flex"][0].rates.input == 1 * USD


def test_a_combination_of_conditions_is_left_unpriced() -> None:
    variant = SimpleNamespace(
        when={"service_tier": "nightly", "speed": "fast"},
        prices=usd(input_mtok="0.1"),
        constraint=None,
    )
    price = only(model("m", usd(input_mtok="1", output_mtok="1"), [variant]))
    assert set(price.tiers) == {"default", "flex", "priority"}


def test_a_unit_that_is_new_to_us_makes_its_model_unpriced() -> None:
    prices = usd(input_mtok="1", output_mtok="1", thought_mtok="5")
    assert PriceBook(compiled(NOW, fake(model("m", prices)))).find("openai", "m") is None


def test_a_fraction_of_a_nano_is_rounded_up() -> None:
    price = only(model("m", usd(input_mtok="0.0000000001", output_mtok="1")))
    assert price.tiers["default"][0].rates.input == 1


def test_a_region_costs_more_in_every_tier() -> None:
    book = PriceBook(uplifted(compiled(), "openai", 1100))
    for tier in ("default", "priority"):
        dearer = book.find("openai", "gpt-4o")
        assert dearer is not None
        usage = Usage(input_tokens=1_000_000)
        assert cost(dearer, usage, tier) * 10 == cost(find("gpt-4o"), usage, tier) * 11
    assert book.find("groq", "openai/gpt-oss-20b") == find("openai/gpt-oss-20b", "groq")


COMPARED = [
    ("openai", "openai", "gpt-4o"),
    ("openai", "openai", "gpt-4.1-mini"),
    ("openai", "openai", "o3"),
    ("openai", "openai", "gpt-5.5"),
    ("openai", "openai", "gpt-5.6-sol"),
    ("anthropic", "anthropic", "claude-sonnet-4-5"),
    ("xai", "x-ai", "grok-4.7"),
    ("gemini", "google", "gemini-2.5-pro"),
    ("groq", "groq", "openai/gpt-oss-120b"),
]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(COMPARED),
    st.integers(0, 400_000),
    st.integers(0, 400_000),
    st.integers(0, 130_000),
    st.sampled_from(["default", "priority", "flex"]),
)
def test_what_the_library_prices_we_price_alike(
    names: tuple[str, str, str], fresh: int, cached: int, output: int, tier: str
) -> None:
    from genai_prices import Usage as TheirUsage
    from genai_prices import calc_price

    ours, theirs, name = names
    price = find(name, ours)
    if tier not in price.tiers or tier in price.ruled_tiers:
        tier = "default"
    answer = calc_price(
        TheirUsage(input_tokens=fresh + cached, cache_read_tokens=cached, output_tokens=output),
        name,
        provider_id=theirs,
        genai_request_timestamp=datetime.fromtimestamp(NOW, tz=UTC),
        price_context={"service_tier": tier},
    )
    usage = Usage(input_tokens=fresh + cached, cached_input_tokens=cached, output_tokens=output)
    exact = answer.total_price * USD
    assert 0 <= cost(price, usage, tier) - exact < 1
