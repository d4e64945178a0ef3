"""The ledger file's tables, as numbered migrations. A migration that was released never changes."""

from __future__ import annotations

import sqlite3

from agentwatch.errors import JournalUnavailable

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE journal (
        seq INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        entry BLOB NOT NULL,
        hash BLOB NOT NULL
    );
    CREATE INDEX journal_subject ON journal (subject);
    CREATE TABLE accounts (id TEXT PRIMARY KEY, body BLOB NOT NULL, seal BLOB NOT NULL)
        WITHOUT ROWID;
    CREATE TABLE budgets (name TEXT PRIMARY KEY, ceiling INTEGER) WITHOUT ROWID;
    CREATE TABLE holds (id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
    """,
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to the newest schema, one transaction a step.

    Raises JournalUnavailable where the file was written by a newer version: it is sound.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise JournalUnavailable(
            f"the ledger was written by a newer version of AgentWatch (schema {version}): install "
            f"that version again"
        )
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;{script}PRAGMA user_version={number};COMMIT;"
            )
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
