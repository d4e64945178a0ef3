"""Calls that wait for money: first come, first served on each account.

A call whose worst case would fit if other calls' open holds came to nothing waits until one of
them ends, a ceiling is raised, or its time is up. A call that comes while others wait for the same
account gets in line behind them, so that small calls can't starve a big one. One for which there is
no hope, whatever the others' holds come to, is answered at once.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

from agentwatch.core.admission import Waits

T = TypeVar("T")


class _Waiter:
    __slots__ = ("account", "charged", "ticket", "wake")

    def __init__(self, ticket: int, charged: tuple[str, ...]) -> None:
        self.ticket = ticket
        self.charged = charged
        self.account = ""
        self.wake = asyncio.Event()


class Turnstile:
    """The lines before all accounts."""

    def __init__(self) -> None:
        self._lines: dict[str, list[_Waiter]] = {}
        #: account -> the lines in which calls stand that are charged to it, and how many do
        self._reached: dict[str, Counter[str]] = {}
        self._tickets = itertools.count()

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    async def pass_through(
        self,
        charged: tuple[str, ...],
        attempt: Callable[[bool], T | Waits],
        wait_s: float,
        hopeless: Callable[[], bool] = lambda: False,
    ) -> T:
        """Call `attempt(may_wait)` until it no longer answers Waits, and return its answer.

        It is called when something changed, in the order in which the callers came; after
        `wait_s` seconds for the last time, with may_wait False. What it raises goes through.
        Who comes `hopeless` does not get in line.
        """
        ticket = next(self._tickets)
        ahead = next((account for account in charged if self._lines.get(account)), None)
        if ahead is not None and not hopeless():
            verdict: T | Waits = Waits(ahead, 0)
        else:
            verdict = attempt(True)
        if not isinstance(verdict, Waits):
            return verdict
        waiter = _Waiter(ticket, charged)
        try:
            async with asyncio.timeout(wait_s):
                while isinstance(verdict, Waits):
                    self._stand(waiter, verdict.account)
                    await waiter.wake.wait()
                    waiter.wake.clear()
                    verdict = attempt(True)
                return verdict
        except TimeoutError:
            last = attempt(False)
            assert not isinstance(last, Waits)
            return last
        finally:
            self._leave(waiter)

    def wake(self, accounts: Iterable[str]) -> None:
        """The money of these accounts has changed: let the first in each line that it bears on
        try. Also where they wait for another account: what was spent may leave them no hope."""
        for account in accounts:
            for line in self._reached.get(account, ()):
                self._lines[line][0].wake.set()

    def wake_all(self, account: str) -> None:
        """All calls that are charged to this account must look again, wherever they wait: its
        state or its ceiling was changed."""
        for line in self._reached.get(account, ()):
            for waiter in self._lines[line]:
                if account in waiter.charged or account == line:
                    waiter.wake.set()

    def wake_everybody(self) -> None:
        """All calls must look again."""
        for line in self._lines.values():
            for waiter in line:
                waiter.wake.set()

    def _stand(self, waiter: _Waiter, account: str) -> None:
        if waiter.account == account:
            return
        self._leave(waiter)
        waiter.account = account
        line = self._lines.setdefault(account, [])
        line.append(waiter)
        for reaching in {account, *waiter.charged}:
            self._reached.setdefault(reaching, Counter())[account] += 1
        line.sort(key=lambda other: other.ticket)
        if line[0] is waiter:
            waiter.wake.set()

    def _leave(self, waiter: _Waiter) -> None:
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
            line[0].wake.set()
        waiter.account = ""

    def _forget(self, reaching: str, line: str) -> None:
        lines = self._reached[reaching]
        lines[line] -= 1
        if not lines[line]:
            del lines[line]
        if not lines:
            del self._reached[reaching]
