"""Alerts on disk, and what is still to be delivered of them: a file of its own beside the ledger.

Nothing here is money, and no call waits for it: what is told is queued, and one thread writes all
that is queued in one transaction. A file that is damaged is set aside; a disk that takes nothing
is tried again, with the last of what was told kept. Whoever asks is answered after all that was
told before.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import secrets
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from agentwatch.core.alert import Alert
from agentwatch.errors import AlertsUnavailable

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], None]

logger = logging.getLogger(__name__)

#: alerts that are kept; older ones go, but for those that are still to be delivered
KEPT = 10_000
#: what was told while the disk took nothing, and how long until it is tried again
MOST_UNWRITTEN = 2_000
RETRY_S = 1.0

#: where a delivery stands
PENDING, DELIVERED, DEAD = "pending", "delivered", "dead"

_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE alerts (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    at REAL NOT NULL,
    session_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    message TEXT NOT NULL,
    evidence BLOB NOT NULL,
    action TEXT NOT NULL,
    ended_at REAL,
    acked_at REAL
);
CREATE INDEX alerts_session ON alerts (session_id, number);
CREATE TABLE outbox (
    alert TEXT NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    channel TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending',
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at REAL NOT NULL,
    why TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (alert, channel)
) WITHOUT ROWID;
CREATE INDEX outbox_due ON outbox (state, next_at);
PRAGMA user_version = 1;
COMMIT;
"""
_FIELDS = "id, at, session_id, kind, severity, message, evidence, action, ended_at, acked_at"


def new_alert_id(at: float) -> str:
    """An id that no other alert has: time for the order, random for uniqueness."""
    return f"al{int(at * 1000):012x}{secrets.token_hex(5)}"


class Delivery(Struct, frozen=True, kw_only=True):
    """An alert on its way through a channel. `next_at`: when it is to be tried, or tried again."""

    alert: Alert
    channel: str
    state: str
    attempts: int
    next_at: float
    why: str


class Question:
    """Something that somebody waits for the answer to; it is asked once what was told before is
    written."""

    def __init__(self, ask: Callable[[sqlite3.Connection], Any], answer: Future[Any]) -> None:
        self._ask, self._answer = ask, answer

    def answer_from(self, connection: sqlite3.Connection) -> None:
        """Ask it. Whatever fails, who waits hears of it."""
        if not self._answer.set_running_or_notify_cancel():
            return
        try:
            self._answer.set_result(self._ask(connection))
        except Exception as error:
            failed = AlertsUnavailable(f"the alerts can't be read: {error}")
            failed.__cause__ = error
            self._answer.set_exception(failed)


