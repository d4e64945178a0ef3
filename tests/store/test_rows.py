"""A batch is written whole or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from agentwatch.core.entries import GENESIS, Opened, chained, encode
from agentwatch.store.protocol import Batch, Row
from agentwatch.store.rows import read_rows, read_snapshot, write_batch
from agentwatch.store.schema import migrate


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    yield connection
    connection.close()


def row(seq: int = 1, previous: bytes = GENESIS) -> Row:
    data = encode(Opened(at=1.0, session="s"))
    return Row(seq, "opened", "s", data, chained(previous, data))


def counts(db: sqlite3.Connection) -> list[int]:
    tables = ("journal", "accounts", "budgets", "holds")
    return [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]


@pytest.mark.parametrize(
    "flaw",
    [
        Batch(rows=[row()], budgets={"project:p": 1 << 70}),
        Batch(rows=[row()], holds={"h": {}}),  # type: ignore[dict-item]
        Batch(rows=[row(), row()]),
    ],
    ids=["a number too large", "a body that is none", "a row twice"],
)
def test_a_batch_that_fails_at_its_end_leaves_nothing_behind(
    db: sqlite3.Connection, flaw: Batch
) -> None:
    with pytest.raises((OverflowError, sqlite3.Error)):
        write_batch(db, flaw)
    assert counts(db) == [0, 0, 0, 0]
    assert not db.in_transaction


def test_a_hold_that_ended_is_gone_and_its_rows_are_found_in_order(db: sqlite3.Connection) -> None:
    first = row()
    second = row(2, first.hash)
    write_batch(db, Batch(rows=[first], holds={"h": b"{}", "g": b"{}"}))
    write_batch(db, Batch(rows=[second], holds={"h": None}))
    assert counts(db) == [2, 0, 0, 1]
    assert read_rows(db, "subject = ?", "s") == [first, second]
    assert read_rows(db, "seq > ?", 0, 1) == [first]


def test_balances_without_a_journal_are_no_ledger(db: sqlite3.Connection) -> None:
    write_batch(db, Batch(accounts={"session:s": b'{"id":"session:s","name":"s"}'}))
    with pytest.raises(ValueError, match="journal is empty"):
        read_snapshot(db)


def test_an_empty_ledger_is_one(db: sqlite3.Connection) -> None:
    assert (read_snapshot(db).seq, read_snapshot(db).hash) == (0, GENESIS)
