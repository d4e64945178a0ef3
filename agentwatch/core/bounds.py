"""What bounds a call of a session: the states and the ceilings of all that it is a part of."""

from __future__ import annotations

from collections.abc import Iterable

from agentwatch.core import accounts as acc
from agentwatch.core.accounts import Session
from agentwatch.core.admission import Policy, Purse, is_hopeless
from agentwatch.core.estimate import Quote
from agentwatch.core.fold import Balances


class Bounds(Balances):
    """The balances, as a call sees them."""

    def state_at(self, session: Session, at: float) -> tuple[Session, str]:
        """The state that bars a session's calls, and whose it is: its own, or that of a session
        that it is a part of, and first one that no one comes back from; else its own."""
        own = session, session.state_at(at)
        if not session.parents:
            return own
        found = [own, *((each, each.state_at(at)) for each in self.parents(session))]
        for states in (acc.ENDED, acc.BARRED):
            for each in found:
                if each[1] in states:
                    return each
        return own

    def parents(self, session: Session) -> list[Session]:
        """The sessions that this one is a part of, the nearest first."""
        found = (self.accounts[account_id] for account_id in session.parents)
        return [each for each in found if isinstance(each, Session)]

    def has_most_parts(self, whole: Session) -> bool:
        """Whether so many of its own parts are open that there can be no more."""
        parts = self.parts.get(whole.id, ())
        if len(parts) < acc.MOST_CHILDREN:
            return False
        own = (part for part in parts if part.parents[0] == whole.id)
        return sum(part.state not in acc.ENDED for part in own) >= acc.MOST_CHILDREN

    def lineage(self, session: Session) -> tuple[Session, ...]:
        """The session and all that it is a part of, the nearest first."""
        return (session, *self.parents(session))

    def short_of(self, session: Session, account: str) -> list[Session]:
        """Whom it concerns that `account` has no money for a call of this session: those whose
        calls it pays for. What stands above a session goes on with money of its own."""
        lineage = self.lineage(session)
        ids = [each.id for each in lineage]
        return list(lineage[: ids.index(account) + 1] if account in ids else lineage)

    def purses(self, session: Session, account_ids: Iterable[str]) -> list[Purse]:
        """The accounts that bind a call of this session: with a ceiling that is enforced."""
        purses = []
        for account_id in account_ids:
            account = self.account(account_id)
            if account.ceiling is None:
                continue
            room = account.ceiling - account.settled
            free = room - account.held
            if isinstance(account, Session):
                if account.mode == "observe":
                    continue
                if account.mode == "soft":
                    if room > 0:
                        continue
                    free = room = min(room, -1)
            purses.append(Purse(account_id, free, room))
        return purses

    def is_hopeless(self, session: Session, quote: Quote, policy: Policy, *, at: float) -> bool:
        """Whether a call of this session would be refused whatever the open holds come to."""
        _, now = self.state_at(session, at)
        if now in acc.ENDED:
            return True
        return is_hopeless(quote, self.purses(session, acc.charged_accounts(session, at)), policy)
