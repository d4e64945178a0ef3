"""The JSON objects that the people's door takes: an unknown field or a wrong type is told, never
ignored, as a ceiling that was misspelt would be no ceiling."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from agentwatch.core.money import parse_usd
from agentwatch.daemon.doors import read_body
from agentwatch.errors import UsageError
from agentwatch.sections import DoorsSettings

_LONGEST_TTL_S = 366 * 86_400.0
#: counts above this are mistakes, and not every parser reads them alike
_LARGEST_COUNT = 1 << 53


async def json_body(request: web.BaseRequest, settings: DoorsSettings) -> dict[str, Any]:
    """A request's JSON object; empty where it has no body. Raises UsageError, Refusal."""
    raw = await read_body(request, settings)
    if not raw.strip():
        return {}
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the body is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise UsageError("the body must be a JSON object")
    return body


def check_fields(body: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Raises UsageError for a field that is not known, with the nearest one that is."""
    for name in body:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            raise UsageError(f"unknown field {name[:60]!r}: {hint}")


def text(body: Mapping[str, Any], name: str) -> str | None:
    """Text; None where it is not given. Raises UsageError."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{name} must be text")
    return value


def texts(body: Mapping[str, Any], name: str) -> list[str]:
    """A list of texts; empty where it is not given. Raises UsageError."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise UsageError(f"{name} must be a list of texts")
    return value


def boolean(body: Mapping[str, Any], name: str) -> bool | None:
    """True or false; None where it is not given. Raises UsageError."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise UsageError(f"{name} must be true or false")
    return value


def money(body: Mapping[str, Any], name: str) -> int | None:
    """USD, as nanos; None where it is not given. Raises UsageError."""
    value = body.get(name)
    return None if value is None else parse_usd(value, name)


def seconds(body: Mapping[str, Any], name: str) -> float | None:
    """Seconds, above zero; None where it is not given. Raises UsageError."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"{name} must be a number of seconds")
    if not 0 < value <= _LONGEST_TTL_S:
        raise UsageError(f"{name} must be above zero and at most a year")
    return float(value)


def count(body: Mapping[str, Any], name: str) -> int | None:
    """A whole number, zero or more; None where it is not given. Raises UsageError."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_COUNT:
        raise UsageError(f"{name} must be a whole number, zero or more")
    return value
