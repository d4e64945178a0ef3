"""Calls that wait: each is woken, served in its turn, and no wait is for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workbench import until

from agentwatch.core import entries as e
from agentwatch.core.admission import Waits
from agentwatch.core.fold import Balances
from agentwatch.daemon.turnstile import Turnstile


class Purse:
    """Accounts with money, and calls that want some of it."""

    def __init__(self, **free: int) -> None:
        self.free = free
        self.turnstile = Turnstile()
        self.served: list[str] = []
        self.tries = 0

    def attempt(self, name: str, amount: int, charged: tuple[str, ...]) -> Callable[[bool], object]:
        def attempt(may_wait: bool) -> str | Waits:
            self.tries += 1
            for account in charged:
                if self.free[account] < amount:
                    return Waits(account, amount) if may_wait else f"{name} refused"
            for account in charged:
                self.free[account] -= amount
            self.served.append(name)
            return name

        return attempt

    def ask(
        self, name: str, amount: int, *charged: str, wait_s: float = 30.0
    ) -> asyncio.Task[object]:
        passing = self.turnstile.pass_through(charged, self.attempt(name, amount, charged), wait_s)
        return asyncio.create_task(passing, name=name)

    def give(self, amount: int, *accounts: str) -> None:
        for account in accounts:
            self.free[account] += amount
        self.hear(
            e.Adjusted(at=0, hold="h", session="s", accounts=accounts, nanos=0, evidence="bill")
        )

    def hear(self, entry: e.AnyEntry) -> None:
        self.turnstile.hear(entry, Balances())


async def standing(purse: Purse, count: int) -> None:
    await until(lambda: len(purse.turnstile) == count)


async def test_a_call_without_hope_waits_behind_those_with_some() -> None:
    """A refusal that was certain took as long as the wait may last."""
    purse = Purse(a=0)
    first = purse.ask("first", 5, "a")
    await standing(purse, 1)

    def refuse(may_wait: bool) -> str:
        return "refused"

    async with asyncio.timeout(5):
        assert await purse.turnstile.pass_through(("a",), refuse, 30, lambda: True) == "refused"
    purse.give(5, "a")
    assert await first == "first"


async def test_a_call_that_fits_stands_in_a_line() -> None:
    purse = Purse(a=5)
    assert await purse.ask("one", 5, "a") == "one"
    assert len(purse.turnstile) == 0


async def test_small_calls_starve_a_big_one() -> None:
    purse = Purse(a=4)
    big = purse.ask("big", 10, "a")
    await standing(purse, 1)
    small = [purse.ask(f"small {number}", 2, "a") for number in range(5)]
    await standing(purse, 6)
    assert purse.served == []
    for _ in range(6):
        purse.give(2, "a")
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert purse.served[0] == "big"
    purse.give(10, "a")
    await asyncio.gather(big, *small)
    assert purse.served == ["big", *(f"small {number}" for number in range(5))]


async def test_money_that_comes_at_once_serves_only_the_first() -> None:
    """Whoever is served lets the next in line try."""
    purse = Purse(a=0)
    asked = [purse.ask(str(number), 1, "a") for number in range(50)]
    await standing(purse, 50)
    purse.give(50, "a")
    await asyncio.wait_for(asyncio.gather(*asked), 5)
    assert purse.served == [str(number) for number in range(50)]


async def test_who_gives_up_blocks_the_line() -> None:
    purse = Purse(a=1)
    first = purse.ask("first", 5, "a")
    await standing(purse, 1)
    second = purse.ask("second", 1, "a")
    await standing(purse, 2)
    first.cancel()
    assert await asyncio.wait_for(second, 5) == "second"
    with pytest.raises(asyncio.CancelledError):
        await first
    assert len(purse.turnstile) == 0


async def test_a_wait_has_no_end() -> None:
    purse = Purse(a=0)
    assert await purse.ask("late", 1, "a", wait_s=0.02) == "late refused"
    assert len(purse.turnstile) == 0


async def test_the_last_try_finds_money_that_nobody_told_of() -> None:
    purse = Purse(a=0)
    asked = purse.ask("late", 1, "a", wait_s=0.05)
    await standing(purse, 1)
    purse.free["a"] = 1
    assert await asked == "late"


async def test_who_moves_to_another_line_lets_the_next_in_the_old_one_try() -> None:
    purse = Purse(a=0, b=0)
    both = purse.ask("both", 2, "a", "b")
    await standing(purse, 1)
    only = purse.ask("only", 2, "a")
    await standing(purse, 2)
    purse.give(4, "a")
    await asyncio.wait_for(only, 5)
    purse.give(2, "b")
    await asyncio.wait_for(both, 5)
    assert purse.served == ["only", "both"]


async def test_what_an_attempt_raises_leaves_somebody_in_line() -> None:
    purse = Purse(a=0)
    killed = False

    def attempt(may_wait: bool) -> str | Waits:
        if killed:
            raise ValueError("killed")
        return Waits("session:s", 1)

    asked = asyncio.create_task(purse.turnstile.pass_through(("session:s",), attempt, 30.0))
    await standing(purse, 1)
    killed = True
    purse.hear(e.StateSet(at=0, session="s", state="killed"))
    with pytest.raises(ValueError, match="killed"):
        await asked
    assert len(purse.turnstile) == 0


calls = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from([("a",), ("b",), ("a", "b")])),
    min_size=1,
    max_size=25,
)


@given(calls)
@settings(max_examples=60, deadline=None)
def test_someone_is_forgotten_in_some_line(wanted: list[tuple[int, tuple[str, ...]]]) -> None:
    """Whatever is asked for in whatever order: each is served once its money is there."""

    async def story() -> None:
        purse = Purse(a=0, b=0)
        asked = [
            purse.ask(str(number), amount, *accounts)
            for number, (amount, accounts) in enumerate(wanted)
        ]
        await asyncio.sleep(0)
        for amount, accounts in wanted:
            purse.give(amount, *accounts)
            await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.gather(*asked), 5)
        assert len(purse.served) == len(wanted)
        assert purse.free == {"a": 0, "b": 0}
        assert len(purse.turnstile) == 0

    asyncio.run(story())
