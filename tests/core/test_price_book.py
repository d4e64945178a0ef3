"""Finding a price by a name."""

from __future__ import annotations

import msgspec

from agentwatch.core.naming import Clause, equals
from agentwatch.core.price_book import (
    LONGEST_NAME,
    REMEMBERED_NAMES,
    Band,
    Catalogue,
    Entry,
    ModelPrice,
    PriceBook,
    Rates,
)


def priced(model: str, input_rate: int, clause: Clause | None = None) -> Entry:
    price = ModelPrice(
        provider="openai",
        model=model,
        tiers={"default": (Band(rates=Rates(input=input_rate, output=input_rate)),)},
        source="test",
    )
    return Entry(clause=clause or equals(model), model=model, price=price)


def book_of(*entries: Entry) -> PriceBook:
    return PriceBook(
        Catalogue(
            version="1",
            from_at=0.0,
            stale_at=None,
            entries={"openai": entries},
            fees={"openai": {"web_search": 10_000_000}},
        )
    )


def test_a_name_is_found_in_any_case_and_with_a_compact_date() -> None:
    book = book_of(priced("gpt-5.2-2025-12-11", 1))
    assert book.find("openai", "GPT-5.2-2025-12-11") is not None
    assert book.find("openai", "gpt-5.2-20251211") is not None


def test_the_first_entry_that_means_a_name_counts() -> None:
    book = book_of(priced("mine", 1, equals("gpt")), priced("all", 2, Clause("starts_with", "g")))
    found = book.find("openai", "gpt")
    assert found is not None and found.model == "mine"


def test_an_unknown_model_has_no_price_and_another_provider_neither() -> None:
    book = book_of(priced("gpt", 1))
    assert book.find("openai", "gpt-2") is None
    assert book.find("groq", "gpt") is None
    assert book.find("openai", "") is None


def test_a_model_without_a_price_is_not_free() -> None:
    book = book_of(Entry(clause=equals("gemma"), model="gemma", why_unpriced="empty"))
    assert book.find("openai", "gemma") is None


def test_an_unpriced_line_hides_a_price_behind_it() -> None:
    loose = priced("all", 2, Clause("starts_with", "g"))
    book = book_of(Entry(clause=equals("gemma"), model="gemma", why_unpriced="empty"), loose)
    assert book.find("openai", "gemma") is None


def test_a_ceiling_price_covers_unknown_models_in_every_unit_and_says_what_it_is() -> None:
    book = book_of(priced("gpt", 1)).with_unknown(5_000)
    price = book.find("openai", "gpt-99")
    assert price is not None and price.source == "ceiling price"
    (band,) = price.tiers["*"]
    assert {getattr(band.rates, unit) for unit in Rates.__struct_fields__} == {5_000}
    assert price.fees == {"web_search": 10_000_000}
    known = book.find("openai", "gpt")
    assert known is not None and known.source == "test"


def test_a_model_that_is_billed_by_the_hour_has_no_ceiling_per_token() -> None:
    by_hour = Entry(clause=equals("live"), model="live", why_unpriced="hours", other_units=True)
    assert book_of(by_hour).with_unknown(5_000).find("openai", "live") is None


def test_twenty_thousand_made_up_names_do_not_stay_in_memory() -> None:
    book = book_of(priced("gpt", 1)).with_unknown(7)
    for number in range(20_000):
        book.find("openai", f"bogus-{number}")
    remembered = book._remembered.cache_info()
    assert remembered.currsize == remembered.maxsize == REMEMBERED_NAMES


def test_a_name_of_a_megabyte_is_not_even_remembered() -> None:
    book = book_of(priced("gpt", 1)).with_unknown(7)
    assert book.find("openai", "x" * (LONGEST_NAME + 1)) is None
    assert book._remembered.cache_info().currsize == 0


def test_a_name_that_is_like_none_or_has_no_price_is_suggested() -> None:
    book = book_of(priced("gpt-4o", 1), Entry(clause=equals("gpt-4p"), model="gpt-4p", price=None))
    assert book.nearest("GPT-4oo") == ["gpt-4o"]
    assert book.nearest("gpt-4oo", "anthropic") == []
    assert book.nearest("zzz") == []


def test_a_tools_fee_is_known_or_none_and_never_zero_for_want_of_it() -> None:
    book = book_of()
    assert book.fee("openai", "web_search") == 10_000_000
    assert book.fee("openai", "teleport") is None
    assert book.fee("groq", "web_search") is None


def test_a_catalogue_comes_back_from_json_as_it_went_in() -> None:
    catalogue = book_of(priced("gpt", 1)).catalogue
    assert msgspec.json.decode(msgspec.json.encode(catalogue), type=Catalogue) == catalogue
