"""Texts whose risks are known: the corpus that is written down, and one that faker makes.

The first was written together with the scanner, so it says what is meant, and not how well it does.
Nothing was tuned on the second.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CORPUS = Path(__file__).parent / "risk_corpus.txt"


class Sample(NamedTuple):
    """A text, and the one tag that it has; None: none."""

    tag: str | None
    text: str


def written() -> Iterator[Sample]:
    """The samples of risk_corpus.txt."""
    for line in CORPUS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            tag, _, text = line.partition("\t")
            shown = text.replace("~", "").replace("\\\\", "\0").replace("\\n", "\n")
            yield Sample(None if tag == "-" else tag, shown.replace("\0", "\\"))
