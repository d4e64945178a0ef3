"""Which model a name means: the match clauses of the price list, evaluated on a name.

Clauses are data (they are cached as JSON), so that nothing of the price library is needed to
read them. Names are compared in lower case.
"""

from __future__ import annotations

import re

from msgspec import Struct

_COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


class Clause(Struct, frozen=True, array_like=True):
    """`kind` is equals, starts_with, ends_with, contains, regex (with `text`), or, and
    (with `parts`)."""

    kind: str
    text: str = ""
    parts: tuple[Clause, ...] = ()


def matches(clause: Clause, name: str) -> bool:
    """True where `name` (in lower case) is meant by the clause. An unknown kind matches nothing."""
    match clause.kind:
        case "equals":
            return name == clause.text
        case "starts_with":
            return name.startswith(clause.text)
        case "ends_with":
            return name.endswith(clause.text)
        case "contains":
            return clause.text in name
        case "regex":
            return re.search(clause.text, name) is not None
        case "or":
            return any(matches(part, name) for part in clause.parts)
        case "and":
            return bool(clause.parts) and all(matches(part, name) for part in clause.parts)
        case _:
            return False


def with_dashed_date(name: str) -> str:
    """A compact date in a name ("gpt-5.2-20251211") in the form of the price lists
    ("gpt-5.2-2025-12-11")."""
    return _COMPACT_DATE.sub(r"-\1-\2-\3", name)


def equals(name: str) -> Clause:
    """The clause that means this very name."""
    return Clause("equals", name.lower())
