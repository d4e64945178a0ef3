"""The power goes at any moment, and a disk fails any write or sync: no acknowledged entry is lost.

`LONG=1` cuts the power 20,000 times, `SEED=5` at other moments.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_disk import FaultyDisk, Op, Platter

from agentwatch.errors import JournalUnavailable
from agentwatch.store import sqlite
from agentwatch.store import store as live
from agentwatch.store.recovery import bear_witness, witness_of
from agentwatch.store.sqlite import SqliteJournal
from agentwatch.store.store import Store

CUTS = 20_000 if os.environ.get("LONG") == "1" else 1_000
#: of the moments and of what the disk had got round to by then
SEED = int(os.environ.get("SEED", "4"))
FAULTS = {
    "EIO": {
        "write": sqlite3.SQLITE_IOERR_WRITE,
        "truncate": sqlite3.SQLITE_IOERR_TRUNCATE,
        "sync": sqlite3.SQLITE_IOERR_FSYNC,
    },
    "ENOSPC": {"write": sqlite3.SQLITE_FULL},
}


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints come often, so that there are many to cut; no time is lost with the reserve."""
    monkeypatch.setattr(sqlite, "CHECKPOINT_PAGES", 60)
    monkeypatch.setattr(sqlite, "RESERVE_BYTES", 1 << 12)
    monkeypatch.setattr(live, "RETRY_S", 0.001)


