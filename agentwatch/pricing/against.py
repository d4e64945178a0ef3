"""Another edition of the price list, and what it would change: nothing of it is run.

Given is a wheel of genai-prices, the folder that it was unpacked into, or its `data.py`. That file
is read as the literal that it is: calls of the library's own types with constants, nothing else.
"""

from __future__ import annotations

import ast
import datetime
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from agentwatch.core.price_book import Catalogue, ModelPrice
from agentwatch.errors import UsageError
from agentwatch.pricing.compile import compile_catalogue

_DATA = "genai_prices/data.py"
_MOST_BYTES = 64 << 20


class Change(NamedTuple):
    """What differs in one model: `was` and `now` are nanos (USD per million tokens, or a fee), or
    counts of tokens; None: not there."""

    provider: str
    model: str
    what: str
    was: int | None
    now: int | None


def catalogue_at(path: Path, now: float) -> Catalogue:
    """The catalogue that the price list at `path` makes, by our rules, at `now` (seconds since
    1970). Raises UsageError for what is no such list."""
    try:
        providers = list(_providers(path))
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise UsageError(f"{path} can't be read: {error}") from None
    except (ValueError, SyntaxError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} is no price list of genai-prices: {error}") from None
    return compile_catalogue(providers, source=path.name, version=path.name, now=now)


def changes(ours: Catalogue, theirs: Catalogue) -> list[Change]:
    """What differs from ours to theirs, model by model."""
    found = []
    for provider in theirs.entries:
        old, new = _facts(ours, provider), _facts(theirs, provider)
        for model, what in dict.fromkeys((*old, *new)):
            was, now = old.get((model, what)), new.get((model, what))
            if was != now:
                found.append(Change(provider, model, what, was, now))
    return found


def _facts(catalogue: Catalogue, provider: str) -> dict[tuple[str, str], int]:
    """Every figure of a provider, under its model and name; of two lines of a model the first."""
    facts: dict[tuple[str, str], int] = {}
    for entry in reversed(catalogue.entries.get(provider, ())):
        if entry.price is not None:
            facts |= {(entry.model, what): figure for what, figure in _figures(entry.price)}
    return facts


def _figures(price: ModelPrice) -> Iterator[tuple[str, int]]:
    for tier, bands in price.tiers.items():
        for band in bands:
            above = f" above {band.above:,}" if band.above >= 0 else ""
            for unit in band.rates.__struct_fields__:
                rate = getattr(band.rates, unit)
                if rate is not None:
                    yield f"{tier} {unit}{above}", rate
    for name, nanos in price.fees.items():
        yield f"fee {name}", nanos
    for name in ("max_output_tokens", "context_window"):
        if (size := getattr(price, name)) is not None:
            yield name, size


def _providers(path: Path) -> list[Any]:
    if path.is_dir():
        file = next((path / part for part in (_DATA, "data.py") if (path / part).is_file()), None)
        if file is None:
            raise UsageError(f"{path} has no {_DATA}: give the wheel of genai-prices, or its data")
        return _of_python(_limited(file.read_bytes()))
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel, wheel.open(_DATA) as opened:
            return _of_python(_limited(opened.read(_MOST_BYTES + 1)))
    return _of_python(_limited(path.read_bytes()))


def _limited(content: bytes) -> bytes:
    if len(content) > _MOST_BYTES:
        raise ValueError(f"it is larger than {_MOST_BYTES >> 20} MiB")
    return content


def _of_python(content: bytes) -> list[Any]:
    for statement in ast.parse(content).body:
        if isinstance(statement, ast.AnnAssign | ast.Assign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            if ast.unparse(targets[0]) == "providers" and statement.value is not None:
                found = _literal(statement.value)
                return found if isinstance(found, list) else []
    raise ValueError("it names no providers")


def _literal(node: ast.expr) -> Any:
    """The value of an expression of constants and of the library's own types."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(each) for each in node.elts]
    if isinstance(node, ast.Set):
        return {_literal(each) for each in node.elts}
    if isinstance(node, ast.Dict):
        keys = [_literal(key) for key in node.keys if key is not None]
        return dict(zip(keys, map(_literal, node.values), strict=True))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_literal(node.operand)
    if ast.unparse(node) in ("datetime.UTC", "datetime.timezone.utc"):
        return datetime.UTC
    if isinstance(node, ast.Call):
        named = {each.arg: _literal(each.value) for each in node.keywords if each.arg}
        return _maker(ast.unparse(node.func))(*map(_literal, node.args), **named)
    raise ValueError(f"line {node.lineno} is no constant")


def _maker(name: str) -> Any:
    """A type of the library's by its name; no other is called."""
    from genai_prices import types

    plain = {"Decimal": Decimal, "datetime.date": datetime.date, "datetime.time": datetime.time}
    plain |= {"datetime.timezone": datetime.timezone, "datetime.timedelta": datetime.timedelta}
    if name in plain:
        return plain[name]
    made = getattr(types, name, None)
    if not isinstance(made, type) or made.__module__ != types.__name__:
        raise ValueError(f"{name[:40]!r} is none of the library's types")
    return made
