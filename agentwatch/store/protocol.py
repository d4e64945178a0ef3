"""What a store's backend must do: the protocol Journal, and what passes over it.

A journal is an append-only list of chained rows, and beside it the balances that they fold to, so
that a start need not read the whole list. Both are written in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from msgspec import Struct, field

from agentwatch.core.accounts import Account, Hold, Session
from agentwatch.core.entries import GENESIS
from agentwatch.core.fold import Balances


class Row(Struct, frozen=True):
    """One entry as the journal keeps it; `seq` counts from 1 without a gap."""

    seq: int
    kind: str
    subject: str
    data: bytes
    hash: bytes


class Batch(Struct):
    """What is written in one transaction: new rows, and what changed by them."""

    rows: list[Row] = field(default_factory=list)
    accounts: dict[str, bytes] = field(default_factory=dict)
    budgets: dict[str, int | None] = field(default_factory=dict)
    #: open holds by id; None: it ended
    holds: dict[str, bytes | None] = field(default_factory=dict)


class Snapshot(Struct):
    """The balances as they stood at the journal's last row."""

    seq: int = 0
    hash: bytes = GENESIS
    accounts: list[Account] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    budgets: dict[str, int | None] = field(default_factory=dict)
    holds: list[Hold] = field(default_factory=list)

    def restore(self, balances: Balances) -> None:
        """Fill empty balances with these."""
        for session in self.sessions:
            balances.add_session(session)
        for account in self.accounts:
            balances.accounts[account.id] = account
        balances.monthly.update(self.budgets)
        balances.holds = {hold.id: hold for hold in self.holds}


class Readable(Protocol):
    """What can be asked for its entries."""

    def rows(self, after: int, limit: int) -> list[Row]:
        """At most `limit` rows behind `after`, in order. Blocking; safe in any thread."""
        ...


class Journal(Readable, Protocol):
    """Where entries are kept. All calls come from one thread, the loop's."""

    def load(self) -> Snapshot:
        """Open, and read the balances. Blocking.

        Raises JournalDamaged where what is there can't be trusted (it was set aside), and
        JournalUnavailable where it can't be opened (locked, no permission, no disk).
        """
        ...

    def append(self, batch: Batch, done: Callable[[Exception | None], None]) -> None:
        """Write a batch so that it survives what the journal promises to survive, then call
        `done` on the caller's loop: with None, or with what went wrong (then nothing of the
        batch was written)."""
        ...

    def about(self, subject: str) -> list[Row]:
        """All rows about one hold, session or budget, in order. Blocking; safe in any thread."""
        ...

    def close(self) -> None:
        """Write what is queued, and let go. Blocking."""
        ...


def all_rows(journal: Readable, slice_size: int = 2_000) -> Iterator[Row]:
    """Every row from the first on, read in slices so that writes get in between."""
    after = 0
    while found := journal.rows(after, slice_size):
        yield from found
        after = found[-1].seq
