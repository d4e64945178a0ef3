"""A second, slower world: the production store, with a disk that the world moves.

Which entries are durable, and who is told so, is decided here by `store.Store`: its queue, its
group commits, what it does when the disk fails, and what its next life finds. The rule that is
judged: who was told that something is written may rely on it, whatever happens then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from agentwatch.core import accounts as acc
from agentwatch.core import entries as e
from agentwatch.core.admission import Admitted
from agentwatch.errors import JournalUnavailable, LedgerError
from agentwatch.store.memory import MemoryJournal
from agentwatch.store.store import RETRY_S, Store, Written
from prove.cast import BUDGETS, EPOCH, POLICIES, QUOTES, SESSIONS
from prove.disk import Disk, SteppedLoop
from prove.judge import Broken, check_fold
from prove.people import TOLD
from prove.world import Event

#: rounds of the loop in which all that can go on has gone on
ROUNDS = 6
#: tries after which something will never be
PATIENCE = 100


class Call:
    """One call, as the world knows it."""

    __slots__ = ("billed", "bound", "id", "is_promised", "sent", "session")

    def __init__(self, call_id: str, session: str, bound: int) -> None:
        self.id, self.session, self.bound = call_id, session, bound
        self.billed = 0
        self.sent = False
        #: its hold was told to be durable; without, a call is sent only by fail-open
        self.is_promised = False


class StoreWorld:
    """Plays events on a store, and raises Broken at the first one after which a promise is broken.
    In every other world the daemon fails open."""

    LENGTH = 300
    PLAYS: ClassVar[dict[str, int]] = {
        "hold": 52,
        "bill": 20,
        "settle": 34,
        "give_back": 8,
        "extend": 8,
        "repeat": 14,
        "late": 6,
        "charge": 5,
        "tell": 5,
        "ceiling": 5,
        "open_again": 3,
        "count": 4,
        "step": 34,
        "write": 36,
        "write_unheard": 6,
        "fail": 8,
        "wait": 5,
        "close": 1,
        "crash": 2,
    }

    def __init__(self, seed: int) -> None:
        self.fails_open = seed % 2 == 1
        self.policy = POLICIES[seed % 4 == 3]
        self.loop = SteppedLoop()
        #: what went wrong in a callback, which nobody awaits
        self.faults: list[object] = []
        self.loop.set_exception_handler(lambda _, about: self.faults.append(about["exception"]))
        self.kept = MemoryJournal()
        #: all entries that were made and not lost, in order; so many of them were promised
        self.entries: list[e.AnyEntry] = []
        self.promised = 0
        self.calls: list[Call] = []
        self.open: list[Call] = []
        self.ended: list[Call] = []
        self.numbers = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self._plays = tuple(getattr(self, name) for name in self.PLAYS)

    def play(self, events: list[Event]) -> None:
        """Play all of them, then let the faults stop, and everything come to rest."""
        try:
            self.loop.run_until_complete(self._play(events))
        finally:
            for task in self.tasks:
                task.cancel()
            self.loop.run_until_complete(self._rounds())
            self.loop.close()

    async def _play(self, events: list[Event]) -> None:
        await self._begin()
        for name, terms in SESSIONS.items():
            self._follow(self.store.open_session(name, **terms)[1])
        for budget, ceiling in BUDGETS.items():
            self._follow(self.store.set_ceiling(budget, ceiling))
        await self._until_idle()
        for what, x, y in events:
            going_on = self._plays[what](x, y)
            if going_on is not None:
                await going_on
                self._check_tasks()
        await self._come_to_rest()

    # ---- a life of the daemon

    async def _begin(self) -> None:
        """Open what is on the disk: exactly what was written, and what was out in full."""
        written = self.kept.rows(0, len(self.entries) + 1)
        if [row.data for row in written] != [e.encode(entry) for entry in self.entries]:
            raise Broken("I2: on the disk is something else than what was made")
        self.disk = Disk(self.kept)
        self.store = Store(self.disk, clock=lambda: EPOCH)
        self.store.listen(self.entries.append)
        await self._through(self.store.open(), self.disk.tell)
        self.promised = len(self.entries)
        check_fold(self.store.ledger, self.entries)
        if self.store.ledger.holds:
            raise Broken("liveness: a start leaves something held")
        self._check_calls()

    def _check_calls(self) -> None:
        """Each call by itself: what was promised is there, and what was billed is charged."""
        paid: dict[str, int] = {}
        for entry in self.entries:
            if isinstance(entry, (e.Settled, e.Adjusted)):
                paid[entry.hold] = paid.get(entry.hold, 0) + entry.nanos
            elif isinstance(entry, e.Voided):
                paid[entry.hold] = 0
        for call in self.calls:
            if call.is_promised and paid.get(call.id, -1) < call.billed:
                raise Broken(
                    f"I5: {call.billed} is billed for {call.id}, whose hold was told to be "
                    f"durable, and {paid.get(call.id)} is charged"
                )
        self.calls = [call for call in self.calls if call.id in paid]
        self.ended = list(self.calls)
        self.open.clear()

    async def crash(self, x: int, y: int) -> None:
        """The process is gone in the midst of it: with a batch on the disk that nobody was told of,
        or not."""
        if x & 1:
            self.disk.take()
        self.disk.die()
        await self._end_life()

    async def close(self, x: int, y: int) -> None:
        """An orderly end, with a disk that works or fails meanwhile."""
        await self._through(self.store.close(), self.disk.tell if x & 3 else self.disk.fail)
        self.disk.die()
        left_out = len(self.entries) - len(self.kept.rows(0, len(self.entries)))
        if left_out and self.store.failed is None:
            raise Broken(f"{left_out} entries were left out by a close that tells of no failure")
        await self._end_life()

    async def _through(self, work: Coroutine[Any, Any, object], disk: Callable[[], None]) -> None:
        """A beginning or an end, while the disk does always the same."""
        going_on = self.loop.create_task(work)
        for _ in range(PATIENCE):
            if going_on.done():
                going_on.result()
                return
            await asyncio.sleep(0)
            disk()
        raise Broken("liveness: the store neither begins nor ends")

    async def _end_life(self) -> None:
        for task in self.tasks:
            task.cancel()
        await self._rounds()
        self._check_tasks()
        written = len(self.kept.rows(0, len(self.entries)))
        if written < self.promised:
            raise Broken(f"I4: {self.promised} entries were told to be written, {written} were")
        del self.entries[written:]
        await self._begin()

    # ---- who waits until it is written

    def _follow(self, written: Written, call: Call | None = None) -> None:
        """Wait for it, as whoever asked for it does."""
        failures = self.disk.failures - (self.store.failed is not None)
        waiting = self._until_written(written, len(self.entries), failures, call)
        self.tasks.add(self.loop.create_task(waiting))

    async def _until_written(
        self, written: Written, place: int, failures: int, call: Call | None
    ) -> None:
        try:
            await written
        except JournalUnavailable:
            if self.disk.failures == failures:
                raise Broken("a failure is told of a disk that did not fail") from None
            if call is not None and call in self.open:
                self._not_written(call)
            return
        if len(self.kept.rows(0, place)) < place:
            raise Broken(f"I4: entry {place} is told to be written, and is not")
        self.promised = max(self.promised, place)
        if call is not None and call in self.open:
            call.sent = call.is_promised = True

    def _not_written(self, call: Call) -> None:
        """Its hold may not outlive a crash: it is sent all the same, or given back."""
        if self.fails_open:
            call.sent = True
        else:
            self._end(call, self.store.void(call.id, "never promised"))

    def _check_tasks(self) -> None:
        if self.faults:
            raise Broken(f"a callback of the store failed: {self.faults[0]!r}")
        for task in [task for task in self.tasks if task.done()]:
            self.tasks.discard(task)
            if not task.cancelled():
                task.result()

    # ---- verbs

    def hold(self, x: int, y: int) -> None:
        """A call asks for money; it is sent once that is durable."""
        name = tuple(SESSIONS)[x % len(SESSIONS)]
        quote = QUOTES[y % len(QUOTES)]
        session = self.store.ledger.session(name)
        if self.store.ledger.state_at(session, EPOCH)[1] in acc.BARRED:
            return
        self.numbers += 1
        verdict, written = self.store.hold(
            name, quote, self.policy, f"h{self.numbers}", may_wait=False
        )
        if isinstance(verdict, Admitted):
            limit = quote.most if verdict.limit is None else verdict.limit
            call = Call(f"h{self.numbers}", name, quote.worst(limit or 0))
            self.calls.append(call)
            self.open.append(call)
            self._follow(written, call)
        else:
            self._follow(written)

    def bill(self, x: int, y: int) -> None:
        """The provider makes output of a call that was sent."""
        call = self._pick(self.open, x)
        if call is not None and call.sent:
            call.billed = max(call.billed, call.bound * y >> 16)

    def settle(self, x: int, y: int) -> None:
        """A call ends, by its usage or by what was seen."""
        call = self._pick(self.open, x)
        if call is not None and call.sent:
            self._end(call, self.store.settle(call.id, call.billed + (y & 7), "usage"))

    def give_back(self, x: int, y: int) -> None:
        """A call ends before anything was billed: the client went away, or it was refused."""
        call = self._pick(self.open, x)
        if call is not None and not call.billed:
            self._end(call, self.store.void(call.id, "429"))

    def _end(self, call: Call, end: tuple[Any, Written]) -> None:
        self.open.remove(call)
        self.ended.append(call)
        self._follow(end[1])

    def extend(self, x: int, y: int) -> None:
        """A stream goes on past its hold."""
        call = self._pick(self.open, x)
        if call is not None:
            self._follow(self.store.extend(call.id, y & 63)[1])

    def repeat(self, x: int, y: int) -> None:
        """A verb is repeated: it answers as the first did, and not before that is written."""
        call = self._pick(self.open if y & 1 else self.ended, x)
        if call is None:
            return
        if y & 1:
            again = self.store.hold(call.session, QUOTES[0], self.policy, call.id)
        elif y & 2:
            again = self.store.settle(call.id, y, "usage")
        else:
            again = self.store.void(call.id, "late")
        self._follow(again[1])

    def late(self, x: int, y: int) -> None:
        """A report comes after the settle."""
        call = self._pick(self.ended, x)
        if call is not None:
            self._follow(self.store.adjust(call.id, call.billed + (y & 31), "bill")[1])

    def charge(self, x: int, y: int) -> None:
        """A call is told of that was made elsewhere, perhaps twice."""
        name = tuple(SESSIONS)[x % len(SESSIONS)]
        hold_id = f"elsewhere{y & 15}"
        written = self.store.charge(name, y & 63, "usage", hold_id=hold_id)
        if written is not None:
            self._follow(written)

    def tell(self, x: int, y: int) -> None:
        """Pause, resume, close, kill."""
        name = tuple(SESSIONS)[x % len(SESSIONS)]
        try:
            self._follow(self.store.set_state(name, TOLD[y * len(TOLD) >> 16]))
        except LedgerError:
            return

    def ceiling(self, x: int, y: int) -> None:
        """A ceiling is raised or lowered."""
        names = [*(f"session:{name}" for name in SESSIONS), *BUDGETS]
        self._follow(self.store.set_ceiling(names[x % len(names)], y % 2_000))

    def open_again(self, x: int, y: int) -> None:
        """A session is opened that is there, and a token made for it."""
        name = tuple(SESSIONS)[x % len(SESSIONS)]
        self._follow(self.store.open_session(name, ceiling=200 + y % 800)[1])
        self.numbers += 1
        self._follow(self.store.mint(name, f"{self.numbers:064x}"))

    def count(self, x: int, y: int) -> None:
        """A statistic changes, which is kept beside the journal."""
        self.store.count_risks(tuple(SESSIONS)[x % len(SESSIONS)], ["secret"])

    @staticmethod
    def _pick(calls: list[Call], x: int) -> Call | None:
        return calls[x % len(calls)] if calls else None

    # ---- the disk, the loop, and time

    async def step(self, x: int, y: int) -> None:
        """The loop comes round, once or more often."""
        await self._rounds(1 + x % 4)

    def write(self, x: int, y: int) -> None:
        """What is being written is on the disk, and its writer is told."""
        self.disk.tell()

    def write_unheard(self, x: int, y: int) -> None:
        """What is being written is on the disk, and nobody knows yet."""
        self.disk.take()

    def fail(self, x: int, y: int) -> None:
        """What is being written can't be."""
        self.disk.fail()

    async def wait(self, x: int, y: int) -> None:
        """Time goes on, until what failed is tried again."""
        self.loop.now_s += RETRY_S
        await self._rounds()

    async def _rounds(self, number: int = ROUNDS) -> None:
        for _ in range(number):
            await asyncio.sleep(0)

    # ---- the end

    async def _until_idle(self) -> None:
        """The disk works, and time goes on, until nothing is left to write."""
        await self._rounds()
        for _ in range(PATIENCE):
            if not self.disk.is_busy and self.store.failed is None:
                self._check_tasks()
                return
            self.disk.tell()
            self.loop.now_s += RETRY_S
            await self._rounds()
        raise Broken("liveness: the store goes on writing for ever, or fails though the disk works")

    async def _come_to_rest(self) -> None:
        """Faults stop: all that was made is on the disk, and all who asked were told."""
        await self._until_idle()
        for call in list(self.open):
            self._end(call, self.store.settle(call.id, call.bound, "usage"))
        await self._until_idle()
        if self.tasks:
            raise Broken(f"liveness: {len(self.tasks)} wait for a disk that has written everything")
        if await self.store.verify() != len(self.entries):
            raise Broken("liveness: not all that was made has been written")
        self.disk.die()
        await self._end_life()
