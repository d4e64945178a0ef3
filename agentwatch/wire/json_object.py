"""A request's JSON, read so that nobody downstream can read another request out of it.

The top level becomes a dict of raw values: of a duplicate key the last one wins, and only that
one is sent on. Nested values are sent on byte for byte, so where one of them bears on the price
it is parsed by `strict`, which refuses an object that has a key twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NoReturn

import msgspec
from msgspec import Raw

from agentwatch.errors import Refusal

Fields = dict[str, Raw]

#: integers that every JSON parser reads alike
LARGEST = 1 << 53
_OBJECT = msgspec.json.Decoder(Fields)
_TEXT = msgspec.json.Decoder(str)
_BOOLEAN = msgspec.json.Decoder(bool)
_WHOLE = re.compile(rb"[1-9][0-9]{0,15}")
_NOT_UTF8 = (
    (b"\xef\xbb\xbf", "a byte order mark"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
#: a run of escaped letters: two of them together may be one
_LETTERS = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")
_SHORT_ESCAPES = dict(zip('"/ntrbf', '"/\n\t\r\b\f', strict=True))
_BACKSLASH = re.compile(rb"\\")
_PIECE, _LONGEST_FIND = 256 << 10, 1 << 10
_TOO_DEEP = "the request body is nested too deeply"


def bad(message: str) -> NoReturn:
    """Raises the refusal of a request that can't be read."""
    raise Refusal("bad_request", message)


def read_object(body: bytes) -> Fields:
    """The top level of a request body. Raises Refusal("bad_request")."""
    _check_encoding(body)
    try:
        return _OBJECT.decode(body)
    except msgspec.ValidationError:
        bad("the request body is not a JSON object")
    except msgspec.DecodeError as error:
        bad(f"the request body is not JSON: {str(error).removeprefix('JSON is malformed: ')}")
    except RecursionError:
        bad(_TOO_DEEP)


def given(fields: Fields, key: str) -> Raw | None:
    """The raw value of a field; None where it is absent or null, which is the same to all."""
    raw = fields.get(key)
    # megabytes are not copied for it
    return None if raw is None or (len(memoryview(raw)) == 4 and bytes(raw) == b"null") else raw


def has(raw: Raw | bytes, pattern: re.Pattern[bytes]) -> bool:
    """Whether the pattern is found anywhere.

    For patterns without positive look-aheads whose finds are shorter than 1 KB, as all that are
    used here are. Where a negative look-ahead looks further than that, which in JSON takes a
    kilobyte of blanks, there may be a find too many, and never one too few.

    Megabytes are searched piece by piece and not copied: no other thread comes between the two
    ends of a search.
    """
    data = memoryview(raw)
    for start in range(0, len(data), _PIECE):
        found = pattern.search(data, start, start + _PIECE + _LONGEST_FIND)
        if found and found.start() < start + _PIECE:
            return True
    return False


def has_escape(raw: Raw | bytes, pattern: re.Pattern[bytes]) -> bool:
    """The same for a pattern that begins with a backslash: where there is none at all, as in
    pictures and sound, that is seen in a tenth of the time."""
    return has(raw, _BACKSLASH) and has(raw, pattern)


def _check_encoding(body: bytes) -> None:
    for mark, name in _NOT_UTF8:
        if body.startswith(mark):
            bad(f"the request body begins with {name}: send JSON in UTF-8")
    if body[:2].count(0):
        bad("the request body is UTF-16 or UTF-32: send JSON in UTF-8")
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            bad("the request body is not valid UTF-8")


def refuse_look_alikes(fields: Fields, priced: Iterable[str]) -> None:
    """Refuse a key that is a priced one in other letters ("Max_Tokens"): some parsers take it."""
    known = frozenset(priced)
    for key in fields:
        if key not in known and key.casefold() in known:
            bad(f"the field {key[:40]!a} must be written {key.casefold()!r}")


def whole(fields: Fields, key: str) -> int | None:
    """A count or limit: a whole number from 1 to 2^53; None where it is not set."""
    raw = given(fields, key)
    if raw is None:
        return None
    digits = bytes(raw)
    if _WHOLE.fullmatch(digits) and int(digits) <= LARGEST:
        return int(digits)
    bad(f"{key} must be a whole number of at least 1 (and at most 2^53)")


def text(fields: Fields, key: str) -> str | None:
    """A string; None where it is not set."""
    raw = given(fields, key)
    if raw is None:
        return None
    try:
        return _TEXT.decode(raw)
    except msgspec.DecodeError:
        bad(f"{key} must be a string")


def boolean(fields: Fields, key: str) -> bool:
    """True or false; False where it is not set."""
    raw = given(fields, key)
    if raw is None:
        return False
    try:
        return _BOOLEAN.decode(raw)
    except msgspec.DecodeError:
        bad(f"{key} must be true or false")


def strict(raw: Raw | bytes, name: str) -> Any:
    """A nested value, parsed whole. Raises Refusal("bad_request") for a key given twice."""
    try:
        return json.loads(bytes(raw), object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        bad(_TOO_DEEP)
    except ValueError as error:
        bad(f"{name} can't be read: {str(error)[:100]}")


def strict_object(fields: Fields, key: str) -> dict[str, Any]:
    """A nested object; empty where it is not set."""
    raw = given(fields, key)
    value = {} if raw is None else strict(raw, key)
    if not isinstance(value, dict):
        bad(f"{key} must be an object")
    return value


def strict_list(raw: Raw | bytes, name: str) -> list[dict[str, Any]]:
    """A nested list of objects."""
    value = strict(raw, name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        bad(f"{name} must be a list of objects")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen = dict(pairs)
    if len(seen) != len(pairs):
        raise ValueError("an object has a key twice")
    return seen


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name[:20]} is no JSON")


def read_json(raw: Raw | bytes) -> Any:
    """Any JSON that need not be sent on; None where it is none."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


def unescaped(text: str) -> str:
    """What JSON text stands for, its escapes undone."""
    # whole replacements, as this may be megabytes
    parts = text.split("\\\\")
    for escape, letter in _SHORT_ESCAPES.items():
        parts = [part.replace("\\" + escape, letter) for part in parts]
    return "\\".join(_LETTERS.sub(_letters, part) for part in parts)


def _letters(escapes: re.Match[str]) -> str:
    text: str = json.loads(f'"{escapes[0]}"')
    return text
