"""One bit of the ledger's files is flipped, anywhere, or a WAL is cut: told, or without any effect.

`LONG=1` flips ten times as many.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agentwatch.errors import JournalDamaged, JournalUnavailable
from agentwatch.store import rows as checked
from agentwatch.store import sqlite
from agentwatch.store.protocol import Row
from agentwatch.store.recovery import entries_at_least, examine, set_aside_before
from agentwatch.store.sqlite import SqliteJournal
from agentwatch.store.store import Store

Kit = Any
FLIPS = 2_500 if os.environ.get("LONG") == "1" else 250
#: two starts of the machine
FIRST, SECOND = "the first", "the second"
#: what a ledger consists of; the witness is tried apart
LEDGER = ("ledger.db", "ledger.db-wal")


async def left_behind(kit: Kit, tmp_path: Path, crashed: bool) -> tuple[dict[str, bytes], Store]:
    """The files of a ledger, closed or left by a crash, and the store that wrote them."""
    store: Store = await kit.open()
    await store.open_session("s", ceiling=10_000, project="p")[1]
    await store.set_ceiling("project:p", 9_000)
    for number in range(40):
        await kit.hold(store, f"h{number}", 100)[1]
        await store.settle(f"h{number}", 60, "usage")[1]
    await store.set_state("s", "pause")
    if not crashed:
        await store.close()
    files = {path.name: path.read_bytes() for path in kit.path.parent.iterdir()}
    return {name: files[name] for name in (*LEDGER, "ledger.witness") if name in files}, store


def put(files: dict[str, bytes], folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder / "ledger.db"


def doctor_tells(path: Path, boot: str = FIRST) -> bool:
    try:
        examine(path, boot)
    except (JournalDamaged, JournalUnavailable):
        return True
    return False


async def fate(files: dict[str, bytes], folder: Path, before: Store, rows: list[Row]) -> str:
    """Who tells of it: the start, or the doctor; else "nobody", and then it did nothing."""
    told = doctor_tells(put(files, folder))
    journal = SqliteJournal(put(files, folder), "process", FIRST)
    store = Store(journal)
    try:
        await store.open()
    except (JournalDamaged, JournalUnavailable):
        return "start"
    try:
        assert store.ledger.accounts == before.ledger.accounts, "no balance is believed that is not"
        assert store.ledger.monthly == before.ledger.monthly
        if told:
            return "doctor"
        assert journal.rows(0, 1 << 30) == rows
        assert [journal.about(row.subject) for row in rows[:20]] == [
            [each for each in rows if each.subject == row.subject] for row in rows[:20]
        ]
        return "nobody"
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("file", "durability"), [(LEDGER[0], "power"), (LEDGER[1], "power"), (LEDGER[1], "process")]
)
async def test_a_flipped_bit_is_told_or_without_effect(
    files: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, durability: str
) -> None:
    files.durability = durability
    monkeypatch.setattr(checked, "TAIL_CHECKED", 20)
    left, before = await left_behind(files, tmp_path, crashed=file.endswith("-wal"))
    journal = before._journal
    if file == "ledger.db":
        journal = (await files.open())._journal
    rows = journal.rows(0, 1 << 30)
    monkeypatch.setattr(sqlite, "RESERVE_BYTES", 1 << 12)
    chance, fates = random.Random(file), Counter[str]()
    for _ in range(FLIPS):
        data = bytearray(left[file])
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        fates[await fate({**left, file: bytes(data)}, tmp_path / "flipped", before, rows)] += 1
    print(f"{FLIPS} bits of {file}, durability {durability}: {dict(fates)}")
    assert fates["start"] > FLIPS / 10
    assert fates.total() == FLIPS


def with_wal_cut(files: dict[str, bytes], keep: float) -> dict[str, bytes]:
    """So much of the WAL is left; of 0 not even its name."""
    wal = files["ledger.db-wal"]
    cut = {**files, "ledger.db-wal": wal[: int(len(wal) * keep)]}
    if not keep:
        del cut["ledger.db-wal"]
    return cut


@pytest.mark.parametrize("durability", ["power", "process"])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.9])
async def test_a_wal_that_was_cut_or_removed_after_a_crash_is_told(
    files: Kit, tmp_path: Path, durability: str, keep: float
) -> None:
    files.durability = durability
    left, _ = await left_behind(files, tmp_path, crashed=True)
    cut = with_wal_cut(left, keep)
    assert doctor_tells(put(cut, tmp_path / "cut"))
    path = put(cut, tmp_path / "cut")
    with pytest.raises(JournalDamaged, match="though there were"):
        SqliteJournal(path, durability, FIRST).load()
    assert not path.exists() and len(set_aside_before(path)) == 1


@pytest.mark.parametrize("boot", [SECOND, ""])
async def test_what_durability_process_may_lose_in_a_power_cut_is_called_damage(
    files: Kit, tmp_path: Path, boot: str
) -> None:
    """It is there no more after another start of the machine; what was on the disk for sure is
    still asked for, and no start is told of where the system tells of none."""
    files.durability, files.boot = "process", boot and FIRST
    left, before = await left_behind(files, tmp_path, crashed=True)
    vouched = entries_at_least(put(left, tmp_path / "left"), SECOND)
    assert 0 < vouched < before._seq
    cut = with_wal_cut(left, 0.5)
    assert not doctor_tells(put(cut, tmp_path / "cut"), boot)
    journal = SqliteJournal(put(cut, tmp_path / "cut"), "process", boot)
    assert vouched <= journal.load().seq < before._seq
    journal.close()

    (tmp_path / "cut" / "ledger.db").write_bytes(b"")
    with pytest.raises(JournalDamaged):
        SqliteJournal(tmp_path / "cut" / "ledger.db", "process", boot).load()


async def test_a_witness_of_before_is_believed_and_written_anew(files: Kit, tmp_path: Path) -> None:
    left, _ = await left_behind(files, tmp_path, crashed=False)
    path = put({**left, "ledger.witness": b"7\n"}, tmp_path / "old")
    journal = SqliteJournal(path)
    seq = journal.load().seq
    journal.close()
    assert path.with_suffix(".witness").read_bytes().startswith(b"%020d\n" % seq)
