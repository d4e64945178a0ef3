"""A ledger's files from outside: looked at without a change, set aside, begun anew.

Beside the file lies a witness that tells how many entries there were at least, so that a deleted,
emptied or older file is no fresh start: how many are on the disk for sure, and how many were
written since the machine was started, which only a power cut may take. Whoever uses this has the
home's lock.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import time
from functools import lru_cache
from pathlib import Path

import msgspec

from agentwatch.core.fold import Balances
from agentwatch.errors import JournalDamaged, JournalUnavailable, LedgerError
from agentwatch.store.audit import audit, digest
from agentwatch.store.protocol import Row
from agentwatch.store.rows import read_rows, read_snapshot
from agentwatch.store.schema import MIGRATIONS

SQLITE_VERSION = sqlite3.sqlite_version
#: SQLite's files of one ledger
SUFFIXES = ("", "-wal", "-shm")
#: errors that say nothing about what is in the file: it is left where it is
UNAVAILABLE = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_AUTH,
}


def _this_boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


#: which start of the machine this is; "" where the system does not tell
BOOT = _this_boot()


def says_nothing_of_the_file(error: Exception) -> bool:
    """Whether an error leaves open if the file is sound: it is locked, or can't be read."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF in UNAVAILABLE


# ---- the witness


@lru_cache(maxsize=8)
def witness_of(ledger: Path) -> Path:
    """Where the witness of this ledger lies."""
    return ledger.with_suffix(".witness")


def entries_at_least(ledger: Path, boot: str = BOOT) -> int:
    """How many entries the witness tells of in this start of the machine; 0 where there is none,
    1 where it can't be read.

    Raises OSError.
    """
    try:
        text = witness_of(ledger).read_text(errors="replace")
    except FileNotFoundError:
        return 0
    synced, _, since = text.strip().partition("\n")
    if not synced.isdecimal():
        return 1
    written, _, its_boot = since.partition(" ")
    if boot and its_boot.strip() == boot and written.isdecimal():
        return max(int(synced), int(written))
    return int(synced)


def bear_witness(ledger: Path, synced: int, written: int = 0, boot: str = "") -> None:
    """Let the witness tell that so many are on the disk for sure, and so many there for as long as
    this start of the machine lasts. In one step: half a witness is none. It is always as long, so
    that what is there is written over, which costs next to nothing.

    Raises OSError.
    """
    witness = witness_of(ledger)
    text = b"%020d\n%020d %-36s\n" % (synced, written, boot.encode())
    try:
        descriptor = os.open(witness, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        fresh = witness.with_suffix(".witness-new")
        fresh.touch(mode=0o600)
        fresh.write_bytes(text)
        fresh.replace(witness)
        return
    try:
        os.pwrite(descriptor, text, 0)
    finally:
        os.close(descriptor)


# ---- a ledger that can't be used


def missing(ledger: Path) -> str:
    """What to say of a ledger that is gone though its witness is there."""
    return (
        f"the ledger {ledger} is gone, though one was kept there. Put it back, or begin anew, "
        f"with nothing spent, by `agentwatch doctor --start-over`"
    )


def set_aside(ledger: Path, boot: str = BOOT) -> Path:
    """Rename a ledger's files, leaving a witness that there was one; the new name."""
    aside = _free_name(ledger)
    if not entries_at_least(ledger, boot):
        bear_witness(ledger, 1)
    for suffix in SUFFIXES:
        part = Path(f"{ledger}{suffix}")
        if part.exists():
            part.rename(f"{aside}{suffix}")
    return aside


def _free_name(ledger: Path) -> Path:
    """A name under which nothing was set aside yet: a rename would write over it."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    first = ledger.with_name(f"{ledger.name}.damaged-{stamp}")
    names = itertools.chain([first], (Path(f"{first}-{n:02}") for n in itertools.count(2)))
    return next(
        name for name in names if not any(Path(f"{name}{suffix}").exists() for suffix in SUFFIXES)
    )


def sync(path: Path) -> None:
    """Have a file, or a folder's names, on the disk for sure. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside_before(ledger: Path) -> list[Path]:
    """The ledgers that were set aside, the oldest first."""
    found = ledger.parent.glob(f"{ledger.name}.damaged-*")
    return sorted(path for path in found if not path.name.endswith(SUFFIXES[1:]))


def start_over(ledger: Path) -> Path | None:
    """Have the next start begin with an empty ledger. What is left of the old one is set aside:
    its new name, or None where nothing was left. Raises OSError."""
    aside = set_aside(ledger) if ledger.exists() else None
    witness_of(ledger).unlink(missing_ok=True)
    return aside


# ---- looking


def examine(ledger: Path, boot: str = BOOT) -> int:
    """Check a whole ledger that no daemon has open, and change nothing: its chain, and that its
    balances are what its entries add up to. `boot` is this start of the machine. Blocking.

    Returns how many entries there are; 0 where there is no ledger yet. Raises JournalDamaged,
    JournalUnavailable.
    """
    try:
        entries = entries_at_least(ledger, boot)
        if not ledger.exists():
            if entries:
                raise JournalDamaged(missing(ledger))
            return 0
        return _examine(ledger, entries)
    except OSError as error:
        raise JournalUnavailable(f"the ledger {ledger} can't be read: {error}") from error


def _examine(ledger: Path, entries: int) -> int:
    connection = sqlite3.connect(f"{ledger.absolute().as_uri()}?mode=ro", uri=True, timeout=2.0)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise JournalUnavailable("the ledger was written by a newer version of AgentWatch")
        found = _audited(connection) if version else 0
        # an index is no part of the chain, and what is looked up by it would not be found
        (sound,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if sound != "ok":
            raise ValueError(sound)
        if found < entries:
            raise ValueError(f"it ends at entry {found}, though there were {entries}")
        return found
    except (sqlite3.Error, msgspec.MsgspecError, ValueError, TypeError) as error:
        if says_nothing_of_the_file(error):
            raise JournalUnavailable(f"the ledger {ledger} can't be read: {error}") from error
        raise JournalDamaged(f"the ledger is damaged: {error}") from error
    except JournalUnavailable:
        raise
    except LedgerError as error:
        raise JournalDamaged(f"the ledger is damaged: {error}") from error
    finally:
        connection.close()


def _audited(connection: sqlite3.Connection) -> int:
    snapshot = read_snapshot(connection)
    balances = Balances()
    snapshot.restore(balances)
    return audit(_Reader(connection), snapshot.seq, digest(balances))


class _Reader:
    """A journal's rows, by a connection that can't write."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, after: int, limit: int) -> list[Row]:
        return read_rows(self._connection, "seq > ?", after, limit)
