"""`agentwatch prices`: what a model costs, and where that comes from. Needs no daemon."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentwatch.errors import AgentWatchError, UsageError
from agentwatch_cli.output import Column, emit_json, emit_rows, harmless, note, say

if TYPE_CHECKING:
    from agentwatch.core.price_book import Band, ModelPrice, PriceBook, Rates

Provider = Annotated[str | None, typer.Option(metavar="NAME", help="Of this provider only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

#: figures that are no money
TOKEN_COUNTS = ("max_output_tokens", "context_window")
#: what a listing shows of a price
SHOWN_RATES = ("input", "cached_input", "cache_write", "output")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    prices = typer.Typer(help="What a model costs, and where that comes from.")
    prices.command("ls")(ls)
    prices.command("show")(show)
    prices.command("check")(check)
    app.add_typer(prices, name="prices")


def ls(provider: Provider = None, json: AsJson = False) -> None:
    """List the prices that are known."""
    book = _book()
    listed = [price for _, price in _listed(book, _known_provider(provider))]
    if json:
        emit_json({"prices": [price_json(price) for price in listed]})
        return
    emit_rows(
        [
            Column("provider"),
            Column("model"),
            *(Column(f"{unit.replace('_', ' ')} $/M", right=True) for unit in SHOWN_RATES),
            Column("max output", right=True, spare=1),
            Column("source", spare=2),
        ],
        [_row(price) for price in listed],
        empty="no prices",
    )


def show(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="gpt-4o, or openai/gpt-4o.")],
    provider: Provider = None,
    json: AsJson = False,
) -> None:
    """Show one model's price in every service tier."""
    named = _known_provider(provider)
    try:
        price = _find(_book(), model, named)
    except NotPriced as error:
        note(str(error))
        _show_sample(model, named)
        raise typer.Exit(1) from None
    if json:
        emit_json(price_json(price))
        return
    say(f"{price.provider}/{price.model}  (USD per million tokens; from {price.source})")
    emit_rows(
        [Column("service tier"), Column("input over", right=True), *_rate_columns(price)],
        list(_tier_rows(price)),
    )
    for line in _facts(price):
        say(line)