class AlertStore:
    """The file (None: memory, for as long as the process lasts). `open` first; the verbs that tell
    return at once, those that ask are awaited."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        #: what is to be written, what is to be answered; None: the end
        self._jobs: queue.SimpleQueue[Job | Question | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._unwritten: deque[Job] = deque(maxlen=MOST_UNWRITTEN)

    def open(self) -> None:
        """Open the file, or make it; where that can't be done, alerts last as long as the process
        does, and the log says so."""
        connection = self._connected()
        self._thread = threading.Thread(
            target=self._work, args=(connection,), name="alerts", daemon=True
        )
        self._thread.start()

    async def close(self) -> None:
        """Write what is queued, and let go of the file."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)

    # ---- telling

    def add(self, alert: Alert, channels: Sequence[str] = ()) -> None:
        """Keep an alert, to be delivered through these channels."""
        values = (*msgspec.structs.astuple(alert),)
        evidence = msgspec.json.encode(alert.evidence)
        marks = ", ".join("?" * len(values))

        def job(db: sqlite3.Connection) -> None:
            row = [evidence if value is alert.evidence else value for value in values]
            db.execute(f"INSERT OR IGNORE INTO alerts ({_FIELDS}) VALUES ({marks})", row)  # noqa: S608
            for channel in channels:
                db.execute(
                    "INSERT OR IGNORE INTO outbox (alert, channel, next_at) VALUES (?, ?, ?)",
                    (alert.id, channel, alert.at),
                )
            _trim(db)

        self._jobs.put(job)

    def end(self, alert_id: str, at: float) -> None:
        """Its cause has ended."""
        self._jobs.put(
            lambda db: _run(
                db,
                "UPDATE alerts SET ended_at = ? WHERE id = ? AND ended_at IS NULL",
                at,
                alert_id,
            )
        )

    def end_all(self, at: float, but: Sequence[str] = ()) -> None:
        """Whatever is open, but for these alerts: nobody watches it any more."""
        marks = ", ".join("?" * len(but))
        query = f"UPDATE alerts SET ended_at = ? WHERE ended_at IS NULL AND id NOT IN ({marks})"  # noqa: S608
        self._jobs.put(lambda db: _run(db, query, at, *but))

    def delivered(self, alert_id: str, channel: str) -> None:
        """It was taken."""
        self._moved(alert_id, channel, DELIVERED, 0.0, "")

    def failed(self, alert_id: str, channel: str, next_at: float, why: str) -> None:
        """It was not taken, and is to be tried again."""
        self._moved(alert_id, channel, PENDING, next_at, why)

    def died(self, alert_id: str, channel: str, why: str) -> None:
        """It will not be tried again."""
        self._moved(alert_id, channel, DEAD, 0.0, why)

    def _moved(self, alert_id: str, channel: str, state: str, next_at: float, why: str) -> None:
        self._jobs.put(
            lambda db: _run(
                db,
                "UPDATE outbox SET state = ?, next_at = ?, why = ?, attempts = attempts + 1 "
                "WHERE alert = ? AND channel = ? AND state = 'pending'",
                state,
                next_at,
                why[:500],
                alert_id,
                channel,
            )
        )

    # ---- asking: all raise AlertsUnavailable

    async def latest(
        self, limit: int, session_id: str | None = None, *, unacked: bool = False
    ) -> list[Alert]:
        """The last alerts, the oldest of them first."""
        where, values = ["1"], list[Any]()
        if session_id is not None:
            where.append("session_id = ?")
            values.append(session_id)
        if unacked:
            where.append("acked_at IS NULL")
        return await self._alerts(" AND ".join(where), *values, limit)

    async def unended(self, kind: str) -> list[Alert]:
        """The alerts of a kind whose cause has not ended, the oldest first."""
        return await self._alerts("ended_at IS NULL AND kind = ?", kind, KEPT)

    async def _alerts(self, where: str, *values: object) -> list[Alert]:
        query = f"SELECT {_FIELDS} FROM alerts WHERE {where} ORDER BY number DESC LIMIT ?"  # noqa: S608
        rows = await self._ask(lambda db: db.execute(query, values).fetchall())
        return [_alert(row) for row in reversed(rows)]

    async def acknowledge(self, ids: Iterable[str] | None, at: float) -> list[str]:
        """Somebody has seen these (None: all); which of them were new to him."""
        listed = None if ids is None else list(ids)

        def ask(db: sqlite3.Connection) -> list[str]:
            where = "acked_at IS NULL"
            if listed is not None:
                where += f" AND id IN ({', '.join('?' * len(listed))})"
            query = f"UPDATE alerts SET acked_at = ? WHERE {where} RETURNING id"  # noqa: S608
            found = db.execute(query, (at, *(listed or ()))).fetchall()
            return [alert_id for (alert_id,) in found]

        return await self._ask(ask)

    async def known(self, ids: Iterable[str]) -> set[str]:
        """Which of these there are."""
        listed = list(ids)
        query = f"SELECT id FROM alerts WHERE id IN ({', '.join('?' * len(listed))})"  # noqa: S608
        rows = await self._ask(lambda db: db.execute(query, listed).fetchall())
        return {alert_id for (alert_id,) in rows}

    async def due(self, at: float, limit: int) -> list[Delivery]:
        """What is to be delivered by now, the longest due first."""
        return await self._deliveries("state = 'pending' AND next_at <= ?", at, limit)

    async def dead(self, limit: int) -> list[Delivery]:
        """What was given up."""
        return await self._deliveries("state = ?", DEAD, limit)

    async def next_due_at(self) -> float | None:
        """When something is to be delivered next; None: nothing is."""
        query = "SELECT min(next_at) FROM outbox WHERE state = 'pending'"
        found: tuple[float | None] = await self._ask(lambda db: db.execute(query).fetchone())
        return found[0]

    async def _deliveries(self, where: str, value: object, limit: int) -> list[Delivery]:
        columns = ", ".join(f"alerts.{name.strip()}" for name in _FIELDS.split(","))
        query = (
            f"SELECT {columns}, channel, state, attempts, next_at, why FROM outbox "  # noqa: S608
            f"JOIN alerts ON alerts.id = outbox.alert WHERE {where} ORDER BY next_at LIMIT ?"
        )
        rows = await self._ask(lambda db: db.execute(query, (value, limit)).fetchall())
        return [_delivery(row) for row in rows]

    async def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        if self._thread is None:
            raise AlertsUnavailable("the alerts are closed")
        answer: Future[T] = Future()
        self._jobs.put(Question(question, answer))
        return await asyncio.wrap_future(answer)

    # ---- the thread

    def _work(self, connection: sqlite3.Connection) -> None:
        last = False
        while not last:
            batch, last = self._batch()
            self._write(connection, [job for job in batch if not isinstance(job, Question)])
            for job in batch:
                if isinstance(job, Question):
                    job.answer_from(connection)
        connection.close()

    def _batch(self) -> tuple[list[Job | Question], bool]:
        """All that is queued, waited for where there is nothing; and whether that was the last."""
        batch: list[Job | Question] = []
        try:
            job = self._jobs.get(timeout=RETRY_S if self._unwritten else None)
            while job is not None:
                batch.append(job)
                job = self._jobs.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _write(self, connection: sqlite3.Connection, batch: list[Job]) -> None:
        jobs = [*self._unwritten, *batch]
        if not jobs:
            return
        self._unwritten.clear()
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                job(connection)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            logger.error("alerts can't be written, and are tried again: %s", error)
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._unwritten.extend(jobs)

    # ---- opening

    def _connected(self) -> sqlite3.Connection:
        if self._path is not None:
            try:
                return _opened_anyway(self._path)
            except (OSError, sqlite3.Error) as error:
                logger.error("%s can't be opened, alerts are not kept: %s", self._path, error)
        return _configured(sqlite3.connect(":memory:", **_WAYS))


