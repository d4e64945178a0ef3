"""Names of Gemini's fields, each of which its API takes in two spellings: `maxOutputTokens` and
`max_output_tokens`.

Of a field in both spellings it is not known which one the server reads, and a third spelling may
be read by some parser: both are refused wherever the field bears on the price.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from agentwatch.wire.json_object import bad

_SMALL = re.compile(r"_([a-z])")
_CAPITAL = re.compile(r"(?=[A-Z])")


class Names:
    """The fields of one kind of object that bear on the price, by their camelCase names."""

    def __init__(self, where: str, *known: str) -> None:
        self._where = where
        self._spelled = {spelling: name for name in known for spelling in (name, snake(name))}
        self._folded = {_fold(name): name for name in known}

    def found(self, keys: Iterable[str]) -> dict[str, str]:
        """The known fields among `keys`, by name, each with the spelling that it came in.

        Raises Refusal("bad_request") for one that came in both, and for a look-alike.
        """
        found: dict[str, str] = {}
        for key in keys:
            name = self._spelled.get(key)
            if name is None:
                self._refuse_look_alike(key)
            elif name in found:
                bad(f"{self._where} has {name!r} in two spellings: set one of them")
            else:
                found[name] = key
        return found

    def unknown(self, keys: Iterable[str]) -> str | None:
        """The first of `keys` that is not known."""
        return next((key for key in keys if key not in self._spelled), None)

    def _refuse_look_alike(self, key: str) -> None:
        name = self._folded.get(_fold(key))
        if name is not None:
            bad(f"the field {key[:40]!a} of {self._where} must be written {name!r}")


def snake(name: str) -> str:
    """`maxOutputTokens` as `max_output_tokens`."""
    return _CAPITAL.sub("_", name).lower()


def camel_keys(value: object, depth: int = 4) -> object:
    """The value with its fields' names in camelCase, so many levels down."""
    if isinstance(value, list) and depth:
        return [camel_keys(each, depth - 1) for each in value]
    if not isinstance(value, dict) or not depth:
        return value
    return {_SMALL.sub(_upper, key): camel_keys(each, depth - 1) for key, each in value.items()}


def _upper(found: re.Match[str]) -> str:
    return found[1].upper()


def _fold(name: str) -> str:
    return name.replace("_", "").casefold()
