"""The telemetry's file: a row for each call, what was said beside it, and how both are removed.

It belongs to one process alone, which opens it exclusively. What is deleted is gone: the pages are
overwritten (`secure_delete`), and the WAL, which has them as they were before, is emptied each
time. A purge is written down before it begins, so that one that a crash cut off is gone on with.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import zstandard
from sqlite_utils import Database

from agentwatch.core.call_record import CallRecord, as_row
from agentwatch.errors import JournalUnavailable

#: rows that one transaction deletes: others get their turn in between, and the WAL stays small
AT_ONCE = 500
#: how long a start waits for a process that is just ending
LOCK_WAIT_S = 5.0
#: a file that is too large is brought down to this share of what it may have
TRIMMED_TO = 0.9
_LEVEL = 3
#: what every method may raise beside JournalUnavailable: the disk is full, or worse
FAILURES = (sqlite3.Error, OSError)
_LARGEST_PAYLOAD = 64 << 20


class Kept(NamedTuple):
    """A record, and what was said: text by its name (request, answer), or nothing."""

    record: CallRecord
    payload: dict[str, Any] | None = None


class Purge(NamedTuple):
    """What is to be removed: what meets every condition that is given; none given, everything."""

    session: str | None = None
    project: str | None = None
    before: float | None = None
    #: projects that have a rule of their own are left alone
    but_projects: tuple[str, ...] = ()

    def where(self) -> tuple[str, list[Any]]:
        """As SQL, and its values."""
        parts, values = ["1"], list[Any]()
        for condition, value in (
            ("session_id = ?", self.session),
            ("project = ?", self.project),
            ("at < ?", self.before),
        ):
            if value is not None:
                parts.append(condition)
                values.append(value)
        if self.but_projects:
            marks = ", ".join("?" * len(self.but_projects))
            parts.append(f"(project IS NULL OR project NOT IN ({marks}))")
            values += self.but_projects
        return " AND ".join(parts), values


class TelemetryStore:
    """The file, open. Raises JournalUnavailable where it can't be opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            try:
                self._open()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                self._set_aside()
                self._open()
        except (OSError, sqlite3.Error) as error:
            raise JournalUnavailable(f"the telemetry {path} can't be opened: {error}") from error
        self._pack = zstandard.ZstdCompressor(level=_LEVEL)
        self._unpack = zstandard.ZstdDecompressor()

    def _open(self) -> None:
        self._path.touch(mode=0o600)
        self._connection = sqlite3.connect(self._path, timeout=LOCK_WAIT_S)
        self._configure()
        self._db = Database(self._connection, execute_plugins=False)
        self._make_tables()

    @property
    def _damaged(self) -> Path:
        return self._path.with_suffix(".damaged")

    def _set_aside(self) -> None:
        """A file that is none of ours any more: calls are recorded in a new one."""
        self._connection.close()
        self._path.replace(self._damaged)
        for end in ("-wal", "-shm"):
            Path(f"{self._path}{end}").unlink(missing_ok=True)

    def _configure(self) -> None:
        for pragma in (
            # before the first table is made, or never
            "auto_vacuum=INCREMENTAL",
            "locking_mode=EXCLUSIVE",
            "journal_mode=WAL",
            # a power cut may take the last records, and never the file
            "synchronous=NORMAL",
            "secure_delete=ON",
        ):
            self._connection.execute(f"PRAGMA {pragma}").fetchall()

    def _make_tables(self) -> None:
        columns = {each.name: _column(each) for each in msgspec.structs.fields(CallRecord)}
        calls = self._db.table("calls")
        calls.create({"id": int, **columns, "payload": bytes}, pk="id", if_not_exists=True)
        for name in [name for name in (*columns, "payload") if name not in calls.columns_dict]:
            # the file is of an older version: new fields are empty in its rows
            calls.add_column(name, columns.get(name, bytes))
        for name in ("session_id", "project", "at"):
            calls.create_index([name], if_not_exists=True)
        self._db.table("purges").create({"id": int, "what": str}, pk="id", if_not_exists=True)
        self._connection.commit()

    # ---- writing and reading

    def add(self, kept: Iterable[Kept]) -> None:
        """Write these, in one transaction."""
        rows = [_as_columns(each.record) | {"payload": self._packed(each)} for each in kept]
        self._db.table("calls").insert_all(rows)
        self._connection.commit()

    def calls(
        self, session: str, after: int = 0, limit: int = 500, *, payloads: bool = True
    ) -> tuple[list[dict[str, Any]], int]:
        """At most `limit` records of a session behind `after`, oldest first, and where to go on;
        each with its `payload` where one was kept."""
        rows = list(
            self._db.table("calls").rows_where(
                "session_id = ? AND id > ?", [session, after], order_by="id", limit=limit
            )
        )
        last = int(rows[-1]["id"]) if rows else after
        return [self._told(row, payloads) for row in rows], last

    def count(self) -> int:
        """Records that there are."""
        return int(self._db.table("calls").count)

    def _told(self, row: dict[str, Any], payloads: bool) -> dict[str, Any]:
        packed, _ = row.pop("payload"), row.pop("id")
        told = row | {name: json.loads(row[name]) for name in _AS_JSON if row[name] is not None}
        told["stream"] = bool(row["stream"])
        if payloads and packed is not None:
            raw = self._unpack.decompress(packed, max_output_size=_LARGEST_PAYLOAD)
            told["payload"] = msgspec.json.decode(raw)
        return told

    def _packed(self, kept: Kept) -> bytes | None:
        if kept.payload is None:
            return None
        return self._pack.compress(msgspec.json.encode(kept.payload))

    # ---- removing

    def purge(self, what: Purge) -> int:
        """Remove for good what this means; how many records that were."""
        purges = self._db.table("purges")
        written = purges.insert({"what": msgspec.json.encode(what).decode()})
        self._connection.commit()
        removed = self._remove(*what.where())
        purges.delete(written.last_pk or 0)
        self._connection.commit()
        self._forget()
        if what == Purge():
            # nobody can tell what is in it
            self._damaged.unlink(missing_ok=True)
        return removed

    def has(self, what: Purge) -> bool:
        """Whether there is anything that this means."""
        where, values = what.where()
        rows = self._db.table("calls").rows_where(where, values, select="id", limit=1)
        return next(iter(rows), None) is not None

    def go_on(self) -> int:
        """Finish what a crash cut off; how many records were still there."""
        removed = 0
        for row in list(self._db.table("purges").rows):
            removed += self._remove(*msgspec.json.decode(row["what"], type=Purge).where())
            self._db.table("purges").delete(row["id"])
            self._connection.commit()
        self._forget()
        return removed

    def keep_within(self, most_bytes: int) -> int:
        """Remove the oldest records of a file that is too large; how many."""
        removed = 0
        while self.size > (most_bytes * TRIMMED_TO if removed else most_bytes):
            gone = self._remove_once("1", [])
            if not gone:
                break
            removed += gone
        if removed:
            self._forget()
        return removed

    @property
    def size(self) -> int:
        """Bytes of the file that are in use."""
        pages, free, each = (
            int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * each

    def _remove(self, where: str, values: list[Any]) -> int:
        removed = 0
        while gone := self._remove_once(where, values):
            removed += gone
        return removed

    def _remove_once(self, where: str, values: list[Any]) -> int:
        # where: conditions of our own, with values apart
        sql = f"SELECT id FROM calls WHERE {where} ORDER BY id LIMIT {AT_ONCE}"  # noqa: S608
        gone = self._connection.execute(
            f"DELETE FROM calls WHERE id IN ({sql})",  # noqa: S608
            values,
        ).rowcount
        self._connection.commit()
        return gone

    def _forget(self) -> None:
        """Give the pages back, and empty the WAL, which has them as they were."""
        # a script, as `execute` takes one step of it, which is one page
        self._connection.executescript("PRAGMA incremental_vacuum")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Fold the WAL into the file, and let go of it."""
        self._connection.commit()
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._connection.close()


#: fields that are more than one value
_AS_JSON = ("usage", "risks")
_KINDS = {"int": int, "float": float, "bool": int}


def _column(of: Any) -> type:
    told = str(of.type)
    return next(
        (kind for name, kind in _KINDS.items() if told.startswith((name, f"<class '{name}"))), str
    )


def _as_columns(record: CallRecord) -> dict[str, Any]:
    row = as_row(record)
    for name in _AS_JSON:
        row[name] = None if row[name] is None else json.dumps(row[name])
    return row


def age_limits(
    days: float, by_project: dict[str, float], now: float | None = None
) -> Iterator[Purge]:
    """What is too old: of each project with a rule of its own, and of all others."""
    now = time.time() if now is None else now
    yield Purge(before=now - days * 86_400, but_projects=tuple(by_project))
    for project, own in by_project.items():
        yield Purge(project=project, before=now - own * 86_400)
