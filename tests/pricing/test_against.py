"""Another edition of the price list."""

from __future__ import annotations

from pathlib import Path

import genai_prices
import pytest

from agentwatch.core.price_book import Catalogue
from agentwatch.errors import UsageError
from agentwatch.pricing import load_book
from agentwatch.pricing.against import Change, catalogue_at, changes

NOW = 1_793_000_000.0
DATA = Path(genai_prices.__file__).parent


@pytest.fixture(scope="module")
def installed() -> Catalogue:
    return load_book(None, now=NOW).catalogue


def test_the_library_itself_reads_as_the_book_does(installed: Catalogue) -> None:
    theirs = catalogue_at(DATA, NOW)
    assert changes(installed, theirs) == []
    assert {name: len(lines) for name, lines in theirs.entries.items()} == {
        name: len(lines) for name, lines in installed.entries.items()
    }


def test_what_is_gone_and_what_is_new_is_told(installed: Catalogue) -> None:
    nothing = Catalogue(
        version="0", from_at=0.0, stale_at=None, entries={"groq": (), "xai": ()}, fees={}
    )
    gone = changes(installed, nothing)
    assert Change("xai", "grok-4.7", "default input above 199,999", 4_000_000_000, None) in gone
    assert {change.provider for change in gone} == {"groq", "xai"}
    new = changes(nothing, installed)
    assert Change("groq", "groq/compound", "fee web_search", None, 8_000_000) in new


@pytest.mark.parametrize("text", ["", "providers = 3", "x = 1", "providers = [Provider()]", "a b"])
def test_what_is_no_list_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "data.py"
    file.write_text(text)
    if text == "providers = 3":
        assert catalogue_at(file, NOW).entries["xai"] == ()
        return
    with pytest.raises(UsageError):
        catalogue_at(file, NOW)
