"""Calls that wait for money: the core's lines, with a clock and somebody asleep in each place.

Who may try, who stays and who is woken is decided in `core.lines`. Here it is waited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from agentwatch.core import entries as e
from agentwatch.core.admission import Waits
from agentwatch.core.fold import Balances
from agentwatch.core.lines import Attempt, Lines

T = TypeVar("T")


class Turnstile:
    """Where calls wait. Belongs to one event loop."""

    def __init__(self) -> None:
        self._lines = Lines()

    def __len__(self) -> int:
        return len(self._lines)

    async def pass_through(
        self,
        charged: tuple[str, ...],
        attempt: Attempt[T],
        wait_s: float,
        hopeless: Callable[[], bool] = lambda: False,
    ) -> T:
        """Call `attempt(may_wait)` until it no longer answers Waits, and return its answer.

        It is called when something changed, in the order in which the callers came; after
        `wait_s` seconds for the last time, with may_wait False. What it raises goes through.
        Who is `hopeless` does not wait for those who came before.
        """
        verdict = self._lines.arrive(charged, attempt, hopeless)
        if not isinstance(verdict, Waits):
            return verdict
        woken = asyncio.Event()
        waiter = self._lines.stand(verdict.account, charged, attempt, hopeless, woken.set)
        try:
            async with asyncio.timeout(wait_s):
                while isinstance(verdict, Waits):
                    await woken.wait()
                    woken.clear()
                    verdict = self._lines.look(waiter)
                return verdict
        except TimeoutError:
            last = attempt(False)
            assert not isinstance(last, Waits)
            return last
        finally:
            self._lines.leave(waiter)

    def hear(self, entry: e.AnyEntry, balances: Balances) -> None:
        """An entry was applied: those for whom it may have changed the answer look again."""
        self._lines.hear(entry, balances)

    def wake_everybody(self) -> None:
        """All calls must look again."""
        self._lines.wake_everybody()
