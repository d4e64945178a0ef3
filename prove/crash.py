"""The daemon dies: what was durable is all that the next one knows, and it is enough."""

from __future__ import annotations

from agentwatch.core.ledger import Ledger
from agentwatch.core.lines import Lines
from prove.judge import Books, Broken, check_same
from prove.stage import NEVER, Call, Stage


class Crash(Stage):
    """A crash, and the start after it."""

    def crash(self, x: int, y: int) -> None:
        """Entries after some place are lost; what was durable is all that the next start knows."""
        left = len(self.journal) - self.durable
        cut = self.durable + (left if y & 1 else left * x >> 16)
        del self.journal[cut:]
        self.durable = cut
        ledger = Ledger()
        for entry in self.journal:
            ledger.apply(entry)
        if y & 1:
            check_same(self.ledger, ledger)
        self.ledger, self.lines = ledger, Lines()
        self.names = tuple(ledger.sessions)
        self.killed = {name: at for name, at in self.killed.items() if at < cut}
        self.waiting.clear()
        self.woken.clear()
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
