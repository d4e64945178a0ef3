"""A text that is scanned for risks, and what several detectors need of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property

#: characters from the first to before the last
Span = tuple[int, int]


class Text:
    """A text that is scanned, and what several detectors need of it, made once."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def numbers(self) -> list[Span]:
        """Places that are dense with digits, each with two characters around it."""
        size = len(self.text)
        return [
            (max(0, found.start() - 2), min(size, found.end() + 2))
            for found in _NUMBERS.finditer(self.text)
            if _may_be_one(found[0])
        ]

    @cached_property
    def lowered(self) -> str:
        """In lower case, with every character at its place: where one becomes two (a few letters
        of other scripts), the text as it is."""
        lowered = self.text.lower()
        return lowered if len(lowered) == len(self.text) else self.text


Find = Callable[[Text], Iterator[Span]]

_NUMBERS = re.compile(r"[0-9][0-9 .()/-]{6,}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]*\.[0-9]+[ .]*", re.ASCII)
_NO_DIGITS = re.compile(r"[^0-9]+")
#: digits of the shortest number that is read, but for an IPv4 address
_FEWEST = 7


def _may_be_one(place: str) -> bool:
    if _DECIMAL.fullmatch(place):
        return False
    return len(digits_of(place)) >= _FEWEST or place.count(".") >= 3


def digits_of(text: str) -> str:
    """The digits of a text, without what stands between them."""
    return _NO_DIGITS.sub("", text)
