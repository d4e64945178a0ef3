"""Lines before accounts: first come, first served; nobody is passed over, and nobody forgotten."""

from __future__ import annotations

import pytest

from agentwatch.core import entries as e
from agentwatch.core.admission import Waits
from agentwatch.core.fold import Balances
from agentwatch.core.lines import Lines, Waiter

MONTH, NEXT_MONTH = "project:p@2026-01", "project:p@2026-02"
JAN, FEB = 1_768_000_000.0, 1_770_500_000.0


class Call:
    """A call that wants so much of each of its accounts."""

    def __init__(self, bank: Bank, amount: int, charged: tuple[str, ...]) -> None:
        self.bank, self.amount, self.charged = bank, amount, charged
        self.tries = 0
        self.served: bool | None = None
        self.is_hopeless = False
        self.waiter: Waiter[bool] | None = None

    def attempt(self, may_wait: bool) -> bool | Waits:
        self.tries += 1
        if self.is_hopeless:
            return False
        for account in self.charged:
            if self.bank.free[account] < self.amount:
                return Waits(account, self.amount)
        for account in self.charged:
            self.bank.free[account] -= self.amount
        return True

    def hopeless(self) -> bool:
        return self.is_hopeless

    def wake(self) -> None:
        if self not in self.bank.woken:
            self.bank.woken.append(self)


class Bank:
    """Accounts with money, and who was woken and has not looked yet."""

    def __init__(self, **free: int) -> None:
        self.free = free
        self.lines = Lines()
        self.woken: list[Call] = []

    def ask(self, amount: int, *charged: str) -> Call:
        call = Call(self, amount, charged)
        about = call.charged, call.attempt, call.hopeless
        verdict = self.lines.arrive(*about)
        if isinstance(verdict, Waits):
            call.waiter = self.lines.stand(verdict.account, *about, call.wake)
        else:
            call.served = verdict
        return call

    def give(self, amount: int, *accounts: str) -> None:
        for account in accounts:
            self.free[account] += amount
        self.hear(
            e.Adjusted(at=0, hold="h", session="s", accounts=accounts, nanos=0, evidence="bill")
        )

    def hear(self, entry: e.AnyEntry, balances: Balances | None = None) -> None:
        self.lines.hear(entry, balances or Balances())
        self.run()

    def run(self) -> None:
        while self.woken:
            call = self.woken.pop(0)
            assert call.waiter is not None
            verdict = self.lines.look(call.waiter)
            if not isinstance(verdict, Waits):
                call.served = verdict
                self.lines.leave(call.waiter)

    @property
    def remembers_nobody(self) -> bool:
        return not (self.lines._lines or self.lines._reached)


def test_a_small_call_comes_later_and_is_served_before_a_big_one() -> None:
    bank = Bank(a=4)
    big, small = bank.ask(10, "a"), bank.ask(2, "a")
    bank.give(2, "a")
    assert (big.served, small.served, small.tries) == (None, None, 0)
    bank.give(5, "a")
    assert (big.served, small.served, bank.free["a"]) == (True, None, 1)
    bank.give(1, "a")
    assert small.served


@pytest.mark.parametrize("entry", ["state", "ceiling", "everybody"])
def test_news_for_all_of_a_line_lets_a_small_call_pass_a_big_one(entry: str) -> None:
    bank = Bank(**{"session:s": 0})
    big, small = bank.ask(10, "session:s"), bank.ask(2, "session:s")
    bank.free["session:s"] = 5
    balances = Balances()
    balances.apply(e.Opened(at=0, session="s"))
    if entry == "state":
        bank.hear(e.StateSet(at=0, session="s", state="active"))
    elif entry == "ceiling":
        bank.hear(e.CeilingSet(at=0, account="session:s", ceiling=5), balances)
    else:
        bank.lines.wake_everybody()
        bank.run()
    assert (big.served, small.served) == (None, None)
    assert (big.tries, small.tries) == (2, 0)


