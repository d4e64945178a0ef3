"""The store: the live ledger, written ahead to a journal in groups.

A verb decides in memory, in one step, and returns at once with what it decided and `written`, an
awaitable that is done when the journal has it. Entries that come while a batch is being written
go together in the next (group commit). Listeners hear each entry when it is applied.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any

import msgspec

from agentwatch.core import accounts as acc
from agentwatch.core import entries as e
from agentwatch.core.accounts import Account, Outcome, Session
from agentwatch.core.admission import Admitted, Policy, Refused, Waits
from agentwatch.core.estimate import Quote
from agentwatch.core.ledger import Ledger
from agentwatch.errors import JournalUnavailable, UnknownHold
from agentwatch.store.audit import audit, digest, outcome_of
from agentwatch.store.protocol import Batch, Journal, Row

Listener = Callable[[e.AnyEntry], None]
Written = Awaitable[None]

#: seconds between tries to write what could not be written
RETRY_S = 0.5
#: entries that may wait for a journal that can't be written
MOST_UNWRITTEN = 100_000

_encode = msgspec.json.Encoder().encode
_counter = itertools.count(int.from_bytes(os.urandom(3), "big"))


def _random_texts() -> Iterator[str]:
    """64 random bits at a time, of which the system is asked for many at once."""
    while True:
        block = os.urandom(4096).hex()
        for start in range(0, len(block), 16):
            yield block[start : start + 16]


_randoms = _random_texts()


def new_hold_id() -> str:
    """An id that no other hold has: time for the order in the file, random for uniqueness."""
    return f"h{time.time_ns() // 1_000_000:012x}{next(_counter) & 0xFFFF:04x}{next(_randoms)}"


class Store:
    """Sessions, budgets and holds that survive. Belongs to one event loop."""

    def __init__(self, journal: Journal, clock: Callable[[], float] = time.time) -> None:
        self.ledger = Ledger()
        self._journal = journal
        self._clock = clock
        self._listeners: list[Listener] = []
        self._seq = 0
        self._hash = e.GENESIS
        self._queued = _Queued()
        self._in_flight = self._queued
        self._writing = False
        self._failed: Exception | None = None
        self._unwritten: Batch | None = None
        self._retry_at: asyncio.TimerHandle | None = None
        self._closed = False

    async def open(self) -> list[Outcome]:
        """Load the journal's balances, and settle in full the holds that a crash left open:
        their calls were or may have been sent. Returns how those ended.

        Raises JournalDamaged, JournalUnavailable.
        """
        snapshot = self._journal.load()
        self._seq, self._hash = snapshot.seq, snapshot.hash
        snapshot.restore(self.ledger)
        ends = [
            (outcome, self._commit(done)) for outcome, done in self.ledger.recover(at=self._clock())
        ]
        for _, written in ends:
            await written
        return [outcome for outcome, _ in ends]

    async def close(self) -> None:
        """Write what is queued, with one more try for what could not be written, and let go of
        the journal. `failed` tells afterwards whether something was left out."""
        self._retry()
        with contextlib.suppress(JournalUnavailable):
            if self._writing:
                await self._in_flight.written
            await self._drained()
        self._closed = True
        if self._retry_at is not None:
            self._retry_at.cancel()
        await asyncio.to_thread(self._journal.close)

    def listen(self, listener: Listener) -> None:
        """Hear each entry from now on, right after it was applied. A listener never raises."""
        self._listeners.append(listener)

    def now(self) -> float:
        """The store's clock: seconds since 1970."""
        return self._clock()

    @property
    def failed(self) -> Exception | None:
        """Why the journal can't be written at the moment, if it can't."""
        return self._failed

    # ---- verbs: as Ledger's, and `written`

    def open_session(self, session_id: str, **terms: Any) -> tuple[Session, Written]:
        """Open a session, or the one that has this id (see Ledger.open)."""
        written = self._commit(self.ledger.open(session_id, at=self._clock(), **terms))
        return self.ledger.session(session_id), written

    def mint(self, session_id: str, sha256: str) -> Written:
        """Let one more token open a session's door."""
        return self._commit(self.ledger.mint(session_id, sha256, at=self._clock()))

    def set_ceiling(self, account: str, ceiling: int | None) -> Written:
        """Set a session's or a budget's ceiling, in nanos."""
        return self._commit(self.ledger.set_ceiling(account, ceiling, at=self._clock()))

    def set_state(self, session_id: str, verb: str, reason: str = "") -> Written:
        """Pause, resume, kill or close a session."""
        return self._commit(
            self.ledger.set_state(session_id, verb, at=self._clock(), reason=reason)
        )

    def hold(
        self, session_id: str, quote: Quote, policy: Policy, hold_id: str, **about: Any
    ) -> tuple[Admitted | Waits | Refused, Written]:
        """Set a call's worst case aside on all its accounts. Send nothing before `written`.

        `hold_id` is a new one (`new_hold_id`), or that of a hold made since the last start: then
        the answer is the first one's.
        """
        verdict, done = self.ledger.hold(
            session_id, quote, policy, hold_id=hold_id, at=self._clock(), **about
        )
        written = self._commit(done)
        if isinstance(verdict, Refused):
            # not before: an account is never written without the entries that made it so
            self._touch_lineage(self.ledger.session(session_id))
        return verdict, written

    def extend(self, hold_id: str, nanos: int) -> tuple[bool, Written]:
        """Set more aside for a call that goes on."""
        granted, done = self.ledger.extend(hold_id, nanos, at=self._clock())
        return granted, self._commit(done)

    def settle(
        self, hold_id: str, nanos: int, basis: str, **details: Any
    ) -> tuple[Outcome, Written]:
        """Replace a hold by what the call cost. Repeating it answers as the first did."""
        try:
            outcome, done = self.ledger.settle(hold_id, nanos, basis, at=self._clock(), **details)
        except UnknownHold:
            return self._long_ended(hold_id), self._commit([])
        return outcome, self._commit(done)

    def void(self, hold_id: str, reason: str) -> tuple[Outcome, Written]:
        """Give a hold back. Repeating it answers as the first did."""
        try:
            outcome, done = self.ledger.void(hold_id, reason, at=self._clock())
        except UnknownHold:
            return self._long_ended(hold_id), self._commit([])
        return outcome, self._commit(done)

    def adjust(self, hold_id: str, nanos: int, evidence: str) -> tuple[Outcome, Written]:
        """Charge what a late report says above what was settled."""
        if hold_id not in self.ledger.ended:
            self.ledger.remember(self._long_ended(hold_id))
        outcome, done = self.ledger.adjust(hold_id, nanos, evidence, at=self._clock())
        return outcome, self._commit(done)

    def charge(self, session_id: str, nanos: int, basis: str, **details: Any) -> Written | None:
        """Charge a call that was made without a hold, once: None where it has been before.

        Raises UnknownAccount.
        """
        hold_id = str(details["hold_id"])
        if hold_id not in self.ledger.ended and self._journal.about(hold_id):
            return None
        done = self.ledger.charge(session_id, nanos, basis, at=self._clock(), **details)
        return self._commit(done) if done else None

    def count_refusal(self, session: Session) -> None:
        """Count a call of this session's that was refused, other than for want of money."""
        self.ledger.count_refusal(session)
        self._touch_lineage(session)

    def _touch_lineage(self, session: Session) -> None:
        for each in self.ledger.lineage(session):
            self.touch(each)

    def touch(self, account: Account) -> None:
        """Write a statistic that is kept beside the journal, when there is time."""
        self._queued.accounts[account.id] = account
        self._flush()

    def count_risks(self, session_id: str, tags: list[str]) -> None:
        """Count the risks that were seen in one call of a session, if it is still there."""
        session = self.ledger.sessions.get(session_id)
        if session is not None:
            for tag in tags:
                if tag in session.risks or len(session.risks) < acc.RISKS_KEPT:
                    session.risks[tag] = session.risks.get(tag, 0) + 1
            self.touch(session)

    # ---- the journal

    def _long_ended(self, hold_id: str) -> Outcome:
        ended = outcome_of(self._journal.about(hold_id))
        if ended is None:
            raise UnknownHold(f"no hold {hold_id!r}")
        return ended

    def _commit(self, done: list[e.AnyEntry]) -> Written:
        if not done:
            return self._so_far()
        queued = self._queued
        for entry in done:
            queued.take(entry, self.ledger)
            for listener in self._listeners:
                listener(entry)
        if self._failed is not None:
            return _Known(self._failed)
        self._flush()
        return _Wait(queued)

    def _so_far(self) -> Written:
        """For a verb that changed nothing: what it tells of may still be on its way to the disk."""
        if self._failed is not None:
            return _Known(self._failed)
        if self._queued:
            return _Wait(self._queued)
        return _Wait(self._in_flight) if self._writing else _Known()

    def _flush(self) -> None:
        if self._writing or self._failed is not None or not self._queued:
            return
        queued, self._queued = self._queued, _Queued()
        self._write(self._assemble(queued), queued)

    def _write(self, batch: Batch, queued: _Queued) -> None:
        self._writing, self._in_flight = True, queued

        def done(error: Exception | None) -> None:
            self._writing = False
            if error is None:
                self._failed = None
                self._unwritten = None
                queued.end(None)
                self._queued = self._queued.afresh()
                self._flush()
            else:
                self._failed = error
                self._unwritten = batch
                queued.end(error)
                self._queued.end(error)
                self._retry_later()

        self._journal.append(batch, done)

    def _retry_later(self) -> None:
        if not self._closed:
            self._retry_at = asyncio.get_running_loop().call_later(RETRY_S, self._retry)

    def _retry(self) -> None:
        if self._unwritten is not None and not self._writing:
            self._write(self._unwritten, _Queued())

    def check_room(self) -> None:
        """Raises JournalUnavailable where so much is unwritten that no more may be promised."""
        if self._failed is not None and len(self._queued.entries) > MOST_UNWRITTEN:
            raise JournalUnavailable(str(self._failed))

    def _assemble(self, queued: _Queued) -> Batch:
        batch = Batch(budgets=queued.budgets)
        for entry in queued.entries:
            data = e.encode(entry)
            self._seq += 1
            self._hash = e.chained(self._hash, data)
            batch.rows.append(Row(self._seq, e.kind(entry), e.subject(entry), data, self._hash))
        batch.accounts = {key: _encode(account) for key, account in queued.accounts.items()}
        for hold_id in queued.holds:
            hold = self.ledger.holds.get(hold_id)
            batch.holds[hold_id] = None if hold is None else _encode(hold)
        return batch

    async def verify(self) -> int:
        """Check every row's chain, and that the balances are what the rows fold to.

        Returns how many rows there are. Raises LedgerError that tells what is wrong, and
        JournalUnavailable where there is something that could not be written yet.
        """
        if self._failed is not None:
            raise JournalUnavailable(str(self._failed))
        # taken at once: under load there is no moment at which nothing is left to write
        seq, live = self._seq + len(self._queued.entries), digest(self.ledger)
        if self._writing or self._queued:
            await asyncio.shield((self._queued if self._queued else self._in_flight).written)
        return await asyncio.to_thread(audit, self._journal, seq, live)

    async def _drained(self) -> None:
        while self._failed is None and (self._writing or self._queued):
            await asyncio.shield(self._in_flight.written)


