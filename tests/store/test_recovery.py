"""A ledger looked at from outside, and what a witness must not say."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from agentwatch.errors import JournalDamaged, JournalUnavailable
from agentwatch.store import recovery
from agentwatch.store.sqlite import SqliteJournal
from agentwatch.store.store import Store


async def spent(folder: Path, calls: int = 3) -> Path:
    """A ledger at rest in which something was opened."""
    path = folder / "ledger.sqlite3"
    store = Store(SqliteJournal(path, "process"))
    await store.open()
    for number in range(calls):
        _, written = store.open_session(f"s{number}", ceiling=100)
        await written
    await store.close()
    return path


async def test_a_sound_ledger_is_counted_and_left_as_it_is(tmp_path: Path) -> None:
    path = await spent(tmp_path)
    before = path.read_bytes()
    assert recovery.examine(path) == 3
    assert path.read_bytes() == before


def test_where_none_was_there_is_nothing(tmp_path: Path) -> None:
    assert recovery.examine(tmp_path / "ledger.sqlite3") == 0
    assert list(tmp_path.iterdir()) == []


async def test_an_odd_name_is_no_other_file(tmp_path: Path) -> None:
    folder = tmp_path / "a?mode=memory#b %41"
    folder.mkdir()
    assert recovery.examine(await spent(folder)) == 3


@pytest.mark.parametrize("text", ["", "x", "3\x00"])
async def test_a_witness_that_can_not_be_read_still_is_one(tmp_path: Path, text: str) -> None:
    path = await spent(tmp_path)
    recovery.witness_of(path).write_text(text)
    assert recovery.entries_at_least(path) == 1
    path.unlink()
    with pytest.raises(JournalDamaged, match="start-over"):
        recovery.examine(path)
    with pytest.raises(JournalDamaged, match="start-over"):
        SqliteJournal(path).load()


async def test_a_row_that_was_changed_in_the_middle_is_found(tmp_path: Path) -> None:
    path = await spent(tmp_path, 700)  # a start looks at the last 500 only
    with sqlite3.connect(path) as db:
        db.execute("UPDATE journal SET entry = replace(entry, '100', '900') WHERE seq = 2")
    db.close()
    with pytest.raises(JournalDamaged, match="entry 2"):
        recovery.examine(path)


async def test_an_older_copy_is_told(tmp_path: Path) -> None:
    path = await spent(tmp_path)
    recovery.bear_witness(path, 4)
    with pytest.raises(JournalDamaged, match="ends at entry 3"):
        recovery.examine(path)


async def test_one_that_is_locked_is_not_called_damaged(tmp_path: Path) -> None:
    path = await spent(tmp_path)
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("UPDATE budgets SET ceiling = 1")
        with pytest.raises(JournalUnavailable, match="locked"):
            recovery.examine(path)
    other.close()


async def test_one_of_a_newer_version_is_not_called_damaged(tmp_path: Path) -> None:
    path = await spent(tmp_path)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(JournalUnavailable, match="newer"):
        recovery.examine(path)


async def test_starting_over_keeps_the_old_one(tmp_path: Path) -> None:
    path = await spent(tmp_path)
    aside = recovery.start_over(path)
    assert aside is not None and recovery.examine(aside) == 3
    assert recovery.set_aside_before(path) == [aside]
    assert recovery.examine(path) == 0
    assert recovery.start_over(path) is None


async def test_the_second_in_a_second_is_put_over_the_first(tmp_path: Path) -> None:
    asides = []
    for calls in (1, 2, 3):
        (path := await spent(tmp_path, calls)).with_name("ledger.sqlite3-wal").touch()
        asides.append(recovery.set_aside(path))
        recovery.witness_of(path).unlink()
    assert [recovery.examine(aside) for aside in asides] == [1, 2, 3]
    assert recovery.set_aside_before(path) == asides


async def test_the_witness_of_another_start_is_written_over(tmp_path: Path) -> None:
    """The journal was told of a start of its own; what it has written since may not be synced."""
    path = await spent(tmp_path)
    recovery.bear_witness(path, 0, 3, "its-boot")
    recovery.set_aside(path, "its-boot")
    assert recovery.entries_at_least(path, "its-boot") == 3
