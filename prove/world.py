"""One simulated world: agents, a provider with a bill of its own, a journal, a daemon that dies.

An event is three small numbers (what, and two that choose), and any list of events is a story: so
a story can be cut anywhere, which is how a failing one is shrunk. The ledger, its admission, its
lines, its fold and its recovery are the production code. Everything else here is the world around
it: which entries are durable, what the provider has billed, which message comes late or twice.
"""

from __future__ import annotations

from prove.asking import Asking
from prove.crash import Crash
from prove.flying import Flying
from prove.judge import Broken, check_fold
from prove.people import People

Event = tuple[int, int, int]

#: what happens, and how often of 256
PLAYS: dict[str, int] = {
    # asking
    "arrive": 54,
    "turn": 16,
    "give_up": 3,
    # flying
    "sync": 32,
    "send": 42,
    "answer": 20,
    "extend": 6,
    "report": 30,
    "hang_up": 6,
    "doubt": 3,
    "overrun": 1,
    "give_back": 5,
    "repeat": 11,
    "hold_again": 4,
    "late": 5,
    # people and clocks
    "clock": 6,
    "tell": 5,
    "ceiling": 4,
    "split": 1,
    "open_again": 1,
    # the daemon
    "crash": 1,
}


class World(Asking, Flying, People, Crash):
    """Plays events, and raises Broken at the first one after which something is not true."""

    #: events of one world: long enough for months and crashes, short enough to be folded again
    LENGTH = 600
    PLAYS = PLAYS

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._plays = tuple(getattr(self, name) for name in PLAYS)

    def play(self, events: list[Event]) -> None:
        """Play all of them, then let the faults stop, and everything come to rest."""
        plays = self._plays
        for what, x, y in events:
            plays[what](x, y)
        self.come_to_rest()

    def come_to_rest(self) -> None:
        """Faults stop: every call ends, whoever waits is served or refused, nothing is held."""
        self._end_all()
        while self.waiting:
            # who is excused waits until its time is up; nobody else does
            late = [call for call in self.waiting.values() if self.is_excused(call)]
            if not late:
                raise Broken(f"liveness: {len(self.waiting)} wait for ever, and nothing is out")
            for call in late:
                self.last_try(call)
            self._end_all()
        if self.ledger.holds or len(self.lines):
            raise Broken("liveness: something is held, or stands in line, though nothing is out")
        self.books.compare(self.ledger, self.ledger.accounts)
        if any(account.held for account in self.ledger.accounts.values()):
            raise Broken("liveness: an account holds money for nobody")
        check_fold(self.ledger, self.journal, as_read=True)

    def _end_all(self) -> None:
        self.durable = len(self.journal)
        while self.open or self.woken:
            for call in list(self.open):
                call.sent = True
                self.settle(call, max(call.billed, call.bound), "usage")
            self.turn(1, 0)