_WAYS: dict[str, Any] = {"isolation_level": None, "check_same_thread": False}


def _opened_anyway(path: Path) -> sqlite3.Connection:
    """The file's connection; one that is damaged is set aside, and a new one made."""
    try:
        return _opened(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        aside = path.with_suffix(".damaged")
        logger.error("%s is damaged (%s), and was set aside as %s", path, error, aside)
        path.replace(aside)
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        return _opened(path)


def _opened(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600)
    path.chmod(0o600)
    connection = sqlite3.connect(path, timeout=2.0, **_WAYS)
    try:
        return _configured(connection)
    except BaseException:
        connection.close()
        raise


def _configured(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA secure_delete=ON")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > 1:
        raise sqlite3.OperationalError("it was written by a newer version of AgentWatch")
    if version == 0:
        connection.executescript(_SCHEMA)
    return connection


def _trim(db: sqlite3.Connection) -> None:
    db.execute(
        "DELETE FROM alerts WHERE number <= (SELECT max(number) FROM alerts) - ? "
        "AND id NOT IN (SELECT alert FROM outbox WHERE state = 'pending')",
        (KEPT,),
    )


def _run(db: sqlite3.Connection, query: str, *values: object) -> None:
    db.execute(query, values)


def _alert(row: Sequence[Any]) -> Alert:
    fields = dict(zip(_NAMES, row, strict=True))
    fields["evidence"] = msgspec.json.decode(fields["evidence"])
    return Alert(**fields)


_NAMES = [name.strip() for name in _FIELDS.split(",")]


def _delivery(row: Sequence[Any]) -> Delivery:
    *alert, channel, state, attempts, next_at, why = row
    return Delivery(
        alert=_alert(alert),
        channel=channel,
        state=state,
        attempts=attempts,
        next_at=next_at,
        why=why,
    )
