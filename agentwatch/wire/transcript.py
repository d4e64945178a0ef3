"""The strings of a request or an answer, in any provider's wire: for who looks at what was said.

JSON's escapes hide where a word begins, and a stream cuts a word into events: so a body is read,
and what a stream says piece by piece is put together by the place where it is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from agentwatch.wire.sse import EventStream

#: a number of fewer digits is nothing that anybody looks for
_FEWEST_DIGITS = 7
#: events of one stream that is put together
_LARGEST_STREAM = 16 << 20
#: what a provider says piece by piece stands under these names; all else is said anew each time
_SAID = frozenset(
    {"content", "text", "delta", "arguments", "partial_json", "thinking", "reasoning", "refusal"}
    | {"reasoning_content", "input", "code", "summary"}
)
_PLACES = ("index", "output_index", "content_index", "item_id")


def said(raw: bytes) -> tuple[Any, list[str]]:
    """A body as `read` reads it, and its strings; one that is nested too deeply as its text."""
    try:
        value = read(raw)
        return value, strings(value)
    except RecursionError:
        text = _text(raw)
        return text, strings(text)


def read(raw: bytes) -> Any:
    """A body as a JSON value: its own; of a stream, an object of what was said by its place; of
    other text, that text. None for what is no text."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return _joined(_events(raw)) if _is_stream(raw) else _text(raw)
    if isinstance(value, list) and all(isinstance(each, dict) for each in value):
        return _joined(value)
    return value


def strings(value: Any) -> list[str]:
    """Every string and long number of a JSON value, keys included, in order."""
    found: list[str] = []

    def keep(text: str) -> str:
        found.append(text)
        return text

    rewritten(value, keep)
    return found


def rewritten(value: Any, change: Callable[[str], str]) -> Any:
    """The value with each string and long number changed, in the order of `strings`."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(str(key)): rewritten(each, change) for key, each in value.items()}
    if isinstance(value, list):
        return [rewritten(each, change) for each in value]
    if isinstance(value, (int, float)) and len(text := str(value)) >= _FEWEST_DIGITS:
        changed = change(text)
        return value if changed == text else changed
    return value


def _is_stream(raw: bytes) -> bool:
    return raw.lstrip()[:6] in (b"event:", b"data: ") or raw.lstrip()[:5] == b"data:"


def _events(raw: bytes) -> list[Any]:
    stream = EventStream(_LARGEST_STREAM)
    values = []
    for event in (*stream.feed(raw), *stream.close()):
        try:
            values.append(msgspec.json.decode(event.data or b""))
        except (msgspec.MsgspecError, RecursionError):
            continue
    return values


def _joined(values: Iterable[Any]) -> dict[str, str]:
    """What a stream's events say, each place's pieces put together."""
    said: dict[str, list[str]] = {}
    for value in values:
        if isinstance(value, dict):
            start = ".".join(str(value[name]) for name in _PLACES if name in value)
            _gather(value, start, said)
    return {place: "".join(pieces) for place, pieces in said.items()}


def _gather(value: Any, place: str, said: dict[str, list[str]]) -> None:
    if isinstance(value, dict):
        for name, each in value.items():
            _gather(each, f"{place}.{name}" if place else name, said)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            at = each.get("index", number) if isinstance(each, dict) else number
            _gather(each, f"{place}.{at}", said)
    elif isinstance(value, str):
        pieces = said.setdefault(place, [])
        if place.rpartition(".")[2] not in _SAID:
            pieces.clear()
        pieces.append(value)


def _text(raw: bytes) -> str | None:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
