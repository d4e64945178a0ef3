"""The journal in an SQLite file: one writer thread, group commit, nothing lost by a crash.

WAL with `synchronous=FULL` survives a power cut; `NORMAL` survives the death of the process.
Exactly one connection is open, in exclusive mode: two of them can corrupt a WAL in SQLite up to
3.51.2. A file that can't be trusted is set aside and never read as an empty one: a witness beside
it tells that there was a ledger, so that a deleted file is no fresh start either.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import msgspec

from agentwatch.core.accounts import Hold
from agentwatch.core.entries import GENESIS, chained
from agentwatch.errors import JournalDamaged, JournalUnavailable
from agentwatch.store.memory import read_accounts
from agentwatch.store.protocol import Batch, Row, Snapshot
from agentwatch.store.schema import migrate

T = TypeVar("T")

#: freed when the disk is full, so that the settles of calls in flight get through
RESERVE_BYTES = 1 << 20
#: rows whose chain is checked at each start; `doctor` checks all
TAIL_CHECKED = 500
SYNCHRONOUS = {"power": "FULL", "process": "NORMAL"}


class SqliteJournal:
    """The ledger's file. `load` first; then `append` from the loop that called it."""

    def __init__(self, path: Path, durability: str = "power") -> None:
        self._path = path
        self._synchronous = SYNCHRONOUS[durability]
        self._jobs: queue.SimpleQueue[Callable[[sqlite3.Connection], None] | None]
        self._jobs = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # ---- the protocol

    def load(self) -> Snapshot:
        """Open the file, check what is cheap to check, and read the balances.

        Raises JournalDamaged, JournalUnavailable.
        """
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        started: Future[Snapshot] = Future()
        self._thread = threading.Thread(
            target=self._write, args=(started,), name="ledger", daemon=True
        )
        self._thread.start()
        return started.result()

    def append(self, batch: Batch, done: Callable[[Exception | None], None]) -> None:
        """Write a batch in one transaction; `done` is called on the loop."""
        loop = self._loop

        def job(connection: sqlite3.Connection) -> None:
            failed = self._try_write(connection, batch)
            if loop is not None and not loop.is_closed():
                loop.call_soon_threadsafe(done, failed)
            else:
                done(failed)

        self._jobs.put(job)

    def rows(self, after: int, limit: int) -> list[Row]:
        """At most `limit` rows behind `after`."""
        sql = (
            "SELECT seq, kind, subject, entry, hash FROM journal WHERE seq > ? ORDER BY seq LIMIT ?"
        )
        return self._ask(lambda db: [Row(*row) for row in db.execute(sql, (after, limit))])

    def about(self, subject: str) -> list[Row]:
        """All rows about one hold, session or budget."""
        sql = "SELECT seq, kind, subject, entry, hash FROM journal WHERE subject = ? ORDER BY seq"
        return self._ask(lambda db: [Row(*row) for row in db.execute(sql, (subject,))])

    def close(self) -> None:
        """Write what is queued, fold the WAL into the file, and let go of it."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    # ---- the writer thread

    def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        answer: Future[T] = Future()

        def job(connection: sqlite3.Connection) -> None:
            try:
                answer.set_result(question(connection))
            except sqlite3.Error as error:
                answer.set_exception(JournalUnavailable(f"the ledger can't be read: {error}"))

        self._jobs.put(job)
        return answer.result()

    def _write(self, started: Future[Snapshot]) -> None:
        try:
            connection, snapshot = self._open()
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(snapshot)
        while (job := self._jobs.get()) is not None:
            job(connection)
        connection.close()

    def _try_write(self, connection: sqlite3.Connection, batch: Batch) -> Exception | None:
        try:
            _write_batch(connection, batch)
        except sqlite3.Error as error:
            if "full" in str(error) and self._free_reserve():
                return self._try_write(connection, batch)
            return JournalUnavailable(f"the ledger can't be written: {error}")
        return None

    def _free_reserve(self) -> bool:
        try:
            self._reserve.unlink()
        except OSError:
            return False
        return True

    # ---- opening

    @property
    def _reserve(self) -> Path:
        return self._path.with_suffix(".reserve")

    @property
    def _witness(self) -> Path:
        return self._path.with_suffix(".witness")

    def _open(self) -> tuple[sqlite3.Connection, Snapshot]:
        if not self._path.exists() and self._witness.exists():
            raise JournalDamaged(self._missing())
        if not self._path.exists():
            self._path.touch(mode=0o600)
        try:
            connection = self._connect()
            snapshot = _read(connection)
        except sqlite3.OperationalError as error:
            raise JournalUnavailable(
                f"the ledger {self._path} can't be opened: {error}. Is another daemon using it?"
            ) from error
        except (sqlite3.DatabaseError, msgspec.MsgspecError, ValueError) as error:
            raise JournalDamaged(self._set_aside(str(error))) from error
        self._keep_reserve()
        return connection, snapshot

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, timeout=2.0, check_same_thread=False
        )
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={self._synchronous}")
        connection.execute("PRAGMA wal_autocheckpoint=2000")
        migrate(connection)
        return connection

    def _keep_reserve(self) -> None:
        self._witness.touch(mode=0o600)
        if not self._reserve.exists():
            try:
                self._reserve.write_bytes(b"\0" * RESERVE_BYTES)
                self._reserve.chmod(0o600)
            except OSError:
                self._free_reserve()

    def _missing(self) -> str:
        return (
            f"the ledger {self._path} is gone, though one was kept there. Put it back, or begin "
            f"anew, with nothing spent, by `agentwatch doctor --start-over`"
        )

    def _set_aside(self, why: str) -> str:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        aside = self._path.with_name(f"{self._path.name}.damaged-{stamp}")
        self._witness.touch(mode=0o600)
        for suffix in ("", "-wal", "-shm"):
            part = Path(f"{self._path}{suffix}")
            if part.exists():
                part.rename(f"{aside}{suffix}")
        return (
            f"the ledger is damaged ({why}) and was set aside as {aside}. No call is let through, "
            f"since what was spent is not known. `agentwatch doctor` tells what can be done"
        )


def _write_batch(connection: sqlite3.Connection, batch: Batch) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany(
            "INSERT INTO journal (seq, kind, subject, entry, hash) VALUES (?, ?, ?, ?, ?)",
            [(row.seq, row.kind, row.subject, row.data, row.hash) for row in batch.rows],
        )
        connection.executemany(
            "INSERT OR REPLACE INTO accounts (id, body) VALUES (?, ?)", batch.accounts.items()
        )
        connection.executemany(
            "INSERT OR REPLACE INTO budgets (name, ceiling) VALUES (?, ?)", batch.budgets.items()
        )
        connection.executemany(
            "INSERT OR REPLACE INTO holds (id, body) VALUES (?, ?)",
            [(hold, body) for hold, body in batch.holds.items() if body is not None],
        )
        connection.executemany(
            "DELETE FROM holds WHERE id = ?",
            [(hold,) for hold, body in batch.holds.items() if body is None],
        )
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _read(connection: sqlite3.Connection) -> Snapshot:
    seq, head = _check_tail(connection)
    accounts, sessions = read_accounts(
        body for (body,) in connection.execute("SELECT body FROM accounts")
    )
    if seq and not accounts and not sessions:
        raise ValueError("its balances are missing")
    decode_hold = msgspec.json.Decoder(Hold).decode
    return Snapshot(
        seq=seq,
        hash=head,
        accounts=accounts,
        sessions=sessions,
        budgets=dict(connection.execute("SELECT name, ceiling FROM budgets")),
        holds=[decode_hold(body) for (body,) in connection.execute("SELECT body FROM holds")],
    )


def _check_tail(connection: sqlite3.Connection) -> tuple[int, bytes]:
    """The last row's number and hash, with the chain of the last rows checked.

    Raises ValueError where a row was changed, lost or put in.
    """
    rows = connection.execute(
        "SELECT seq, entry, hash FROM journal ORDER BY seq DESC LIMIT ?", (TAIL_CHECKED + 1,)
    ).fetchall()[::-1]
    if not rows:
        if connection.execute("SELECT 1 FROM accounts LIMIT 1").fetchone():
            raise ValueError("its journal is empty, its balances are not")
        return 0, GENESIS
    if rows[0][0] == 1:
        rows.insert(0, (0, b"", GENESIS))
    for (seq, _, before), (following, data, after) in pairwise(rows):
        if following != seq + 1 or chained(before, data) != after:
            raise ValueError(f"its hash chain is broken at entry {following}")
    return rows[-1][0], rows[-1][2]
