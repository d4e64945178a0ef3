"""The ledger's file: written is durable, a full disk loses nothing, the reserve is kept."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentwatch.errors import JournalUnavailable
from agentwatch.store import sqlite
from agentwatch.store import store as live
from agentwatch.store.sqlite import RESERVE_BYTES, SqliteJournal
from agentwatch.store.store import Store

Kit = Any

#: Forks once a line that it reads. The child holds and settles as fast as it can, and tells each
#: id once its `written` is done; whoever reads kills it in the middle of that.
CHILDREN = """
import asyncio, itertools, os, sys
from pathlib import Path
from agentwatch.core.admission import Policy
from agentwatch.core.estimate import Quote
from agentwatch.store.sqlite import SqliteJournal
from agentwatch.store.store import Store, new_hold_id

QUOTE = Quote(fixed=1_000_000 * 100, per_token=0, asked=0, most=0)

async def agent(store, number):
    for call in itertools.count():
        hold = new_hold_id()
        _, written = store.hold("s", QUOTE, Policy(), hold)
        await written
        os.write(1, f"held {hold}\\n".encode())
        _, written = store.settle(hold, 60, "usage")
        await written
        os.write(1, f"settled {hold}\\n".encode())

async def daemon():
    store = Store(SqliteJournal(Path(sys.argv[1]), sys.argv[2]))
    await store.open()
    _, written = store.open_session("s", ceiling=10**15)
    await written
    await asyncio.gather(*(agent(store, number) for number in range(8)))

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        asyncio.run(daemon())
    os.write(1, f"child {child}\\n".encode())
    os.waitpid(child, 0)
    os.write(1, b"dead\\n")
