"""A call asks for money: it is let through, refused, or waits in line, whose order is the core's.

The daemon's loop is `turn`: who was woken looks again some time later, and anything may happen in
between.
"""

from __future__ import annotations

from agentwatch.core import accounts as acc
from agentwatch.core.accounts import Session
from agentwatch.core.admission import Admitted, Refused, Waits
from agentwatch.errors import BarredError
from prove.cast import LINEAGE, QUOTES
from prove.judge import (
    Broken,
    check_hope,
    check_order,
    check_refused,
    check_told,
    check_waits,
    check_within,
)
from prove.stage import Call, Stage


class Asking(Stage):
    """Calls that come, wait, and go away."""

    def arrive(self, x: int, y: int) -> None:
        """A new call of some session."""
        self.numbers += 1
        name = self.names[x % len(self.names)]
        call = Call(self, f"h{self.numbers}", name, QUOTES[y % len(QUOTES)])
        whose, state = self.ledger.state_at(self.ledger.sessions[name], self.at)
        if state in acc.BARRED:
            self._check_barred(call, whose)
            return
        verdict = self.lines.arrive(call.charged, call.attempt, call.hopeless)
        if isinstance(verdict, Waits):
            call.waiter = self.lines.stand(
                verdict.account, call.charged, call.attempt, call.hopeless, call.wake
            )
            self.waiting[call.id] = call

    def turn(self, x: int, y: int) -> None:
        """The loop comes to the first who was woken, or to all."""
        woken = self.woken
        for _ in range(len(woken) if x & 1 else len(woken) and 1):
            self._look(woken.popleft())
        if self.waiting and not woken:
            self.check_lines()

    def give_up(self, x: int, y: int) -> None:
        """A wait has ended: it takes what is left, or is refused; or the client went away."""
        if self.waiting:
            call = list(self.waiting.values())[x % len(self.waiting)]
            if y & 3:
                self.last_try(call)
            else:
                self._leave(call)

    def last_try(self, call: Call) -> None:
        """Its time is up."""
        if isinstance(call.attempt(False), Waits):
            raise Broken("a call whose wait has ended was told to wait")
        self._leave(call)

    def _look(self, call: Call) -> None:
        call.is_woken = False
        if call.waiter is not None and not isinstance(self.lines.look(call.waiter), Waits):
            self._leave(call)

    def _leave(self, call: Call) -> None:
        assert call.waiter is not None
        self.lines.leave(call.waiter)
        call.waiter = None
        del self.waiting[call.id]

    # ---- what the ledger says

    def attempt(self, call: Call, may_wait: bool) -> object:
        """Ask for a call's money, as the governor does, and judge the answer."""
        try:
            verdict, done = self.ledger.hold(
                call.session,
                call.quote,
                self.policy,
                hold_id=call.id,
                at=self.at,
                may_wait=may_wait,
            )
        except BarredError as error:
            return self._barred(call, error.state, may_wait)
        if done:
            self.write(done)
        accounts = self.charged[call.session]
        if isinstance(verdict, Admitted):
            self._take(call, verdict, accounts)
            if may_wait and self.months == call.month and self.waiting:
                check_order(call, self.waiting.values())
        elif isinstance(verdict, Refused):
            check_refused(self.ledger, accounts, call.quote, self.policy, may_wait)
            check_told(self.ledger, verdict.account)
        else:
            check_waits(self.ledger, accounts, call.quote, self.policy)
        return verdict

    def _barred(self, call: Call, state: str, may_wait: bool) -> object:
        whose, _ = self.ledger.state_at(self.ledger.sessions[call.session], self.at)
        self._check_barred(call, whose)
        return Waits(whose.id, 0) if state == acc.PAUSED and may_wait else state

    def _check_barred(self, call: Call, whose: Session) -> None:
        if whose.name not in LINEAGE[call.session] or self._lets_through(call.session):
            raise Broken(f"{call.session} was barred by {whose.name}, which is {whose.state}")

    def _lets_through(self, name: str) -> bool:
        """Whether the states of a session, and of those that it is a part of, allow calls."""
        sessions = self.ledger.sessions
        states = [sessions[each].state_at(self.at) for each in LINEAGE[name]]
        return not any(state in acc.BARRED for state in states)

    def _take(self, call: Call, verdict: Admitted, accounts: tuple[str, ...]) -> None:
        if not self._lets_through(call.session) or not self.killed.keys().isdisjoint(
            LINEAGE[call.session]
        ):
            raise Broken(f"I7: {call.session} was let through, though it or its whole is barred")
        hold = self.ledger.holds[call.id]
        if hold.accounts != accounts:
            raise Broken(f"I1: a call of {call.session} is held on {hold.accounts}")
        quote, limit = call.quote, verdict.limit
        call.accounts = accounts
        call.held = verdict.nanos
        call.held_at = len(self.journal) - 1
        # what an honest provider can bill for it
        limit = quote.most if limit is None else limit
        call.bound = quote.worst(limit or 0)
        if call.held < call.bound:
            raise Broken(f"I5: {call.held} is held for a call that may cost {call.bound}")
        self.books.hold(accounts, call.held)
        self.calls.append(call)
        self.open.append(call)
        check_within(self.ledger, accounts)
        self.books.compare(self.ledger, accounts)

    # ---- nobody waits in vain

    def check_lines(self) -> None:
        """All who were woken have looked: who is first everywhere waits for holds, and for nothing
        else, and nobody waits without hope, wherever in line."""
        lines: set[str] = set()
        for call in self.waiting.values():
            assert call.waiter is not None
            is_first = call.waiter.account not in lines and lines.isdisjoint(call.charged)
            if not self.is_excused(call):
                if is_first:
                    check_waits(self.ledger, call.charged, call.quote, self.policy)
                else:
                    check_hope(self.ledger, call.charged, call.quote, self.policy)
            lines.add(call.waiter.account)

    def is_excused(self, call: Call) -> bool:
        """Whether a call may wait to its time's end: its session is paused, or the clock has
        passed a month's end meanwhile, which wakes nobody."""
        sessions = self.ledger.sessions
        for name in LINEAGE[call.session]:
            if sessions[name].state in acc.ENDED:
                raise Broken(f"liveness: {call.session} waits, and {name} has ended")
        return self.months != call.month or not self._lets_through(call.session)
