"""The compiled catalogue on disk."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from agentwatch.core.price_book import Catalogue
from agentwatch.paths import private_folder
from agentwatch.pricing.cached import read_cached, write_cached

CATALOGUE = Catalogue(version="1", from_at=100.0, stale_at=200.0, entries={}, fees={})


def file_of(folder: Path) -> Path:
    (file,) = folder.glob("prices-*.json")
    return file


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_cached(tmp_path / "cache", "key", CATALOGUE)
    assert read_cached(tmp_path / "cache", "key", 150.0) == CATALOGUE


def test_nothing_is_read_before_it_was_written(tmp_path: Path) -> None:
    assert read_cached(tmp_path, "key", 150.0) is None


@pytest.mark.parametrize("now", [99.9, 200.0, 1e9])
def test_prices_of_other_dates_are_not_taken(tmp_path: Path, now: float) -> None:
    write_cached(tmp_path, "key", CATALOGUE)
    assert read_cached(tmp_path, "key", now) is None


def test_another_version_has_another_file_and_ends_the_old_one(tmp_path: Path) -> None:
    write_cached(tmp_path, "old", CATALOGUE)
    assert read_cached(tmp_path, "new", 150.0) is None
    write_cached(tmp_path, "new", CATALOGUE)
    assert read_cached(tmp_path, "old", 150.0) is None
    assert file_of(tmp_path)


def test_a_damaged_byte_anywhere_is_noticed(tmp_path: Path) -> None:
    write_cached(tmp_path, "key", CATALOGUE)
    file = file_of(tmp_path)
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert read_cached(tmp_path, "key", 150.0) is None


@pytest.mark.parametrize("content", [b"", b"\n", b"{}", b"x" * 65])
def test_a_cut_file_is_no_catalogue(tmp_path: Path, content: bytes) -> None:
    write_cached(tmp_path, "key", CATALOGUE)
    file_of(tmp_path).write_bytes(content)
    assert read_cached(tmp_path, "key", 150.0) is None


def test_a_file_that_others_may_write_sets_no_price(tmp_path: Path) -> None:
    write_cached(tmp_path, "key", CATALOGUE)
    file = file_of(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o666)
    assert read_cached(tmp_path, "key", 150.0) is None


def test_a_folder_that_can_not_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, where a folder should be")
    write_cached(tmp_path / "cache", "key", CATALOGUE)
    assert read_cached(tmp_path / "cache", "key", 150.0) is None


def test_no_half_written_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full)
    write_cached(tmp_path, "key", CATALOGUE)
    assert list(tmp_path.iterdir()) == []


def test_who_looks_at_a_price_first_leaves_the_home_open(tmp_path: Path) -> None:
    home = tmp_path / "home"
    write_cached(home / "cache", "key", CATALOGUE)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    private_folder(home)
