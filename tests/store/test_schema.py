"""Migrations: numbered, each in one transaction, never over a newer file."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator

import pytest

from agentwatch.errors import JournalUnavailable
from agentwatch.store import schema
from agentwatch.store.schema import MIGRATIONS, migrate


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def test_a_new_file_is_brought_to_the_newest_schema_once(db: sqlite3.Connection) -> None:
    migrate(db)
    migrate(db)
    assert version(db) == len(MIGRATIONS)


def test_a_migration_that_fails_leaves_the_schema_before_it(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(db)
    broken = "CREATE TABLE half (a); CREATE TABLE journal (again);"
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, broken))
    with pytest.raises(sqlite3.OperationalError):
        migrate(db)
    assert version(db) == len(MIGRATIONS)
    assert not db.in_transaction
    assert not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'").fetchall()


def test_a_newer_file_is_left_alone(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalUnavailable, match="schema 99"):
        migrate(db)
    assert not db.execute("SELECT 1 FROM sqlite_master").fetchall()


def test_a_migration_that_was_released_never_changes() -> None:
    released = ["bc60fdf6a1d184fb83914a94c25913e76b8bfd0627d70ac343211df7c13720a5"]
    for script, digest in zip(MIGRATIONS, released, strict=True):
        assert hashlib.sha256(" ".join(script.split()).encode()).hexdigest() == digest
