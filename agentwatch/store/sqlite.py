"""The journal in an SQLite file: one writer thread, group commit, nothing lost by a crash.

WAL with `synchronous=FULL` survives a power cut; `NORMAL` survives the death of the process.
Exactly one connection is open, in exclusive mode: two of them can corrupt a WAL in SQLite up to
3.51.2. A file that can't be trusted is set aside and never read as an empty one: a witness beside
it tells how many entries there were at least, so that a deleted, emptied or older file is no fresh
start either. What `NORMAL` has written is told of for as long as the machine is not started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

import msgspec

from agentwatch.errors import JournalDamaged, JournalUnavailable
from agentwatch.store.protocol import Batch, Row, Snapshot
from agentwatch.store.recovery import (
    BOOT,
    SUFFIXES,
    bear_witness,
    entries_at_least,
    missing,
    says_nothing_of_the_file,
    set_aside,
    sync,
)
from agentwatch.store.rows import read_rows, read_snapshot, write_batch
from agentwatch.store.schema import migrate

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: freed when the disk is full, so that the settles of calls in flight get through
RESERVE_BYTES = 1 << 20
#: how long a start waits for a daemon that is just ending
LOCK_WAIT_S = 2.0
#: a freed reserve is made again once the disk has this much more than it takes
ROOM_FOR_RESERVE = 8 * RESERVE_BYTES
#: a file that was removed is put back at most so often
REPLACE_S = 1.0
SYNCHRONOUS = {"power": "FULL", "process": "NORMAL"}
#: pages of WAL after which they are folded into the file
CHECKPOINT_PAGES = 2000
#: SQLite's words for a write that the disk did not take: full, over quota, or told as late as by
#: the sync. A disk that is broken says the same; then the reserve is of no use, and no loss.
NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC}


class SqliteJournal:
    """The ledger's file. `load` first; then `append` from the loop that called it."""

    def __init__(self, path: Path, durability: str = "power", boot: str = BOOT) -> None:
        self._path = path
        #: which start of the machine this is
        self._boot = boot
        self._synchronous = SYNCHRONOUS[durability]
        #: what is written is on the disk at once
        self._synced = durability == "power"
        self._jobs: queue.SimpleQueue[Callable[[sqlite3.Connection], None] | None]
        self._jobs = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        #: guards `_thread`, so that no job is queued behind the last
        self._door = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reserve_freed = False
        #: entries that are on the disk for sure, as the witness has it, and that were written
        self._vouched = 0
        self._seq = 0
        #: which file is open; it is not put back again before `_replace_at` of the monotonic clock
        self._file: tuple[int, int] | None = None
        self._replace_at = 0.0

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
        thread = threading.Thread(target=self._write, args=(started,), name="ledger", daemon=True)
        thread.start()
        snapshot = started.result()
        self._thread = thread
        return snapshot

    def append(self, batch: Batch, done: Callable[[Exception | None], None]) -> None:
        """Write a batch in one transaction; `done` is called on the loop."""
        loop = self._loop

        def job(connection: sqlite3.Connection) -> None:
            failed = self._try_write(connection, batch)
            if loop is None:
                done(failed)
                return
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(done, failed)

        if not self._queue(job):
            done(JournalUnavailable("the ledger is closed"))

    def rows(self, after: int, limit: int) -> list[Row]:
        """At most `limit` rows behind `after`."""
        return self._ask(lambda db: read_rows(db, "seq > ?", after, limit))

    def about(self, subject: str) -> list[Row]:
        """All rows about one hold, session or budget."""
        return self._ask(lambda db: read_rows(db, "subject = ?", subject))

    def close(self) -> None:
        """Write what is queued, fold the WAL into the file, and let go of it."""
        with self._door:
            thread, self._thread = self._thread, None
            self._jobs.put(None)
        if thread is not None:
            thread.join()

    # ---- the writer thread

    def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        answer: Future[T] = Future()

        def job(connection: sqlite3.Connection) -> None:
            try:
                answer.set_result(question(connection))
            except Exception as error:  # whatever it is, who asks must hear of it
                failed = JournalUnavailable(f"the ledger can't be read: {error}")
                failed.__cause__ = error
                answer.set_exception(failed)

        if not self._queue(job):
            raise JournalUnavailable("the ledger is closed")
        return answer.result()

    def _queue(self, job: Callable[[sqlite3.Connection], None]) -> bool:
        with self._door:
            if self._thread is None:
                return False
            self._jobs.put(job)
            return True

    def _write(self, started: Future[Snapshot]) -> None:
        try:
            connection, snapshot = self._open()
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(snapshot)
        while (job := self._jobs.get()) is not None:
            job(connection)
            connection = self._in_its_place(connection)
        connection.close()
        self._vouch(self._seq)

    def _try_write(self, connection: sqlite3.Connection, batch: Batch) -> Exception | None:
        try:
            write_batch(connection, batch)
        except Exception as error:  # whatever it is, who waits must hear of it
            if _may_be_full(error) and self._free_reserve():
                return self._try_write(connection, batch)
            failed = JournalUnavailable(f"the ledger can't be written: {error}")
            failed.__cause__ = error
            return failed
        if batch.rows:
            self._seq = batch.rows[-1].seq
        if not self._vouched:
            self._vouch(self._seq, connection)
        else:
            # else a WAL that was cut off after a crash would be taken for all there is
            self._vouch(self._seq if self._synced else self._vouched)
        if self._reserve_freed:
            self._keep_reserve(ROOM_FOR_RESERVE)
        return None

    def _free_reserve(self) -> bool:
        try:
            self._reserve.unlink()
        except OSError:
            return False
        self._reserve_freed = True
        return True

    def _keep_reserve(self, room: int = RESERVE_BYTES) -> None:
        try:
            disk = os.statvfs(self._path.parent)
            if self._reserve.exists() or disk.f_bavail * disk.f_frsize < room:
                return
            self._reserve.touch(mode=0o600)
            self._reserve.write_bytes(os.urandom(RESERVE_BYTES))  # some disks store no zeros
        except OSError:
            self._free_reserve()
        else:
            self._reserve_freed = False

    def _vouch(self, seq: int, connection: sqlite3.Connection | None = None) -> None:
        """Let the witness tell that `seq` entries are on the disk by then, and what was written.

        What can't be told is left out: the witness then tells less than there is. Of no entries
        there is nothing to tell, and a witness that a power cut emptied would tell of one.
        """
        if not seq:
            return
        with contextlib.suppress(sqlite3.Error, OSError):
            if connection is not None:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            bear_witness(self._path, seq, self._seq, self._boot)
            self._vouched = seq

    # ---- a file that was removed or replaced under us

    def _in_its_place(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """The connection to go on with. Where the file is not ours any more, what we still hold
        open is all that is left of the ledger, and is written to its place again."""
        if self._identity() == self._file or time.monotonic() < self._replace_at:
            return connection
        self._replace_at = time.monotonic() + REPLACE_S
        try:
            self._write_anew(connection)
            connection.close()
            fresh = self._connection()
            self._configure(fresh)
        except (OSError, sqlite3.Error, JournalUnavailable) as error:
            logger.error("the ledger %s was removed, and can't be put back: %s", self._path, error)
            return connection
        logger.error("the ledger %s was removed or replaced: it was put back", self._path)
        self._file = self._identity()
        return fresh

    def _write_anew(self, connection: sqlite3.Connection) -> None:
        fresh = self._path.with_suffix(".fresh")
        fresh.unlink(missing_ok=True)
        connection.execute("VACUUM INTO ?", (str(fresh),))
        fresh.chmod(0o600)
        sync(fresh)
        # the old file's WAL would be played into the new one
        for suffix in SUFFIXES[1:]:
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        if self._path.exists():
            set_aside(self._path, self._boot)
        fresh.replace(self._path)
        sync(self._path.parent)

    def _identity(self) -> tuple[int, int] | None:
        """Which file lies there; None: none."""
        try:
            about = self._path.stat()
        except OSError:
            return None
        return about.st_dev, about.st_ino

    # ---- opening

    @property
    def _reserve(self) -> Path:
        return self._path.with_suffix(".reserve")

    def _open(self) -> tuple[sqlite3.Connection, Snapshot]:
        try:
            entries = entries_at_least(self._path, self._boot)
            if entries and not self._path.exists():
                raise JournalDamaged(missing(self._path))
            if entries and self._path.stat().st_size == 0:
                raise JournalDamaged(self._set_aside("it is empty"))
            self._path.touch(mode=0o600)
            self._path.chmod(0o600)
            connection, snapshot = self._connect(entries)
            self._keep_reserve()
        except (OSError, sqlite3.OperationalError) as error:
            raise JournalUnavailable(f"the ledger {self._path} can't be opened: {error}") from error
        self._seq = snapshot.seq
        self._file = self._identity()
        self._vouch(snapshot.seq, connection)
        return connection, snapshot

    def _connect(self, entries: int) -> tuple[sqlite3.Connection, Snapshot]:
        connection = self._connection()
        try:
            self._configure(connection)
            migrate(connection)
            snapshot = read_snapshot(connection)
            if snapshot.seq < entries:
                raise ValueError(f"it ends at entry {snapshot.seq}, though there were {entries}")
        except (sqlite3.Error, msgspec.MsgspecError, ValueError, TypeError) as error:
            connection.close()
            if says_nothing_of_the_file(error):
                raise JournalUnavailable(
                    f"the ledger {self._path} can't be opened: {error}. Is another daemon using it?"
                ) from error
            raise JournalDamaged(self._set_aside(str(error))) from error
        except JournalUnavailable:
            connection.close()
            raise
        return connection, snapshot

    def _connection(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self._path, isolation_level=None, timeout=LOCK_WAIT_S, check_same_thread=False
        )

    def _configure(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        # fetched, since that a disk failed just then is told at the statement's end only: else
        # SQLite goes on in another mode, in which a power cut may take back what was acknowledged
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise JournalUnavailable(f"the ledger {self._path} can't be opened: it has no WAL")
        connection.execute(f"PRAGMA synchronous={self._synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")

    def _set_aside(self, why: str) -> str:
        aside = set_aside(self._path, self._boot)
        return (
            f"the ledger is damaged ({why}) and was set aside as {aside}. No call is let "
            f"through, since what was spent is not known. `agentwatch doctor` tells what can be "
            f"done"
        )


def _may_be_full(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) in NO_ROOM
