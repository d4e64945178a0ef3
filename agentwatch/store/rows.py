"""The ledger's SQL: a batch is written in one transaction, and a start reads only what adds up.

A start can't fold the whole journal, so it checks what is cheap: the chain of the last rows, the
seal of each balance, the open holds against what the accounts hold, and the monthly ceilings
against the entries that set them. `doctor` checks the rest.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from itertools import pairwise

import msgspec

from agentwatch.core.accounts import Hold
from agentwatch.core.entries import GENESIS, CeilingSet, chained, decode
from agentwatch.store.memory import read_accounts
from agentwatch.store.protocol import Batch, Row, Snapshot

#: rows whose chain is checked at each start; `doctor` checks all
TAIL_CHECKED = 500
#: what was edited by hand may have become text, and is to be told, not to be stumbled over
COLUMNS = "seq, kind, subject, CAST(entry AS BLOB), CAST(hash AS BLOB)"


def write_batch(connection: sqlite3.Connection, batch: Batch) -> None:
    """Write all of a batch, or nothing. Raises sqlite3.Error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        _insert(connection, batch)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def read_rows(
    connection: sqlite3.Connection, where: str, value: object, limit: int = -1
) -> list[Row]:
    """The journal's rows for which `where`, a term of SQL about `value`, is true; in order."""
    sql = f"SELECT {COLUMNS} FROM journal WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608
    return [Row(*row) for row in connection.execute(sql, (value, limit))]


def read_snapshot(connection: sqlite3.Connection) -> Snapshot:
    """The balances. Raises ValueError, msgspec.MsgspecError or sqlite3.Error where what is in the
    file does not add up."""
    seq, head = _check_tail(connection)
    accounts, sessions = read_accounts(_sealed_bodies(connection))
    if seq and not accounts and not sessions:
        raise ValueError("its balances are missing")
    decode_hold = msgspec.json.Decoder(Hold).decode
    snapshot = Snapshot(
        seq=seq,
        hash=head,
        accounts=accounts,
        sessions=sessions,
        budgets=dict(connection.execute("SELECT name, ceiling FROM budgets")),
        holds=[decode_hold(body) for (body,) in connection.execute("SELECT body FROM holds")],
    )
    _check_holds(snapshot)
    if snapshot.budgets != _budgets_of_entries(connection):
        raise ValueError("its budgets are not those that were set")
    return snapshot


def _insert(connection: sqlite3.Connection, batch: Batch) -> None:
    connection.executemany(
        "INSERT INTO journal (seq, kind, subject, entry, hash) VALUES (?, ?, ?, ?, ?)",
        [(row.seq, row.kind, row.subject, row.data, row.hash) for row in batch.rows],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO accounts (id, body, seal) VALUES (?, ?, ?)",
        [(account, body, _seal(account, body)) for account, body in batch.accounts.items()],
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


def _seal(account: str, body: bytes) -> bytes:
    return chained(str(account).encode(), body)


def _sealed_bodies(connection: sqlite3.Connection) -> list[bytes]:
    bodies = []
    for account, body, seal in connection.execute("SELECT id, body, seal FROM accounts"):
        if _seal(account, body) != seal:
            raise ValueError(f"the balance of {account} was changed")
        bodies.append(body)
    return bodies


def _check_holds(snapshot: Snapshot) -> None:
    """Raises ValueError where an account holds something else than its open holds."""
    held: Counter[str] = Counter()
    for hold in snapshot.holds:
        for account_id in hold.accounts:
            held[account_id] += hold.nanos
    for account in (*snapshot.accounts, *snapshot.sessions):
        if held.pop(account.id, 0) != account.held:
            raise ValueError(f"the open holds of {account.id} are not what it holds")
    if held:
        raise ValueError(f"the balance of {next(iter(held))} is missing")


def _budgets_of_entries(connection: sqlite3.Connection) -> dict[str, int | None]:
    budgets: dict[str, int | None] = {}
    for kind in ("project", "team"):
        found = connection.execute(
            "SELECT entry FROM journal WHERE subject >= ? AND subject < ? AND kind = 'ceiling' "
            "ORDER BY seq",
            (f"{kind}:", f"{kind};"),
        )
        for (data,) in found:
            entry = decode(data)
            if isinstance(entry, CeilingSet):
                budgets[entry.account] = entry.ceiling
    return budgets


def _check_tail(connection: sqlite3.Connection) -> tuple[int, bytes]:
    """The last row's number and hash, with the chain of the last rows checked.

    Raises ValueError where a row was changed, lost or put in.
    """
    found = connection.execute(
        f"SELECT {COLUMNS} FROM journal ORDER BY seq DESC LIMIT ?",  # noqa: S608
        (TAIL_CHECKED + 1,),
    ).fetchall()[::-1]
    rows = [(seq, data, after) for seq, _, _, data, after in found]
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
