"""Loading the price book: from the cache, without a network, as of a date."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agentwatch import pricing
from agentwatch.core.prices import cost
from agentwatch.core.usage import Usage
from agentwatch.pricing import load_book

NOW = 1_795_392_000.0  # 2026-11-23
USAGE = Usage(input_tokens=1_000_000)


def test_a_book_is_made_without_asking_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert load_book(tmp_path, now=NOW).find("openai", "gpt-4o") is not None


def test_a_second_start_does_not_import_the_price_library(tmp_path: Path) -> None:
    load_book(tmp_path)
    program = (
        "import sys; from pathlib import Path; from agentwatch.pricing import load_book\n"
        "book = load_book(Path(sys.argv[1]))\n"
        "assert book.find('openai', 'gpt-4o') is not None\n"
        "assert 'genai_prices' not in sys.modules and 'pydantic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60)


def test_the_cached_book_is_the_compiled_one(tmp_path: Path) -> None:
    first = load_book(tmp_path, now=NOW)
    assert load_book(tmp_path, now=NOW).catalogue == first.catalogue
    assert load_book(None, now=NOW).catalogue == first.catalogue


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    good = load_book(tmp_path, now=NOW).catalogue
    (file,) = tmp_path.glob("prices-*.json")
    file.write_bytes(file.read_bytes().replace(b"2500000000", b"1500000000"))
    assert load_book(tmp_path, now=NOW).catalogue == good
    assert load_book(tmp_path, now=NOW).catalogue == good


def test_other_rules_of_ours_are_another_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_book(tmp_path, now=NOW)
    monkeypatch.setattr(pricing, "_rules_digest", lambda: "changed")
    assert "changed" in load_book(tmp_path, now=NOW).version


def test_prices_that_have_ended_are_not_read_from_the_cache(tmp_path: Path) -> None:
    stale_at = load_book(tmp_path, now=NOW).stale_at
    assert stale_at is not None
    later = load_book(tmp_path, now=stale_at)
    assert later.catalogue.from_at == stale_at


def test_the_users_file_and_a_region_are_put_on_top(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('[openai."mine"]\ninput = 1\noutput = 1\n')
    upstreams = {"openai": "https://eu.api.openai.com/v1", "groq": "https://api.groq.com"}
    book = load_book(tmp_path / "cache", file, upstreams=upstreams, now=NOW)
    mine, listed = book.find("openai", "mine"), book.find("openai", "gpt-4o")
    assert mine is not None and listed is not None
    assert cost(mine, USAGE) == 1_100_000_000
    assert cost(listed, USAGE) == 2_750_000_000
    assert "user" in book.version and "openai x 1.1" in book.version