class Work:
    """Calls on a ledger, and the disk's notes of what was done and promised meanwhile."""

    def __init__(self, folder: Path, kit: Any, durability: str = "power") -> None:
        folder.mkdir()
        self.disk = FaultyDisk(folder)
        self.path = folder / "ledger.db"
        self._kit = kit
        self._durability = durability

    async def open(self) -> Store:
        store = Store(SqliteJournal(self.path, self._durability, "before the cut"))
        for outcome in await store.open():
            self.disk.told(("settled", outcome.hold))
        return store

    async def told(self, written: Awaitable[None], *what: str) -> None:
        """Note as promised what is written; what is not was not promised."""
        try:
            await written
        except JournalUnavailable:
            return
        self.disk.told(what)

    async def begin(self, store: Store) -> None:
        await self.told(store.open_session("s", ceiling=10**12, project="p")[1], "opened", "s")
        await self.told(store.set_ceiling("project:p", 10**12), "ceiling", "project:p")

    async def calls(self, store: Store, names: list[str]) -> None:
        for name in names:
            await self.told(self._kit.hold(store, name, 100)[1], "held", name)
            if int(name[-1]) % 4 == 3:
                await self.told(store.void(name, "never sent")[1], "voided", name)
            elif int(name[-1]) % 4:
                await self.told(store.settle(name, 60, "usage")[1], "settled", name)
            # every fourth is left open, as by a crash

    def notes_witness(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The witness is written past SQLite; nobody syncs it."""

        def noted(ledger: Path, *entries: Any) -> None:
            bear_witness(ledger, *entries)
            self.disk.ops.append(Op("told", data=witness_of(ledger).read_bytes()))

        monkeypatch.setattr(sqlite, "bear_witness", noted)


async def recorded(work: Work, starts: int, agents: int, calls: int) -> list[Op]:
    """Daemons one after the other on one ledger, each with some agents at once."""
    with work.disk.under():
        for start in range(starts):
            store = await work.open()
            await work.begin(store)
            names = [[f"h{start}.{agent}.{n}" for n in range(calls)] for agent in range(agents)]
            await asyncio.gather(*(work.calls(store, each) for each in names))
            await store.close()
    return work.disk.ops


def cuts_of(
    ops: list[Op], number: int, chance: random.Random
) -> Iterator[tuple[dict[str, bytes], frozenset[Any]]]:
    """So many cuts, at moments in the order of time: the files, and what had been promised."""
    moments = Counter(chance.randrange(len(ops) + 1) for _ in range(number))
    platter, promised, witness = Platter(), set[tuple[str, str]](), [b""]
    for moment in range(len(ops) + 1):
        for _ in range(moments[moment]):
            files = platter.cut(chance)
            # the last is what asks most; a power cut may leave an older one, or an empty file
            seen = chance.choices((witness[-1], chance.choice(witness), b""), (8, 1, 1))[0]
            if len(witness) > 1:
                files["ledger.witness"] = seen
            yield files, frozenset(promised)
        if moment < len(ops):
            op = ops[moment]
            platter.take(op)
            if isinstance(op.data, tuple):
                promised.add(op.data)
            elif op.kind == "told":
                witness.append(op.data)


async def lost_after(files: dict[str, bytes], promised: frozenset[Any], folder: Path) -> int:
    """Open by production code what is left, check all of it, and count the promises not kept.

    Raises JournalDamaged, LedgerError.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    journal = SqliteJournal(folder / "ledger.db", "process", "after the cut")
    store = Store(journal)
    try:
        crashed = await store.open()
        await store.verify()
        rows = journal.rows(0, 1 << 30)
        found = {(row.kind, row.subject) for row in rows}
        assert not store.ledger.holds
        if ("opened", "session:s") in found or store.ledger.sessions:
            charged = sum(b'"basis":"usage"' in row.data for row in rows) * 60
            charged += sum(b'"basis":"crash"' in row.data for row in rows) * 100
            assert store.ledger.session("s").settled == charged >= len(crashed) * 100
        return len({(kind, name) for kind, name in promised if kind != "opened"} - found)
    finally:
        await store.close()


@pytest.mark.timeout(120 if CUTS == 1_000 else 3_600)
async def test_no_power_cut_loses_or_damages_an_acknowledged_entry(
    tmp_path: Path, make_kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(tmp_path / "recorded", make_kit)
    work.notes_witness(monkeypatch)
    ops = await recorded(work, starts=3, agents=4, calls=12)
    monkeypatch.undo()
    sizes: Counter[int] = Counter()
    with FaultyDisk(tmp_path / "left").under():
        for files, promised in cuts_of(ops, CUTS, random.Random(SEED)):
            assert await lost_after(files, promised, tmp_path / "left") == 0
            sizes[len(promised)] += 1
    assert sizes.total() == CUTS
    assert len(sizes) > 50, "the cuts are spread over the work"


async def test_with_durability_process_a_power_cut_loses_entries_and_damages_nothing(
    tmp_path: Path, make_kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(tmp_path / "recorded", make_kit, "process")
    work.notes_witness(monkeypatch)
    ops = await recorded(work, starts=2, agents=2, calls=12)
    monkeypatch.undo()
    with FaultyDisk(tmp_path / "left").under():
        lost = [
            await lost_after(files, promised, tmp_path / "left")
            for files, promised in cuts_of(ops, 100, random.Random(SEED))
        ]
    assert sum(map(bool, lost)) > 30, "a shim that drops nothing proves nothing"


# ---- a write or a sync that fails


class Nth:
    """Fails the number-th operation of these kinds, and those behind it, `times` in all."""

    def __init__(self, number: int, codes: dict[str, int], times: int) -> None:
        self.seen = 0
        self._codes, self._failing = codes, range(number, number + times)

    def __call__(self, kind: str, file: str) -> int:
        self.seen += kind in self._codes
        failing = kind in self._codes and self.seen in self._failing
        return self._codes[kind] if failing else sqlite3.SQLITE_OK


async def opened_in_the_end(work: Work) -> Store:
    """A start that the disk fails says so, sets nothing aside, and the next one goes on."""
    for _ in range(20):
        try:
            return await work.open()
        except JournalUnavailable:
            continue
    raise AssertionError("it never started again")


async def lives_through(work: Work) -> bool:
    """Work on a disk that fails at some time; whether the store said that it did."""
    store = await opened_in_the_end(work)
    said = False
    for number in range(5):
        await (work.begin(store) if not number else work.calls(store, [f"h{number}"]))
        said = said or store.failed is not None
        async with asyncio.timeout(10):
            while store.failed is not None:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.0005)
    assert await store.verify() > 0
    await store.close()
    return said


@pytest.mark.parametrize("times", [1, 4], ids=["once", "four times"])
@pytest.mark.parametrize("kind", FAULTS)
async def test_whichever_write_or_sync_fails_nothing_acknowledged_is_lost(
    tmp_path: Path, make_kit: Any, monkeypatch: pytest.MonkeyPatch, kind: str, times: int
) -> None:
    monkeypatch.setattr(sqlite, "CHECKPOINT_PAGES", 20)
    said = number = 0
    fault = Nth(0, {}, 0)
    while number <= fault.seen:
        number += 1
        work = Work(tmp_path / f"n{number}", make_kit)
        work.disk.fault = fault = Nth(number, FAULTS[kind], times)
        with work.disk.under():
            said += await lives_through(work)
        # the power goes right after: what the failed sync dropped is not there
        platter = Platter()
        for op in work.disk.ops:
            platter.take(op)
        promised = frozenset(op.data for op in work.disk.ops if op.kind == "told")
        files = {name: bytes(data) for name, data in platter.sure.items()}
        assert await lost_after(files, promised, tmp_path / "left") == 0, number
        shutil.rmtree(work.path.parent)
    # one that fails alone is bridged by the second try, for which the reserve is freed
    assert number > 40 and (said > 10) == (times > 1)