def check(
    against: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Compare with another edition of genai-prices: its wheel, its folder or data.py.",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Tell what is not priced, what is by a rule of ours, and what another price list would change.

    Uses no network: `pip download --no-deps genai-prices` gets the newest to compare with.
    """
    book = _book()
    found = _checked(book)
    if against is not None:
        found |= {"against": against, "changes": _changes(book, against)}
    if json:
        emit_json(found)
        return
    if against is not None:
        _show_changes(found["changes"], against)
    say(f"version: {found['version']}")
    say(f"priced: {found['priced']} models; not priced: {len(found['unpriced'])}")
    ceiling = found["unknown_usd_per_mtok"]
    say(
        "unknown models: refused ([prices] unknown_usd_per_mtok is not set)"
        if ceiling is None
        else f"unknown models: held and charged at {ceiling} USD per million tokens"
    )
    emit_rows(
        [Column("not priced"), Column("why")],
        [(f"{row['provider']}/{row['model']}", row["why"]) for row in found["unpriced"]],
        empty="every listed model is priced",
    )
    emit_rows(
        [Column("by a rule of ours"), Column("models", right=True)],
        _rule_counts(found["by_rule"]),
        empty="nothing is priced by a rule of ours",
    )


def _changes(book: PriceBook, against: str) -> list[dict[str, Any]]:
    """What the list at `against` would change, in USD; counts of tokens as they are."""
    import time
    from pathlib import Path

    from agentwatch.core.money import to_usd
    from agentwatch.pricing.against import catalogue_at, changes

    def shown(figure: int | None, what: str) -> float | int | None:
        return figure if figure is None or what in TOKEN_COUNTS else to_usd(figure)

    theirs = catalogue_at(Path(against), time.time())
    return [
        {
            "provider": each.provider,
            "model": each.model,
            "what": each.what,
            "was": shown(each.was, each.what),
            "now": shown(each.now, each.what),
        }
        for each in changes(book.catalogue, theirs)
    ]


def _show_changes(found: list[dict[str, Any]], against: str) -> None:
    columns = [Column("changes"), Column("what"), Column("was", right=True)]
    emit_rows(
        [*columns, Column("now", right=True)],
        [
            (f"{row['provider']}/{row['model']}", row["what"], *map(_or_none, _both(row)))
            for row in found
        ],
        empty=f"{against} changes nothing",
    )


def _both(row: dict[str, Any]) -> tuple[Any, Any]:
    return row["was"], row["now"]


def _or_none(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:,.10g}"


def price_json(price: ModelPrice) -> dict[str, Any]:
    """A price as the JSON shows it; a unit without a rate is null, as it is not priced."""
    from agentwatch.core.money import to_usd
    from agentwatch.core.price_book import ANY_TIER, DEFAULT_TIER

    standard = price.tiers.get(DEFAULT_TIER) or price.tiers[ANY_TIER]
    return {
        "provider": price.provider,
        "model": price.model,
        "source": price.source,
        "rules": list(price.rules),
        **_bands_json(standard),
        "service_tiers": {
            name: _bands_json(bands) | {"by_rule": name in price.ruled_tiers}
            for name, bands in price.tiers.items()
        },
        "tool_fees_usd": {name: to_usd(nanos) for name, nanos in price.fees.items()},
        "fees_are_per": dict(price.per),
        "max_output_tokens": price.max_output_tokens,
        "context_window": price.context_window,
    }


def _bands_json(bands: tuple[Band, ...]) -> dict[str, Any]:
    first, *rest = bands
    longer = [{"above_input_tokens": band.above, **_rates_json(band.rates)} for band in rest]
    return {**_rates_json(first.rates), "long_context": longer}


def _rates_json(rates: Rates) -> dict[str, float | None]:
    from agentwatch.core.money import to_usd

    return {
        f"{unit}_usd_per_mtok": None if (rate := getattr(rates, unit)) is None else to_usd(rate)
        for unit in rates.__struct_fields__
    }


def _book() -> PriceBook:
    from agentwatch.pricing import load_book
    from agentwatch.settings import load_settings

    settings = load_settings()
    book = load_book(
        settings.paths.cache_dir,
        settings.paths.prices_file,
        upstreams={name: settings.upstream(name) for name in settings.provider_names},
    )
    return book.with_unknown(settings.prices.unknown_nanos_per_mtok)


def _names() -> tuple[str, ...]:
    from agentwatch.settings import load_settings

    return load_settings().provider_names


def _known_provider(name: str | None) -> str | None:
    known = _names()
    if name is not None and name not in known:
        raise UsageError(f"no provider {name}: one of {', '.join(known)}")
    return name


def _listed(book: PriceBook, provider: str | None) -> Iterator[tuple[str, ModelPrice]]:
    """Each model once: the user's own price hides the one behind it."""
    seen = set()
    for name, entry in book.entries(provider):
        if entry.price is not None and (name, entry.model) not in seen:
            seen.add((name, entry.model))
            yield name, entry.price


def _find(book: PriceBook, model: str, provider: str | None) -> ModelPrice:
    found = _candidates(book, model, provider)
    real = [price for price in found if price.source != "ceiling price"] or found[:1]
    if len(real) > 1:
        names = ", ".join(price.provider for price in real)
        raise UsageError(f"{model} has a price at {names}: say which with --provider")
    if not real:
        raise NotPriced(_not_priced(book, model, provider))
    return real[0]


def _candidates(book: PriceBook, model: str, provider: str | None) -> list[ModelPrice]:
    names = [provider] if provider else list(_names())
    found = [price for name in names if (price := book.find(name, model)) is not None]
    first, _, rest = model.partition("/")
    if rest and first in names and all(price.source == "ceiling price" for price in found):
        price = book.find(first, rest)
        return [price] if price is not None else found
    return found


class NotPriced(AgentWatchError):
    """No price is known of this model."""


def _show_sample(model: str, provider: str | None) -> None:
    """Where a price of one's own goes, and how it is written: to be copied."""
    from json import dumps

    from agentwatch.settings import load_settings

    first, _, rest = model.partition("/")
    if rest and first in _names():
        provider, model = first, rest
    file = load_settings().paths.prices_file
    note(f"a price in {file} is written so, and counts from `agentwatch restart` on:")
    # a key of TOML is quoted as JSON's text is
    table = f"[{provider or 'openai'}.{dumps(model)}]"
    for line in (table, "input = 1.0    # USD per million tokens", "output = 4.0"):
        sys.stderr.write(harmless(line) + "\n")


def _not_priced(book: PriceBook, model: str, provider: str | None) -> str:
    why = [line.why_unpriced for _, line in book.entries(provider) if line.model == model]
    if why and why[0]:
        return f"{model} is not priced: {why[0]}"
    near = book.nearest(model, provider, most=3)
    meant = f" (did you mean {', '.join(near)}?)" if near else ""
    return (
        f"{model} is not priced{meant}: calls to it are refused. Give it a price in prices.toml, "
        "or a ceiling price to all unknown models with [prices] unknown_usd_per_mtok"
    )


def _row(price: ModelPrice) -> tuple[str, ...]:
    rates = next(iter(price.tiers.values()))[0].rates
    limit = price.max_output_tokens
    return (
        price.provider,
        price.model,
        *(_usd(getattr(rates, unit)) for unit in SHOWN_RATES),
        "-" if limit is None else f"{limit:,}",
        price.source,
    )


def _rate_columns(price: ModelPrice) -> list[Column]:
    return [Column(unit.replace("_", " "), right=True) for unit in _units(price)]


def _units(price: ModelPrice) -> list[str]:
    """The units that this model has a rate for anywhere."""
    bands = [band for bands in price.tiers.values() for band in bands]
    fields = bands[0].rates.__struct_fields__
    return [unit for unit in fields if any(getattr(b.rates, unit) is not None for b in bands)]


def _tier_rows(price: ModelPrice) -> Iterator[tuple[str, ...]]:
    units = _units(price)
    for name, bands in price.tiers.items():
        shown = "any" if name == "*" else name + (" (rule)" if name in price.ruled_tiers else "")
        for band in bands:
            over = "" if band.above < 0 else f"{band.above:,}"
            yield (shown, over, *(_usd(getattr(band.rates, unit)) for unit in units))


def _facts(price: ModelPrice) -> Iterator[str]:
    from agentwatch.core.money import usd_text

    limit, window = price.max_output_tokens, price.context_window
    yield f"most output: {f'{limit:,} tokens' if limit else 'not known'}"
    yield f"context window: {f'{window:,} tokens' if window else 'not known'}"
    for name, nanos in price.fees.items():
        per = price.per.get(name)
        yield f"{name}: ${usd_text(nanos)} {'a call' if per is None else f'for {per:,}'}"
    if price.rules:
        yield f"by rules of ours: {'; '.join(price.rules)}"


def _usd(nanos: int | None) -> str:
    from agentwatch.core.money import usd_text

    return "-" if nanos is None else usd_text(nanos)


def _checked(book: PriceBook) -> dict[str, Any]:
    from agentwatch.core.money import to_usd

    ceiling = book.unknown_nanos_per_mtok
    listed = list(_listed(book, None))
    return {
        "version": book.version,
        "stale_at": book.stale_at,
        "unknown_usd_per_mtok": None if ceiling is None else to_usd(ceiling),
        "priced": len(listed),
        "unpriced": [
            {"provider": name, "model": line.model, "why": line.why_unpriced}
            for name, line in book.entries()
            if line.price is None and not _priced_otherwise(book, name, line.model)
        ],
        "by_rule": [
            {"provider": name, "model": price.model, "rules": list(price.rules)}
            for name, price in listed
            if price.rules
        ],
    }


def _priced_otherwise(book: PriceBook, provider: str, model: str) -> bool:
    price = book.find(provider, model)
    return price is not None and price.source != "ceiling price"


def _rule_counts(by_rule: list[dict[str, Any]]) -> list[tuple[str, str]]:
    from collections import Counter

    counts = Counter(f"{row['provider']}: {rule}" for row in by_rule for rule in row["rules"])
    return [(rule, str(count)) for rule, count in sorted(counts.items())]
