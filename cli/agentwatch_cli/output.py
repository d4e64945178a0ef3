"""What reaches the screen: one place that makes strangers' text harmless, tables, and JSON.

Data goes to stdout, words about it to stderr. Names of models, messages of providers and session
labels come from outside: they pass through `harmless` before they are shown anywhere.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from agentwatch.core.money import parse_usd, usd_short

SCHEMA_VERSION = 1
LONGEST_TEXT = 2000
#: what a drawn table has between two columns, at most
_BETWEEN = 3

#: control, format (bidi, zero width), surrogate, private and unassigned characters; line and
#: paragraph separators
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class Column(NamedTuple):
    """One column of a listing: its heading, and whether its cells stand to the right.

    Where the screen is too narrow, the column with the largest `spare` is left out first; one
    with 0 never is.
    """

    heading: str
    right: bool = False
    spare: int = 0


def harmless(text: object) -> str:
    """One line of text that can't move a cursor, set a title, turn the reading direction or
    break a line: each such character is shown as its escape. At most 2,000 characters."""
    raw = str(text)
    shown = raw if len(raw) <= LONGEST_TEXT else raw[: LONGEST_TEXT - 1] + "…"
    if shown.isascii() and shown.isprintable():
        return shown
    return "".join(_escaped(c) if unicodedata.category(c) in _UNSAFE else c for c in shown)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def usd(amount: float | int | None, missing: str = "-") -> str:
    """USD of the wire for people: "$0.0132"; `missing` where there is none."""
    if amount is None:
        return missing
    sign = "-" if amount < 0 else ""
    return sign + usd_short(parse_usd(round(abs(amount), 9)))


def emit_json(value: Mapping[str, Any]) -> None:
    """One JSON object on stdout, with its schema_version first."""
    data = {"schema_version": SCHEMA_VERSION, **value}
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=True) + "\n")


def emit_rows(
    columns: Sequence[Column], rows: Iterable[Sequence[object]], *, empty: str = "none"
) -> None:
    """A table: drawn by rich on a terminal, aligned plain text in a pipe.

    Every cell is made harmless here. Without rows, `empty` is said on stderr.
    """
    cells = [[harmless(cell) for cell in row] for row in rows]
    if not cells:
        note(empty)
    elif sys.stdout.isatty():
        _emit_drawn(columns, cells)
    else:
        sys.stdout.write("\n".join(aligned(columns, cells)) + "\n")


def _emit_drawn(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(drawn(columns, cells, console.width))


def drawn(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int, title: str = ""
) -> Any:
    """The rich Table of what `fitting` leaves of these cells; they are shown as they are, markup
    included, and what is still too wide goes on in a next line: half an id or an amount is none."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    columns, cells = fitting(columns, cells, width)
    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for column in columns:
        justify: Any = "right" if column.right else "left"
        table.add_column(column.heading, justify=justify, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    return table


def fitting(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int
) -> tuple[list[Column], list[list[str]]]:
    """The columns and cells that a screen of so many characters has room for."""
    needed = [
        max(len(column.heading), *(len(row[i]) for row in cells), 0) + _BETWEEN
        for i, column in enumerate(columns)
    ]
    left = list(range(len(columns)))
    while sum(needed[i] for i in left) > width:
        first = max(left, key=lambda i: columns[i].spare)
        if not columns[first].spare:
            break
        left.remove(first)
    return [columns[i] for i in left], [[row[i] for i in left] for row in cells]


def aligned(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> list[str]:
    """The same as lines of plain text, columns two blanks apart."""
    table = [[column.heading.upper() for column in columns], *cells]
    widths = [max(len(row[i]) for row in table) for i in range(len(columns))]
    return [_line(columns, widths, row) for row in table]


def _line(columns: Sequence[Column], widths: Sequence[int], row: Sequence[str]) -> str:
    parts = (
        cell.rjust(width) if column.right else cell.ljust(width)
        for column, width, cell in zip(columns, widths, row, strict=True)
    )
    return "  ".join(parts).rstrip()


def say(text: str) -> None:
    """One line of data for people, on stdout."""
    sys.stdout.write(harmless(text) + "\n")


def note(text: str) -> None:
    """One line of words on stderr: what was done, what is missing, what to do next."""
    # with `2>&-` there is none, and nobody to tell
    if sys.stderr is None:
        return
    sys.stderr.write(f"agentwatch: {harmless(text)}\n")
    sys.stderr.flush()
