"""One simulated world: agents, a provider with a bill of its own, a journal, a daemon that dies.

An event is three small numbers (what, and two that choose), and any list of events is a story: so
a story can be cut anywhere, which is how a failing one is shrunk. The ledger, its admission, its
fold and its recovery are the production code. Everything else here is the world around it: which
entries are durable, what the provider has billed, which message comes late or twice.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from agentwatch.core import accounts as acc
from agentwatch.core import entries as e
from agentwatch.core.admission import Admitted, Refused
from agentwatch.core.ledger import SESSION_VERBS, Ledger
from agentwatch.errors import BarredError, LedgerError
from prove.cast import BUDGETS, EPOCH, JUMPS_S, POLICIES, QUOTES, SESSIONS
from prove.judge import (
    Books,
    Broken,
    check_fold,
    check_refused,
    check_waits,
    check_within,
)

Event = tuple[int, int, int]
NAMES = tuple(SESSIONS)
#: ended calls of which late and doubled messages still come
REMEMBERED = 64
NEVER = 1 << 62
#: mostly resumed, or nothing would be left alive
TOLD = ("pause", "pause", "resume", "resume", "resume", "resume", "close", "kill")


class Call:
    """One call, as the world knows it. Places are indices in the journal."""

    __slots__ = (
        *("accounts", "billed", "bound", "ended_at", "extended", "held", "held_at", "id", "late"),
        *("paid", "quote", "sent", "session", "void"),
    )

    def __init__(self, call_id: str, session: str, quote: Any) -> None:
        self.id, self.session, self.quote = call_id, session, quote
        self.accounts: tuple[str, ...] = ()
        self.held = self.paid = self.billed = self.bound = 0
        self.held_at, self.ended_at = NEVER, NEVER
        self.extended: list[tuple[int, int]] = []
        self.late: list[tuple[int, int]] = []
        self.sent = self.void = False


class World:
    """Plays events, and raises Broken at the first one after which something is not true."""

    def __init__(self, clamp: bool = True) -> None:
        self.policy = POLICIES[0 if clamp else 1]
        self.ledger = Ledger()
        self.journal: list[e.AnyEntry] = []
        self.durable = 0
        self.at = EPOCH
        self.books = Books()
        self.calls: list[Call] = []
        self.open: list[Call] = []
        self.ended: deque[Call] = deque(maxlen=REMEMBERED)
        self.waiting: deque[Call] = deque()
        #: where in the journal a session was killed
        self.killed: dict[str, int] = {}
        self.numbers = 0
        for name, terms in SESSIONS.items():
            self._write(self.ledger.open(name, at=self.at, **terms))
        for budget, ceiling in BUDGETS.items():
            self._write(self.ledger.set_ceiling(budget, ceiling, at=self.at))
        self.durable = len(self.journal)
        self._plays = tuple(getattr(self, name) for name in PLAYS)

    def play(self, events: list[Event]) -> None:
        """Play all of them, then let the faults stop, and everything come to rest."""
        plays = self._plays
        for what, x, y in events:
            plays[what](x, y)
        self.come_to_rest()

    def _write(self, done: list[e.AnyEntry]) -> None:
        self.journal += done

    # ---- a call's way

    def arrive(self, x: int, y: int) -> None:
        """A new call of some session."""
        self.numbers += 1
        call = Call(f"h{self.numbers}", NAMES[x % len(NAMES)], QUOTES[y % len(QUOTES)])
        if not self._admit(call, True):
            self.waiting.append(call)

    def _admit(self, call: Call, may_wait: bool) -> bool:
        """False where it must go on waiting."""
        ledger, quote = self.ledger, call.quote
        session = ledger.sessions[call.session]
        try:
            verdict, done = ledger.hold(
                call.session,
                quote,
                self.policy,
                hold_id=call.id,
                at=self.at,
                may_wait=may_wait,
            )
        except BarredError:
            if session.state_at(self.at) in (acc.ACTIVE, acc.EXHAUSTED):
                raise Broken(f"{call.session} was barred while {session.state}") from None
            return True
        self.journal += done
        if isinstance(verdict, Admitted):
            if call.session in self.killed:
                raise Broken("I7: a killed session was let through")
            self._take(call, verdict)
            return True
        accounts = acc.charged_accounts(session, self.at)
        if isinstance(verdict, Refused):
            check_refused(ledger, accounts, quote, self.policy, may_wait)
            return True
        if not may_wait:
            raise Broken("a call whose wait has ended was told to wait")
        check_waits(ledger, accounts, quote, self.policy)
        return False

    def _take(self, call: Call, verdict: Admitted) -> None:
        quote, limit = call.quote, verdict.limit
        hold = self.ledger.holds[call.id]
        call.accounts = hold.accounts
        call.held = verdict.nanos
        call.held_at = len(self.journal) - 1
        # what an honest provider can bill for it
        limit = quote.most if limit is None else limit
        call.bound = quote.worst(limit or 0)
        if call.held < call.bound:
            raise Broken(f"I5: {call.held} is held for a call that may cost {call.bound}")
        self.books.hold(call.accounts, call.held)
        self.calls.append(call)
        self.open.append(call)
        check_within(self.ledger, call.accounts)
        self.books.compare(self.ledger, call.accounts)

    def sync(self, x: int, y: int) -> None:
        """The journal's writer has come so far."""
        left = len(self.journal) - self.durable
        self.durable += left if x & 1 else left * y >> 16

    def send(self, x: int, y: int) -> None:
        """A call whose hold is durable goes out, and the provider begins to bill it."""
        if self.open:
            call = self.open[x % len(self.open)]
            if call.held_at < self.durable:
                call.sent = True
                self._bill(call, y)

    def answer(self, x: int, y: int) -> None:
        """The provider has made some more output."""
        if self.open:
            call = self.open[x % len(self.open)]
            if call.sent:
                self._bill(call, y)

    def _bill(self, call: Call, y: int) -> None:
        call.billed = max(call.billed, call.bound * y >> 16)
        if self.ledger.holds[call.id].nanos < call.billed:
            raise Broken(f"I5: {call.billed} is billed for {call.id}, and less is held")

    def extend(self, x: int, y: int) -> None:
        """A stream goes on past its hold."""
        if not self.open:
            return
        call = self.open[x % len(self.open)]
        nanos = y & 63
        granted, done = self.ledger.extend(call.id, nanos, at=self.at)
        self.journal += done
        if not done:
            return
        if not granted or call.session in self.killed:
            raise Broken("I7: a killed session's call was given more")
        call.extended.append((len(self.journal) - 1, nanos))
        call.held += nanos
        self.books.hold(call.accounts, nanos)
        check_within(self.ledger, call.accounts)
        self.books.compare(self.ledger, call.accounts)

    # ---- a call's end

    def report(self, x: int, y: int) -> None:
        """Usage comes at the answer's end."""
        call = self._pick(x)
        if call is not None and call.sent:
            self._settle(call, call.billed, "usage")

    def hang_up(self, x: int, y: int) -> None:
        """No usage: it is charged by what was seen, rounded up, within the hold."""
        call = self._pick(x)
        if call is not None and call.sent:
            seen = call.billed + (y & 15)
            self._settle(call, max(call.billed, min(call.held, seen)), "estimate")

    def doubt(self, x: int, y: int) -> None:
        """The connection broke: the whole hold."""
        call = self._pick(x)
        if call is not None and call.sent:
            self._settle(call, call.held, "estimate")

    def overrun(self, x: int, y: int) -> None:
        """A provider that billed more than it was allowed: the settle is neither refused nor
        cut."""
        call = self._pick(x)
        if call is not None and call.sent:
            self._settle(call, call.held + (y & 31), "usage")

    def give_back(self, x: int, y: int) -> None:
        """Never sent, or refused by the provider: void."""
        call = self._pick(x)
        if call is None or call.billed:
            return
        outcome, done = self.ledger.void(call.id, "429", at=self.at)
        self._end(call, done, 0, void=True)
        if outcome.nanos or outcome.basis != "void":
            raise Broken(f"a void of {call.id} cost {outcome.nanos}")

    def _pick(self, x: int) -> Call | None:
        return self.open[x % len(self.open)] if self.open else None

    def _settle(self, call: Call, nanos: int, basis: str) -> None:
        outcome, done = self.ledger.settle(call.id, nanos, basis, at=self.at)
        if outcome.nanos != nanos:
            raise Broken(f"a settle of {nanos} was made {outcome.nanos}")
        self._end(call, done, nanos)

    def _end(self, call: Call, done: list[e.AnyEntry], paid: int, void: bool = False) -> None:
        if len(done) != 1:
            raise Broken(f"I3: {call.id} ended by {len(done)} entries")
        self.journal += done
        call.ended_at = len(self.journal) - 1
        call.paid, call.void = paid, void
        self.open.remove(call)
        self.ended.append(call)
        self.books.end(call.accounts, call.held, paid)
        self.books.compare(self.ledger, call.accounts)
        if self.waiting:
            self._let_in()

    def _let_in(self) -> None:
        while self.waiting and self._admit(self.waiting[0], True):
            self.waiting.popleft()

    # ---- messages that come twice, or late

    def repeat(self, x: int, y: int) -> None:
        """Any verb on a call that has ended: it answers as the first did, and changes nothing."""
        if not self.ended:
            return
        call = self.ended[x % len(self.ended)]
        verb = y % 3
        if verb == 0:
            outcome, done = self.ledger.settle(call.id, y, "usage", at=self.at)
        elif verb == 1:
            outcome, done = self.ledger.void(call.id, "late", at=self.at)
        else:
            granted, done = self.ledger.extend(call.id, y, at=self.at)
            outcome = self.ledger.ended[call.id]
            if granted:
                raise Broken(f"{call.id} was extended after its end")
        if done or outcome.nanos != call.paid or (outcome.basis == "void") != call.void:
            raise Broken(f"I3: a repeat on {call.id} gave {outcome} and {len(done)} entries")
        self.books.compare(self.ledger, call.accounts)

    def hold_again(self, x: int, y: int) -> None:
        """A hold that is asked for again while it is open."""
        call = self._pick(x)
        if call is None:
            return
        verdict, done = self.ledger.hold(
            call.session, QUOTES[y % len(QUOTES)], self.policy, hold_id=call.id, at=self.at
        )
        if done or not isinstance(verdict, Admitted) or verdict.nanos != call.held:
            raise Broken(f"I3: a repeated hold of {call.id} gave {verdict}")
        self.books.compare(self.ledger, call.accounts)

    def late(self, x: int, y: int) -> None:
        """A report comes after the settle: the difference is charged, and only upwards."""
        if not self.ended:
            return
        call = self.ended[x % len(self.ended)]
        total = call.billed + (y & 31)
        outcome, done = self.ledger.adjust(call.id, total, "bill", at=self.at)
        more = 0 if call.void else max(0, total - call.paid)
        if outcome.nanos != call.paid + more or len(done) != (more > 0):
            raise Broken(f"I6: a late {total} on {call.id}, paid {call.paid}, gave {outcome}")
        self.journal += done
        if more:
            call.paid += more
            call.late.append((len(self.journal) - 1, more))
            self.books.end(call.accounts, 0, more)
        self.books.compare(self.ledger, call.accounts)

    # ---- people, clocks

    def clock(self, x: int, y: int) -> None:
        """Time goes on, jumps, or is put back."""
        self.at += JUMPS_S[x % len(JUMPS_S)]

    def tell(self, x: int, y: int) -> None:
        """Pause, resume, close, kill."""
        name = NAMES[x % len(NAMES)]
        verb = TOLD[y * len(TOLD) >> 16]
        try:
            done = self.ledger.set_state(name, verb, at=self.at)
        except LedgerError:
            if self.ledger.sessions[name].state_at(self.at) in SESSION_VERBS[verb][0]:
                raise Broken(f"{name} could not {verb}") from None
            return
        self.journal += done
        if verb == "kill":
            self.killed.setdefault(name, len(self.journal) - 1)
        self._let_in()

    def ceiling(self, x: int, y: int) -> None:
        """A ceiling is raised, lowered, or taken away."""
        wanted = None if y < 2_000 else y % 800
        names = [f"session:{name}" for name in NAMES] + list(BUDGETS)
        account = names[x % len(names)]
        self.journal += self.ledger.set_ceiling(account, wanted, at=self.at)
        self._let_in()

    def open_again(self, x: int, y: int) -> None:
        """A session is opened that is there: it never gets cheaper, and never more."""
        name = NAMES[x % len(NAMES)]
        session = self.ledger.sessions[name]
        before, settled, state = session.ceiling, session.settled, session.state
        self.journal += self.ledger.open(name, at=self.at, ceiling=y % 800)
        if session.settled != settled or (before is not None and (session.ceiling or 0) > before):
            raise Broken(f"I6: {name} was opened again, and began anew")
        if state == acc.KILLED and session.state != acc.KILLED:
            raise Broken(f"I7: {name} was opened again, and lives")

    def give_up(self, x: int, y: int) -> None:
        """A wait has ended: it takes what is left, or is refused."""
        if self.waiting:
            call = self.waiting[x % len(self.waiting)]
            self.waiting.remove(call)
            self._admit(call, False)
            self._let_in()

    # ---- the daemon dies

    def crash(self, x: int, y: int) -> None:
        """Entries after some place are lost; what was durable is all that the next start knows."""
        left = len(self.journal) - self.durable
        cut = self.durable + (left * x >> 16 if left else 0)
        check_fold(self.ledger, self.journal)
        del self.journal[cut:]
        self.durable = cut
        ledger = Ledger()
        for entry in self.journal:
            ledger.apply(entry)
        self.ledger = ledger
        self.killed = {name: at for name, at in self.killed.items() if at < cut}
        self.waiting.clear()
        self.ended.clear()
        recovered = {}
        for outcome, done in ledger.recover(at=self.at):
            recovered[outcome.hold] = (len(self.journal), outcome.nanos)
            self.journal += done
        self.calls = [call for call in self.calls if self._survives(call, cut)]
        self.open.clear()
        self._recount(cut, recovered)
        if recovered:
            raise Broken(f"I3: the recovery ended {list(recovered)} once more")

    def _survives(self, call: Call, cut: int) -> bool:
        if call.held_at < cut:
            return True
        if call.sent:
            raise Broken(f"I4: {call.id} was sent, and its hold is lost")
        return False

    def _recount(self, cut: int, recovered: dict[str, tuple[int, int]]) -> None:
        """Each call by itself: as the journal has it, or settled in full."""
        self.books = Books()
        for call in self.calls:
            call.held -= sum(nanos for at, nanos in call.extended if at >= cut)
            call.extended = [each for each in call.extended if each[0] < cut]
            if call.ended_at >= cut:
                call.ended_at, call.paid = recovered.pop(call.id, (NEVER, -1))
                call.void, call.late = False, []
                if call.paid != call.held:
                    raise Broken(f"I5: {call.id} held {call.held}, the crash made it {call.paid}")
            else:
                call.paid -= sum(nanos for at, nanos in call.late if at >= cut)
                call.late = [each for each in call.late if each[0] < cut]
            if call.paid < call.billed:
                raise Broken(f"I5: {call.billed} is billed for {call.id}, {call.paid} settled")
            self.books.end(call.accounts, 0, call.paid)
            if call.id in self.ledger.ended:
                self.ended.append(call)
        self.books.compare(self.ledger, self.ledger.accounts)

    # ---- the end

    def come_to_rest(self) -> None:
        """Faults stop: every call ends, whoever waits is served or refused, nothing is held."""
        for _ in range(len(self.open) + len(self.waiting) + 1):
            self.durable = len(self.journal)
            for call in list(self.open):
                call.sent = True
                self._settle(call, max(call.billed, call.bound), "usage")
            self._let_in()
            if not self.open and not self.waiting:
                break
        if self.open or self.waiting or self.ledger.holds:
            raise Broken("liveness: something is held, or waits, though nothing is out")
        self.books.compare(self.ledger, self.ledger.accounts)
        if any(account.held for account in self.ledger.accounts.values()):
            raise Broken("liveness: an account holds money for nobody")
        check_fold(self.ledger, self.journal, as_read=True)


#: what happens, and how often of 256
PLAYS: dict[str, int] = {
    "arrive": 56,
    "sync": 34,
    "send": 44,
    "answer": 22,
    "extend": 6,
    "report": 30,
    "hang_up": 6,
    "doubt": 3,
    "overrun": 1,
    "give_back": 5,
    "repeat": 16,
    "hold_again": 5,
    "late": 6,
    "clock": 7,
    "tell": 5,
    "ceiling": 4,
    "open_again": 1,
    "give_up": 4,
    "crash": 1,
}
