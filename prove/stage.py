"""What there is in a simulated world: the ledger under test, its journal, the calls, the lines.

The chapters of a story (asking, flying, people, crash) are classes on this one: each adds the
events of its kind, and all of them work on the same stage.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from agentwatch.core import entries as e
from agentwatch.core.ledger import Ledger
from agentwatch.core.lines import Lines, Waiter
from prove.cast import BUDGETS, EPOCH, POLICIES, SESSIONS, charged_in, month_of
from prove.judge import Books, Broken

if TYPE_CHECKING:
    from agentwatch.core.estimate import Quote
    from prove.asking import Asking

#: ended calls of which late and doubled messages still come
REMEMBERED = 64
NEVER = 1 << 62


def _beginning() -> tuple[e.AnyEntry, ...]:
    ledger, done = Ledger(), []
    for name, terms in SESSIONS.items():
        done += ledger.open(name, at=EPOCH, **terms)
    for budget, ceiling in BUDGETS.items():
        done += ledger.set_ceiling(budget, ceiling, at=EPOCH)
    return tuple(done)


#: with which every journal begins
BEGINNING = _beginning()


class Call:
    """One call, as the world knows it. Places are indices in the journal."""

    __slots__ = (
        *("accounts", "billed", "bound", "charged", "ended_at", "extended", "held", "held_at"),
        *("id", "is_woken", "late", "month", "paid", "quote", "sent", "session", "stage", "void"),
        "waiter",
    )

    def __init__(self, stage: Asking, call_id: str, session: str, quote: Quote) -> None:
        self.stage, self.id, self.session, self.quote = stage, call_id, session, quote
        #: what it is to be charged to, and what the ledger charges it to
        self.charged = stage.charged[session]
        self.month = stage.months
        self.accounts: tuple[str, ...] = ()
        self.held = self.paid = self.billed = self.bound = 0
        self.held_at, self.ended_at = NEVER, NEVER
        self.extended: list[tuple[int, int]] = []
        self.late: list[tuple[int, int]] = []
        self.sent = self.void = self.is_woken = False
        self.waiter: Waiter[object] | None = None

    def attempt(self, may_wait: bool) -> object:
        """As the lines ask it."""
        return self.stage.attempt(self, may_wait)

    def hopeless(self) -> bool:
        """As the lines ask it."""
        stage = self.stage
        session = stage.ledger.sessions[self.session]
        return stage.ledger.is_hopeless(session, self.quote, stage.policy, at=stage.at)

    def wake(self) -> None:
        """It is to look again, once the daemon's loop comes to it."""
        if not self.is_woken:
            self.is_woken = True
            self.stage.woken.append(self)


class Stage:
    """All that the events of a story work on."""

    def __init__(self, seed: int) -> None:
        self.policy = POLICIES[seed % 4 == 3]
        self.ledger = Ledger()
        self.journal: list[e.AnyEntry] = []
        #: entries that are on the disk
        self.durable = 0
        self.at = EPOCH
        self.charged = charged_in(month_of(EPOCH))
        #: how often the clock has come to another month
        self.months = 0
        self.books = Books()
        #: calls that were ever let through, those that are out, and the last that ended
        self.calls: list[Call] = []
        self.open: list[Call] = []
        self.ended: deque[Call] = deque(maxlen=REMEMBERED)
        self.lines = Lines()
        #: calls in line, in the order in which they came, and those that were woken
        self.waiting: dict[str, Call] = {}
        self.woken: deque[Call] = deque()
        #: where in the journal a session was killed
        self.killed: dict[str, int] = {}
        self.numbers = 0
        self.names = tuple(SESSIONS)
        self.write(list(BEGINNING))
        for entry in BEGINNING:
            self.ledger.apply(entry)
        self.durable = len(self.journal)

    def write(self, done: list[e.AnyEntry]) -> None:
        """Entries were made: they are queued for the disk, and the lines hear of them."""
        self.journal += done
        if self.waiting:
            for entry in done:
                self.lines.hear(entry, self.ledger)

    def pick(self, x: int) -> Call | None:
        """One of the calls that are out."""
        return self.open[x % len(self.open)] if self.open else None

    def settle(self, call: Call, nanos: int, basis: str) -> None:
        """Settle a call, and look at what came of it."""
        outcome, done = self.ledger.settle(call.id, nanos, basis, at=self.at)
        if outcome.nanos != nanos:
            raise Broken(f"a settle of {nanos} was made {outcome.nanos}")
        self.end(call, done, nanos)

    def end(self, call: Call, done: list[e.AnyEntry], paid: int, void: bool = False) -> None:
        """A call has ended by these entries."""
        if len(done) != 1:
            raise Broken(f"I3: {call.id} ended by {len(done)} entries")
        self.write(done)
        call.ended_at = len(self.journal) - 1
        call.paid, call.void = paid, void
        self.open.remove(call)
        self.ended.append(call)
        self.books.end(call.accounts, call.held, paid)
        self.books.compare(self.ledger, call.accounts)
