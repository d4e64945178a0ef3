"""People and clocks: sessions are opened, paused, killed; ceilings move; time jumps."""

from __future__ import annotations

from agentwatch.core import accounts as acc
from agentwatch.core.ledger import SESSION_VERBS
from agentwatch.errors import LedgerError
from prove.cast import BUDGETS, JUMPS_S, LATER, LINEAGE, charged_in, month_of
from prove.judge import Broken
from prove.stage import Stage

#: mostly resumed, or nothing would be left alive
TOLD = ("pause", "pause", "resume", "resume", "resume", "resume", "close", "kill")


class People(Stage):
    """What people do to sessions and budgets, and what clocks do."""

    def clock(self, x: int, y: int) -> None:
        """Time goes on, jumps, or is put back."""
        self.at += JUMPS_S[x % len(JUMPS_S)]
        charged = charged_in(month_of(self.at))
        if charged is not self.charged:
            self.charged = charged
            self.months += 1

    def tell(self, x: int, y: int) -> None:
        """Pause, resume, close, kill: a session, and with it what is a part of it."""
        name = self.names[x % len(self.names)]
        verb = TOLD[y * len(TOLD) >> 16]
        try:
            done = self.ledger.set_state(name, verb, at=self.at)
        except LedgerError:
            if self.ledger.sessions[name].state_at(self.at) in SESSION_VERBS[verb][0]:
                raise Broken(f"{name} could not {verb}") from None
            return
        self.write(done)
        if verb in ("kill", "close"):
            self._check_parts(name)
        if verb == "kill":
            self.killed.setdefault(name, len(self.journal) - 1)

    def _check_parts(self, name: str) -> None:
        for part in self.names:
            open_still = self.ledger.sessions[part].state_at(self.at) not in acc.ENDED
            if name in LINEAGE[part] and open_still:
                raise Broken(f"{name} has ended, and its part {part} is open")

    def ceiling(self, x: int, y: int) -> None:
        """A ceiling is raised, lowered, or taken away."""
        wanted = None if y < 2_000 else y % 800
        at = x % (len(self.names) + len(BUDGETS))
        budgets = at - len(self.names)
        account = f"session:{self.names[at]}" if budgets < 0 else tuple(BUDGETS)[budgets]
        self.write(self.ledger.set_ceiling(account, wanted, at=self.at))

    def split(self, x: int, y: int) -> None:
        """A part of a session is opened."""
        name = tuple(LATER)[x % len(LATER)]
        if name not in self.names and LINEAGE[name][1] in self.names:
            self.write(self.ledger.open(name, at=self.at, **LATER[name]))
            self.names = (*self.names, name)

    def open_again(self, x: int, y: int) -> None:
        """A session is opened that is there: it never gets cheaper, and never more."""
        name = self.names[x % len(self.names)]
        session = self.ledger.sessions[name]
        before, settled, state = session.ceiling, session.settled, session.state
        self.write(self.ledger.open(name, at=self.at, ceiling=y % 800))
        if session.settled != settled or (before is not None and (session.ceiling or 0) > before):
            raise Broken(f"I6: {name} was opened again, and began anew")
        if state == acc.KILLED and session.state != acc.KILLED:
            raise Broken(f"I7: {name} was opened again, and lives")
