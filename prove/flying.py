"""A call that is out: it is sent, billed, extended, ended, and told of twice or late."""

from __future__ import annotations

from agentwatch.core.admission import Admitted
from prove.cast import LINEAGE, QUOTES
from prove.judge import Broken, check_not_extended, check_within
from prove.stage import Call, Stage


class Flying(Stage):
    """What happens to calls that were let through."""

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
        call = self.pick(x)
        if call is None:
            return
        nanos = y & 63
        granted, done = self.ledger.extend(call.id, nanos, at=self.at)
        is_killed = not self.killed.keys().isdisjoint(LINEAGE[call.session])
        if not granted and not is_killed:
            check_not_extended(self.ledger, call.accounts, nanos)
        if not done:
            return
        self.write(done)
        if not granted or is_killed:
            raise Broken("I7: a killed session's call was given more")
        call.extended.append((len(self.journal) - 1, nanos))
        call.held += nanos
        self.books.hold(call.accounts, nanos)
        check_within(self.ledger, call.accounts)
        self.books.compare(self.ledger, call.accounts)

    # ---- a call's end

    def report(self, x: int, y: int) -> None:
        """Usage comes at the answer's end."""
        call = self.pick(x)
        if call is not None and call.sent:
            self.settle(call, call.billed, "usage")

    def hang_up(self, x: int, y: int) -> None:
        """No usage: it is charged by what was seen, rounded up, within the hold."""
        call = self.pick(x)
        if call is not None and call.sent:
            seen = call.billed + (y & 15)
            self.settle(call, max(call.billed, min(call.held, seen)), "estimate")

    def doubt(self, x: int, y: int) -> None:
        """The connection broke: the whole hold."""
        call = self.pick(x)
        if call is not None and call.sent:
            self.settle(call, call.held, "estimate")

    def overrun(self, x: int, y: int) -> None:
        """A provider that billed more than it was allowed: the settle is neither refused nor
        cut."""
        call = self.pick(x)
        if call is not None and call.sent:
            self.settle(call, call.held + (y & 31), "usage")

    def give_back(self, x: int, y: int) -> None:
        """Never sent, or refused by the provider: void."""
        call = self.pick(x)
        if call is None or call.billed:
            return
        outcome, done = self.ledger.void(call.id, "429", at=self.at)
        self.end(call, done, 0, void=True)
        if outcome.nanos or outcome.basis != "void":
            raise Broken(f"a void of {call.id} cost {outcome.nanos}")

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
        call = self.pick(x)
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
        self.write(done)
        if more:
            call.paid += more
            call.late.append((len(self.journal) - 1, more))
            self.books.end(call.accounts, 0, more)
        self.books.compare(self.ledger, call.accounts)