class _Queued:
    """What the next batch will write; `written` is done when it has been."""

    def __init__(self) -> None:
        self.entries: list[e.AnyEntry] = []
        self.accounts: dict[str, Account] = {}
        self.budgets: dict[str, int | None] = {}
        self.holds: dict[str, None] = {}
        self._written: asyncio.Future[None] | None = None
        self._ended = False
        self._error: Exception | None = None

    def __bool__(self) -> bool:
        return bool(self.entries or self.accounts)

    def take(self, entry: e.AnyEntry, ledger: Ledger) -> None:
        self.entries.append(entry)
        if isinstance(entry, e.CeilingSet) and not entry.account.startswith("session:"):
            self.budgets[entry.account] = entry.ceiling
        for account in ledger.touched(entry):
            self.accounts[account.id] = account
        if isinstance(entry, (e.Held, e.Extended, e.Settled, e.Voided)):
            self.holds[entry.hold] = None

    @property
    def written(self) -> asyncio.Future[None]:
        if self._written is None:
            self._written = asyncio.get_running_loop().create_future()
            self._tell()
        return self._written

    def end(self, error: Exception | None) -> None:
        """The batch was written, or can't be at the moment."""
        self._ended, self._error = True, self._error or error
        if self._written is not None:
            self._tell()

    def afresh(self) -> _Queued:
        """The same to write, where this one has told of a failure that is over; else itself."""
        if not self._ended:
            return self
        fresh = _Queued()
        fresh.entries, fresh.accounts = self.entries, self.accounts
        fresh.budgets, fresh.holds = self.budgets, self.holds
        return fresh

    def _tell(self) -> None:
        if not self._ended or self._written is None or self._written.done():
            return
        if self._error is None:
            self._written.set_result(None)
        else:
            self._written.set_exception(self._error)
            self._written.exception()


class _Wait:
    """Awaits a batch. Made for every verb, so it costs nothing until it is awaited."""

    __slots__ = ("_queued",)

    def __init__(self, queued: _Queued) -> None:
        self._queued = queued

    def __await__(self) -> Generator[Any, None, None]:
        return (yield from asyncio.shield(self._queued.written).__await__())


class _Known:
    """Awaits nothing: there was nothing to write, or it is known that it can't be written."""

    __slots__ = ("_error",)

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def __await__(self) -> Generator[Any, None, None]:
        if self._error is not None:
            raise self._error
        yield from ()
