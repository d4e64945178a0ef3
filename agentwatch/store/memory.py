"""A journal that lives as long as its process: for tests, simulations and trying things out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from agentwatch.core.accounts import Account, Hold, Session
from agentwatch.core.entries import GENESIS
from agentwatch.store.protocol import Batch, Row, Snapshot


class MemoryJournal:
    """Keeps rows and balances in lists and dicts. `load` after `close` finds what was there."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._accounts: dict[str, bytes] = {}
        self._budgets: dict[str, int | None] = {}
        self._holds: dict[str, bytes] = {}

    def load(self) -> Snapshot:
        """The balances as they stand."""
        accounts, sessions = read_accounts(self._accounts.values())
        return Snapshot(
            seq=len(self._rows),
            hash=self._rows[-1].hash if self._rows else GENESIS,
            accounts=accounts,
            sessions=sessions,
            budgets=dict(self._budgets),
            holds=[msgspec.json.decode(body, type=Hold) for body in self._holds.values()],
        )

    def append(self, batch: Batch, done: Callable[[Exception | None], None]) -> None:
        """Take a batch in at once."""
        self._rows += batch.rows
        self._accounts.update(batch.accounts)
        self._budgets.update(batch.budgets)
        for hold, body in batch.holds.items():
            if body is None:
                self._holds.pop(hold, None)
            else:
                self._holds[hold] = body
        done(None)

    def rows(self, after: int, limit: int) -> list[Row]:
        """At most `limit` rows behind `after`."""
        return self._rows[after : after + limit]

    def about(self, subject: str) -> list[Row]:
        """All rows about one hold, session or budget."""
        return [row for row in self._rows if row.subject == subject]

    def close(self) -> None:
        """Nothing is open."""


def read_accounts(bodies: Iterable[bytes]) -> tuple[list[Account], list[Session]]:
    """Account bodies as they were written, told apart by the session's name in them.

    Raises msgspec.MsgspecError for a body that is none.
    """
    accounts: list[Account] = []
    sessions: list[Session] = []
    for body in bodies:
        if body.startswith(b'{"id":"session:'):
            sessions.append(_session.decode(body))
        else:
            accounts.append(_account.decode(body))
    return accounts, sessions


_session = msgspec.json.Decoder(Session)
_account = msgspec.json.Decoder(Account)