"""


def killed_daemons(path: Path, durability: str, kills: int) -> Iterator[list[str]]:
    """What each of so many daemons on one file had told when it was killed."""
    chance = random.Random(path.name)
    with subprocess.Popen(
        [sys.executable, "-c", CHILDREN, str(path), durability],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdin and parent.stdout
        for _ in range(kills):
            parent.stdin.write("next\n")
            parent.stdin.flush()
            child = int(parent.stdout.readline().split()[1])
            told = [parent.stdout.readline() for _ in range(chance.randrange(1, 200))]
            os.kill(child, signal.SIGKILL)
            while (line := parent.stdout.readline()) != "dead\n":
                told.append(line)
            yield [line.strip() for line in told if line.endswith("\n")]
        parent.stdin.close()


@pytest.mark.parametrize("durability", ["power", "process"])
def test_what_was_told_as_written_is_there_after_every_kill(
    tmp_path: Path, durability: str
) -> None:
    path = tmp_path / "ledger.db"
    calls: dict[str, int] = {}
    for told in killed_daemons(path, durability, 10):
        assert told
        for line in told:
            word, hold = line.split()
            calls[hold] = 60 if word == "settled" else 100
    asyncio.run(everything_is_charged(path, calls))


async def everything_is_charged(path: Path, calls: dict[str, int]) -> None:
    store = Store(SqliteJournal(path))
    await store.open()
    charged = {hold: store.settle(hold, 0, "usage")[0].nanos for hold in calls}
    settled_but_not_told = {hold for hold in calls if charged[hold] == 60 < calls[hold]}
    assert {**calls, **dict.fromkeys(settled_but_not_told, 60)} == charged
    assert store.ledger.holds == {}
    assert store.ledger.session("s").settled >= sum(charged.values())
    await store.verify()
    await store.close()


# ---- a full disk


class SmallDisk:
    """A disk of three megabytes where one may be mounted, else a limit on the file's pages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mounted = not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs", folder],
            capture_output=True,
            check=False,
        ).returncode

    def fill(self, journal: SqliteJournal) -> None:
        if not self.mounted:
            set_most_pages(journal, 1)
            return
        with (self.folder / "filler").open("wb", buffering=0) as filler:
            for block in (1 << 16, 1 << 12):
                with contextlib.suppress(OSError):
                    while filler.write(b"x" * block):
                        pass

    def free(self, journal: SqliteJournal) -> None:
        if not self.mounted:
            set_most_pages(journal, 1 << 30)
            return
        (self.folder / "filler").unlink()

    def end(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", self.folder], check=True)


def set_most_pages(journal: SqliteJournal, pages: int) -> None:
    journal._ask(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchall())


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    made = SmallDisk(folder)
    yield made
    made.end()


async def until(condition: Any) -> None:
    ends = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < ends
        await asyncio.sleep(0.01)


async def spend(store: Store, kit: Kit, calls: range) -> int:
    """Make calls until one can't be written; the number of that one."""
    for number in calls:
        try:
            await kit.hold(store, f"h{number}", 1)[1]
            await store.settle(f"h{number}", 1, "usage", reason="x" * 400)[1]
        except JournalUnavailable:
            return number
    raise AssertionError("the disk never was full")


async def test_a_full_disk_promises_nothing_and_loses_nothing(
    disk: SmallDisk, make_kit: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "RETRY_S", 0.02)
    monkeypatch.setattr(sqlite, "ROOM_FOR_RESERVE", RESERVE_BYTES + (1 << 18))
    path = disk.folder / "ledger.db"
    reserve = disk.folder / "ledger.reserve"
    journal = SqliteJournal(path, "power")
    store = Store(journal)
    await store.open()
    await store.open_session("s", ceiling=None)[1]
    assert reserve.stat().st_size == RESERVE_BYTES

    disk.fill(journal)
    first = await spend(store, make_kit, range(20_000))
    if disk.mounted:
        assert first > 10, "calls that were out got through on what the reserve gave"
    assert not reserve.exists()
    assert isinstance(store.failed, JournalUnavailable)
    with pytest.raises(JournalUnavailable):
        await make_kit.hold(store, "later", 7)[1]
    with pytest.raises(JournalUnavailable):
        await store.verify()

    disk.free(journal)
    await until(lambda: store.failed is None)
    await make_kit.hold(store, "after", 9)[1]
    await store.verify()
    assert set(store.ledger.holds) >= {"later", "after"}
    await until(reserve.exists)
    spent = store.ledger.session("s").settled
    await store.close()

    again = Store(SqliteJournal(path))
    await again.open()
    assert again.ledger.session("s").settled >= spent + 7 + 9
    await again.verify()
    await again.close()


async def test_a_failure_that_is_over_is_not_told_to_the_next_call(
    files: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "RETRY_S", 0.02)
    store = await files.open()
    await store.open_session("s", ceiling=None)[1]
    set_most_pages(store._journal, 1)
    await spend(store, files, range(1_000))
    set_most_pages(store._journal, 1 << 30)
    await until(lambda: store.failed is None)
    await files.hold(store, "after", 1)[1]
    await store.close()


async def test_the_end_of_a_store_writes_what_could_not_be_written_before(
    files: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "RETRY_S", 60)
    store = await files.open()
    await store.open_session("s", ceiling=None)[1]
    set_most_pages(store._journal, 1)
    await spend(store, files, range(1_000))
    files.hold(store, "later", 7)
    set_most_pages(store._journal, 1 << 30)
    await store.close()
    assert store.failed is None
    await files.open()
    assert "later" in [outcome.hold for outcome in files.crashed_with]


async def test_the_end_of_a_store_on_a_full_disk_hangs_nobody_and_tells(
    files: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "RETRY_S", 0.02)
    store = await files.open()
    await store.open_session("s", ceiling=None)[1]
    set_most_pages(store._journal, 1)
    await spend(store, files, range(1_000))
    await asyncio.wait_for(store.close(), 5)
    assert isinstance(store.failed, JournalUnavailable)


async def test_so_much_is_kept_in_memory_for_a_full_disk_and_no_more(
    files: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "RETRY_S", 60)
    monkeypatch.setattr(live, "MOST_UNWRITTEN", 3)
    store = await files.open()
    await store.open_session("s", ceiling=None)[1]
    set_most_pages(store._journal, 1)
    await spend(store, files, range(1_000))
    store.check_room()
    for number in range(4):
        files.hold(store, f"more{number}", 1)
    with pytest.raises(JournalUnavailable, match="full"):
        store.check_room()


async def test_a_writer_that_meets_the_unforeseen_tells_who_waits(files: Kit) -> None:
    store = await files.open()
    too_large = store.set_ceiling("project:p", 1 << 70)
    with pytest.raises(JournalUnavailable):
        await asyncio.wait_for(asyncio.ensure_future(_done(too_large)), 5)


async def _done(written: Any) -> None:
    await written


async def test_no_reserve_is_made_where_the_disk_has_no_room_for_it(
    files: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "RESERVE_BYTES", 1 << 60)
    monkeypatch.setattr(SqliteJournal._keep_reserve, "__defaults__", (1 << 60,))
    store = await files.open()
    await store.open_session("s", ceiling=None)[1]
    assert not files.path.with_name("ledger.reserve").exists()


def pragma(journal: SqliteJournal, name: str) -> Any:
    return journal._ask(lambda db: db.execute(f"PRAGMA {name}").fetchone()[0])


@pytest.mark.parametrize(("durability", "synchronous"), [("power", 2), ("process", 1)])
async def test_the_promise_of_durability_is_what_sqlite_is_told(
    tmp_path: Path, durability: str, synchronous: int
) -> None:
    journal = SqliteJournal(tmp_path / "ledger.db", durability)
    journal.load()
    told = {name: pragma(journal, name) for name in ("synchronous", "journal_mode", "locking_mode")}
    assert told == {
        "synchronous": synchronous,
        "journal_mode": "wal",
        "locking_mode": "exclusive",
    }
    journal.close()
    journal.close()


@pytest.mark.parametrize("gone", ["file", "all", "replaced", "older"])
async def test_a_ledger_removed_under_its_writer_is_put_back(files: Kit, gone: str) -> None:
    store = await files.open()
    _, written = store.open_session("s", ceiling=1000)
    await written
    older = files.path.read_bytes()
    _, written = files.hold(store, "h1", 100)
    await written
    for path in files.path.parent.glob("ledger.db*") if gone == "all" else (files.path,):
        path.unlink()
    if gone in ("replaced", "older"):
        files.path.write_bytes(b"something else" if gone == "replaced" else older)
    _, written = files.hold(store, "h2", 50)
    await written
    # no more than a second time a second, but surely at the next write after that
    deadline = asyncio.get_running_loop().time() + 10
    while not files.path.exists() or files.path.read_bytes() == older:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)
    _, written = store.settle("h1", 90, "usage")
    await written
    assert await store.verify() == 4
    again = await files.crash()
    assert again.ledger.session("s").settled == 90 + 50
    assert again.ledger.session("s").held == 0
    assert await again.verify() == 5
    await again.close()
    await store.close()
    assert await (await files.open()).verify() == 5