def test_who_is_first_in_one_line_passes_somebody_older_in_another() -> None:
    """Its session has money again; its project's is wanted by a call that came before."""
    bank = Bank(a=0, b=50, p=0)
    older = bank.ask(30, "b", "p")
    younger = Call(bank, 5, ("a", "p"))
    younger.waiter = bank.lines.stand(
        "a", younger.charged, younger.attempt, younger.hopeless, younger.wake
    )
    bank.give(10, "p")
    bank.give(10, "a")
    assert (older.served, younger.served, bank.free["p"]) == (None, None, 10)
    bank.give(20, "p")
    assert (older.served, younger.served) == (True, None)
    bank.give(5, "p")
    assert younger.served
    assert bank.remembers_nobody


def test_a_call_without_hope_waits_for_those_who_came_before() -> None:
    bank = Bank(**{"session:s": 0})
    first, second = bank.ask(10, "session:s"), bank.ask(10, "session:s")
    second.is_hopeless = True
    bank.hear(e.StateSet(at=0, session="s", state="killed"))
    assert (first.served, second.served) == (None, False)


@pytest.mark.parametrize("spent", ["mine", "yours"])
def test_who_is_left_without_hope_behind_others_waits_for_its_turn(spent: str) -> None:
    """Its session's money is gone, and another's call is before it in its project's line."""
    bank = Bank(mine=5, yours=20, project=0)
    first = bank.ask(10, "yours", "project")
    behind, other = bank.ask(5, "mine", "project"), bank.ask(5, "mine", "project")
    behind.is_hopeless = True
    bank.give(-5, spent)
    is_told = spent == "mine"
    assert (first.served, behind.served, other.served) == (None, False if is_told else None, None)
    assert other.tries == 0


def test_who_waits_for_its_session_hears_nothing_of_its_team() -> None:
    """What others spend of the team may leave it no hope."""
    bank = Bank(session=0, team=10)
    waiting = bank.ask(5, "session", "team")
    bank.give(-10, "team")
    assert waiting.tries == 2
    assert waiting.waiter is not None
    bank.lines.leave(waiting.waiter)
    assert bank.remembers_nobody


def test_a_line_of_one_session_holds_up_another() -> None:
    bank = Bank(mine=0, yours=5, project=5)
    mine = bank.ask(1, "mine", "project")
    assert bank.ask(1, "yours", "project").served
    assert mine.served is None


def test_who_moves_to_another_line_leaves_its_old_one_asleep() -> None:
    bank = Bank(a=0, b=0)
    both, only = bank.ask(2, "a", "b"), bank.ask(2, "a")
    bank.give(4, "a")
    assert (both.served, only.served) == (None, True)
    bank.give(2, "b")
    assert both.served
    assert bank.remembers_nobody


def test_a_ceiling_that_holds_in_a_later_month_too_is_news_for_one_month_only() -> None:
    """The clock was put back, and calls of the later month wait."""
    balances = Balances()
    for at in (JAN, FEB):
        balances.apply(e.CeilingSet(at=at, account="project:p", ceiling=1))
    bank = Bank(**{MONTH: 0, NEXT_MONTH: 0})
    waiting = bank.ask(1, NEXT_MONTH)
    bank.free[NEXT_MONTH] = 1
    raised = e.CeilingSet(at=JAN, account="project:p", ceiling=2)
    balances.apply(raised)
    bank.hear(raised, balances)
    assert waiting.served


def test_the_end_of_a_hold_is_news_for_its_accounts() -> None:
    balances = Balances()
    balances.apply(e.Opened(at=0, session="s"))
    bank = Bank(**{"session:s": 0})
    waiting = bank.ask(1, "session:s")
    for hold, end in (("h1", e.Voided), ("h2", e.Settled)):
        balances.apply(
            e.Held(at=0, hold=hold, session="s", accounts=("session:s",), nanos=1, iteration=1)
        )
        about = {"reason": "429"} if end is e.Voided else {"nanos": 1, "basis": "usage"}
        ended = end(at=0, hold=hold, **about)
        balances.apply(ended)
        tries = waiting.tries
        bank.hear(ended, balances)
        assert waiting.tries == tries + 1
