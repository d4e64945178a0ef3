"""A ledger that can't be trusted is set aside and told, and never read as an empty one."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentwatch.errors import JournalDamaged, JournalUnavailable, LedgerError
from agentwatch.store import sqlite
from agentwatch.store.schema import MIGRATIONS
from agentwatch.store.sqlite import SqliteJournal
from agentwatch.store.store import Store

Kit = Any


async def fill(kit: Kit, calls: int = 3) -> Store:
    store: Store = await kit.open()
    await store.open_session("s", ceiling=10_000, project="web")[1]
    await store.set_ceiling("project:web", 9_000)
    for number in range(calls):
        await kit.hold(store, f"h{number}", 100)[1]
        await store.settle(f"h{number}", 60, "usage")[1]
    await kit.hold(store, "open", 100)[1]
    return store


async def closed_ledger(kit: Kit, calls: int = 3) -> Path:
    await (await fill(kit, calls)).close()
    path: Path = kit.path
    return path


def sql(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def replaced(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


def garbage(path: Path) -> None:
    path.write_bytes(b"not a ledger at all" * 1_000)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def one_page(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:4096])


def flipped(path: Path) -> None:
    """One bit of an amount in an entry: 60 becomes 70."""
    replaced(path, b'"nanos":60,"basis":"usage"', b'"nanos":70,"basis":"usage"')


def other_file(path: Path) -> None:
    path.unlink()
    sql(path, "CREATE TABLE cats (name)")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "garbage": garbage,
    "cut in half": half,
    "cut to a page": one_page,
    "cut to nothing": lambda path: path.open("w").close(),
    "another program's file": other_file,
    "a bit of an entry": flipped,
    "an entry removed": lambda path: sql(path, "DELETE FROM journal WHERE seq = 4"),
    "an entry put in": lambda path: sql(
        path,
        "INSERT INTO journal SELECT seq + 1, kind, subject, entry, hash FROM journal "
        "ORDER BY seq DESC LIMIT 1",
    ),
    "the journal's end removed": lambda path: sql(path, "DELETE FROM journal WHERE seq > 5"),
    "journal emptied": lambda path: sql(path, "DELETE FROM journal"),
    "journal and balances emptied": lambda path: sql(
        path,
        "DELETE FROM journal",
        "DELETE FROM accounts",
        "DELETE FROM holds",
        "DELETE FROM budgets",
    ),
    "balances emptied": lambda path: sql(path, "DELETE FROM accounts"),
    "one balance removed": lambda path: sql(path, "DELETE FROM accounts WHERE id = 'session:s'"),
    "a balance edited": lambda path: sql(
        path, "UPDATE accounts SET body = replace(body, '\"settled\":180', '\"settled\":1')"
    ),
    "open holds emptied": lambda path: sql(path, "DELETE FROM holds"),
    "budgets emptied": lambda path: sql(path, "DELETE FROM budgets"),
    "a budget raised": lambda path: sql(path, "UPDATE budgets SET ceiling = 99999999"),
    "a table dropped": lambda path: sql(path, "DROP TABLE holds"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
async def test_a_damaged_ledger_is_set_aside_and_no_later_start_begins_anew(
    files: Kit, damage: Callable[[Path], None]
) -> None:
    path = await closed_ledger(files)
    damage(path)
    left = path.read_bytes()

    with pytest.raises(JournalDamaged, match="was set aside as") as told:
        await files.open()

    (aside,) = path.parent.glob("ledger.db.damaged-????????-??????")
    assert str(aside) in str(told.value)
    assert told.value.exit_code == 78, "no supervisor starts it again"
    assert not path.exists()
    if left:
        assert aside.stat().st_size >= len(left), "what can still be read is kept"
    for _ in range(2):
        with pytest.raises(JournalDamaged, match="is gone"):
            await files.open()
    assert not path.exists()


async def test_a_deleted_ledger_is_no_fresh_start(files: Kit) -> None:
    path = await closed_ledger(files)
    path.unlink()
    for _ in range(2):
        with pytest.raises(JournalDamaged, match="start-over"):
            await files.open()


async def test_a_ledger_put_back_after_it_was_missed_serves_again(files: Kit) -> None:
    path = await closed_ledger(files)
    kept = path.read_bytes()
    path.unlink()
    with pytest.raises(JournalDamaged):
        await files.open()
    path.write_bytes(kept)
    store = await files.open()
    assert store.ledger.session("s").settled == 3 * 60 + 100


async def test_an_older_copy_is_not_taken_for_the_ledger(files: Kit) -> None:
    path = await closed_ledger(files)
    older = path.read_bytes()
    store = await files.open()
    await files.hold(store, "more", 500)[1]
    await store.close()
    path.write_bytes(older)
    with pytest.raises(JournalDamaged, match="though there were"):
        await files.open()


async def test_a_first_start_that_wrote_nothing_is_followed_by_another(files: Kit) -> None:
    for _ in range(2):
        store = await files.open()
        assert await store.verify() == 0
        await store.close()


async def test_a_bit_flipped_far_back_is_found_by_the_audit(
    files: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentwatch.store.rows.TAIL_CHECKED", 2)
    sql(
        await closed_ledger(files),
        "UPDATE journal SET entry = CAST(replace(entry, '60', '70') AS BLOB) WHERE seq = 4",
    )
    store = await files.open()
    with pytest.raises(LedgerError, match="chain is broken at entry"):
        await store.verify()


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ("UPDATE journal SET entry = replace(entry, '60', '61') WHERE seq = 4", "chain is broken"),
        ("DELETE FROM journal WHERE seq = 4", "chain is broken"),
        ("DELETE FROM journal WHERE seq > 4", "ends at entry 4"),
        ("UPDATE journal SET seq = 99 WHERE seq = 4", "chain is broken"),
        ("UPDATE journal SET hash = zeroblob(32) WHERE seq = 4", "chain is broken"),
        ("UPDATE journal SET subject = 'other' WHERE seq = 4", "another's name"),
        ("UPDATE journal SET kind = 'voided' WHERE seq = 4", "another's name"),
    ],
)
async def test_the_audit_of_a_running_ledger_tells_what_was_done_to_it(
    files: Kit, edit: str, told: str
) -> None:
    store = await fill(files)
    journal: Any = store._journal
    journal._ask(lambda db: db.execute(edit))
    with pytest.raises(LedgerError, match=told):
        await store.verify()


async def test_a_ledger_of_a_newer_version_is_left_where_it_is(files: Kit) -> None:
    path = await closed_ledger(files)
    sql(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(JournalUnavailable, match="newer version"):
        await files.open()
    sql(path, f"PRAGMA user_version = {len(MIGRATIONS)}")
    assert (await files.open()).ledger.session("s").settled == 280


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA locking_mode=EXCLUSIVE")
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hold_elsewhere() -> Iterator[Callable[[Path], None]]:
    """Locks a file in another process for as long as the test runs."""
    with contextlib.ExitStack() as held:

        def lock(path: Path) -> None:
            holder = held.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", HOLDER, str(path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            held.callback(holder.communicate, "")
            assert holder.stdout is not None and holder.stdout.readline() == "locked\n"

        yield lock


async def test_a_ledger_that_another_process_holds_is_unavailable_and_not_damaged(
    files: Kit, monkeypatch: pytest.MonkeyPatch, hold_elsewhere: Callable[[Path], None]
) -> None:
    path = await closed_ledger(files)
    before = path.read_bytes()
    monkeypatch.setattr(sqlite, "LOCK_WAIT_S", 0.05)
    hold_elsewhere(path)
    with pytest.raises(JournalUnavailable, match="another daemon"):
        await files.open()
    assert path.read_bytes() == before


async def test_two_journals_never_write_one_file(
    files: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LOCK_WAIT_S", 0.05)
    store = await fill(files)
    with pytest.raises(JournalUnavailable):
        SqliteJournal(files.path).load()
    await files.hold(store, "goes on", 1)[1]


async def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(JournalUnavailable, match="can't be opened"):
        SqliteJournal(tmp_path / "nowhere" / "ledger.db").load()


async def test_no_file_of_the_ledger_can_be_read_by_others(files: Kit) -> None:
    files.path.touch(mode=0o644)
    store = await fill(files)
    names = {path.name for path in files.path.parent.iterdir()}
    assert {"ledger.db", "ledger.db-wal", "ledger.reserve", "ledger.witness"} <= names
    for path in files.path.parent.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path.name
    await store.close()
