"""Who waits for whose money, and who may try now: first come, first served on each account.

A call whose worst case would fit if other calls' open holds came to nothing stands in the line of
the account that is short, until a hold ends, a ceiling is raised, or its time is up. Nobody takes
money of an account in whose line somebody stands who came before, so that small calls can't starve
a big one; only a call whose time is up takes what is left, whoever is before it. One for which
there is no hope, whatever the others' holds come to, is answered at once.

    call      arrive     tries, or gets in line behind those who came before (`stand`)
    entry     hear       wakes the first in each line that it bears on, and whom it leaves no hope:
                         they look again
    waiter    look       stays, moves to another line, or has its answer (then: `leave`)

Whoever leaves a line as its first wakes the next.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from agentwatch.core import accounts as acc
from agentwatch.core import entries as e
from agentwatch.core.admission import Waits
from agentwatch.core.fold import Balances

T = TypeVar("T")

Attempt = Callable[[bool], T | Waits]


class Waiter(Generic[T]):
    """A call in line. `wake` is called, any number of times, when it is to look again."""

    __slots__ = ("account", "attempt", "charged", "hopeless", "ticket", "wake")

    def __init__(
        self,
        ticket: int,
        charged: tuple[str, ...],
        attempt: Attempt[T],
        hopeless: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        self.ticket = ticket
        self.charged = charged
        self.attempt = attempt
        self.hopeless = hopeless
        self.wake = wake
        #: in whose line it stands; "": in none
        self.account = ""


class Lines:
    """The lines before all accounts."""

    def __init__(self) -> None:
        self._lines: dict[str, list[Waiter[Any]]] = {}
        #: account -> the lines in which calls stand that are charged to it, and how many do
        self._reached: dict[str, Counter[str]] = {}
        self._tickets = itertools.count()

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    # ---- a call's way

    def arrive(
        self, charged: tuple[str, ...], attempt: Attempt[T], hopeless: Callable[[], bool]
    ) -> T | Waits:
        """A call comes: the answer of `attempt(True)`, or Waits where others came before it for the
        same money. Who comes `hopeless` is answered whoever is before it."""
        ahead = self._ahead(charged) if self._lines else None
        if ahead is not None and not hopeless():
            return Waits(ahead, 0)
        return attempt(True)

    def stand(
        self,
        account: str,
        charged: tuple[str, ...],
        attempt: Attempt[T],
        hopeless: Callable[[], bool],
        wake: Callable[[], None],
    ) -> Waiter[T]:
        """Get in line before `account`, as `arrive` said. Once, and right after it."""
        waiter = Waiter(next(self._tickets), charged, attempt, hopeless, wake)
        self._move(waiter, account)
        return waiter

    def look(self, waiter: Waiter[T]) -> T | Waits:
        """Who was woken looks again: an answer, with which it leaves, or Waits.

        Who still has others before it does not try, but where there is no hope. What the attempt
        raises goes through, and is an answer too.
        """
        ahead = self._ahead((waiter.account, *waiter.charged), waiter.ticket)
        if ahead is not None and not waiter.hopeless():
            self._move(waiter, ahead)
            return Waits(ahead, 0)
        verdict = waiter.attempt(True)
        if isinstance(verdict, Waits):
            self._move(waiter, verdict.account)
        return verdict

    def leave(self, waiter: Waiter[T]) -> None:
        """It has its answer, or has gone. Nothing where it stands in no line."""
        line = self._lines.get(waiter.account)
        if line is None or waiter not in line:
            return
        was_first = line[0] is waiter
        line.remove(waiter)
        for reaching in {waiter.account, *waiter.charged}:
            self._forget(reaching, waiter.account)
        if not line:
            del self._lines[waiter.account]
        elif was_first:
            line[0].wake()
        waiter.account = ""

    # ---- what changes

    def hear(self, entry: e.AnyEntry, balances: Balances) -> None:
        """An entry was applied: wake those for whom it may have changed the answer."""
        if not self._lines:
            return
        if isinstance(entry, e.Voided):
            self._wake_first(balances.ended[entry.hold].accounts)
        elif isinstance(entry, e.Settled):
            self._wake_spent(balances.ended[entry.hold].accounts)
        elif isinstance(entry, e.Adjusted):
            self._wake_spent(entry.accounts)
        elif isinstance(entry, (e.StateSet, e.Opened)):
            self._wake_all(acc.session_account(entry.session))
        elif isinstance(entry, e.CeilingSet):
            for account in balances.touched(entry):
                self._wake_all(account.id)

    def wake_everybody(self) -> None:
        """All calls must look again."""
        for line in self._lines.values():
            for waiter in line:
                waiter.wake()

    def _wake_first(self, accounts: Iterable[str]) -> None:
        """Their money has changed. Also where calls wait for another account's: what was spent may
        leave them no hope."""
        for line in self._lines_of(accounts):
            line[0].wake()

    def _wake_spent(self, accounts: tuple[str, ...]) -> None:
        """Some of their money is gone for good, which may leave those further back no hope either:
        they are answered now, and not when it is their turn."""
        spent = set(accounts)
        for first, *others in self._lines_of(accounts):
            first.wake()
            for waiter in others:
                if not spent.isdisjoint(waiter.charged) and waiter.hopeless():
                    waiter.wake()

    def _lines_of(self, accounts: Iterable[str]) -> list[list[Waiter[Any]]]:
        """The lines in which calls stand that are charged to any of these accounts."""
        reached = {line for account in accounts for line in self._reached.get(account, ())}
        return [self._lines[line] for line in sorted(reached)]

    def _wake_all(self, account: str) -> None:
        """All that are charged to this account, wherever they wait: its state or its ceiling was
        changed, which may leave none of them any hope."""
        for line in self._reached.get(account, ()):
            for waiter in self._lines[line]:
                if account in waiter.charged or account == line:
                    waiter.wake()

    # ---- the lines

    def _ahead(self, accounts: Iterable[str], ticket: int | None = None) -> str | None:
        """The first of these accounts in whose line somebody stands who came before."""
        for account in accounts:
            line = self._lines.get(account)
            if line and (ticket is None or line[0].ticket < ticket):
                return account
        return None

    def _move(self, waiter: Waiter[T], account: str) -> None:
        if waiter.account == account:
            return
        self.leave(waiter)
        waiter.account = account
        line = self._lines.setdefault(account, [])
        line.append(waiter)
        line.sort(key=lambda other: other.ticket)
        for reaching in {account, *waiter.charged}:
            self._reached.setdefault(reaching, Counter())[account] += 1

    def _forget(self, reaching: str, line: str) -> None:
        lines = self._reached[reaching]
        lines[line] -= 1
        if not lines[line]:
            del lines[line]
        if not lines:
            del self._reached[reaching]
