"""100,000 random operations on the ledger's real file, with crashes and reopenings among them.

The judge is sums of its own: what each call holds and was charged, added up by account. `SEED=5`
plays other operations, `OPERATIONS=1000000` more of them.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from agentwatch.core.admission import Admitted, Policy, Refused, Waits
from agentwatch.core.estimate import Quote
from agentwatch.core.money import TOKENS_PER_RATE
from agentwatch.errors import BarredError
from agentwatch.store.sqlite import SqliteJournal
from agentwatch.store.store import Store

OPERATIONS = int(os.environ.get("OPERATIONS", "100000"))
SEED = int(os.environ.get("SEED", "4"))
#: as many operations go by between two looks at what is durable, or two ends of the process
AT_ONCE, LIFE = 64, 4_000
LIVE = 6
NOW = 1_768_000_000.0
PROJECT, MONTH = "project:p", "project:p@2026-01"
POLICY = Policy(clamp=False)
#: operations, and how often each comes
WEIGHTS = {
    "hold": 40,
    "settle": 22,
    "extend": 12,
    "void": 8,
    "again": 8,
    "ceiling": 6,
    "hold_barred": 2,
    "kill": 1,
    "close": 1,
}


class Sums:
    """What calls hold and were charged."""

    def __init__(self) -> None:
        self.held: Counter[str] = Counter()
        self.settled: Counter[str] = Counter()
        self.out: dict[str, tuple[tuple[str, ...], int]] = {}

    def hold(self, hold: str, accounts: tuple[str, ...], nanos: int) -> None:
        _, before = self.out.get(hold, ((), 0))
        self.out[hold] = accounts, before + nanos
        for account in accounts:
            self.held[account] += nanos

    def end(self, hold: str, paid: int) -> tuple[str, ...]:
        accounts, nanos = self.out.pop(hold)
        for account in accounts:
            self.held[account] -= nanos
            self.settled[account] += paid
        return accounts


class Play:
    """Operations on a store, each judged at once."""

    def __init__(self, store: Store, dice: random.Random) -> None:
        self.store = store
        self.dice = dice
        self.sums = Sums()
        self.sessions: list[str] = []
        self.barred: list[str] = []
        self.killed: set[str] = set()
        self.ends: dict[str, int] = {}
        self.seen: Counter[str] = Counter()
        self.unwritten: list[Awaitable[None]] = []

    def operate(self, number: int) -> None:
        """One operation."""
        while len(self.sessions) < LIVE:
            self._open(f"s{number}-{len(self.sessions)}")
        operation = self.dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        self.seen[operation] += 1
        getattr(self, f"_{operation}")(number)

    def _open(self, name: str) -> None:
        _, written = self.store.open_session(
            name, ceiling=self.dice.randint(0, 4_000), project=self.dice.choice(["p", None])
        )
        self.unwritten.append(written)
        self.sessions.append(name)

    def _hold(self, number: int) -> None:
        name, asked = self.dice.choice(self.sessions), self.dice.randint(0, 900)
        quote = Quote(fixed=asked * TOKENS_PER_RATE, per_token=0, asked=0, most=0)
        verdict, written = self.store.hold(name, quote, POLICY, f"h{number}")
        self.unwritten.append(written)
        bounds = self._bounds(name)
        if isinstance(verdict, Admitted):
            held = self.store.ledger.holds[f"h{number}"]
            assert verdict.nanos == asked
            self.sums.hold(held.id, held.accounts, asked)
            self._check(held.accounts)
            assert all(settled + out + asked <= top for settled, out, top in bounds), "I1"
        elif isinstance(verdict, Waits):
            assert any(settled + out + asked > top for settled, out, top in bounds)
            assert all(settled + asked <= top for settled, _, top in bounds)
        else:
            assert isinstance(verdict, Refused)
            assert any(settled + asked > top for settled, _, top in bounds), "there was money"
        self.seen[type(verdict).__name__] += 1

    def _hold_barred(self, number: int) -> None:
        """I7: who was killed or closed gets nothing."""
        if not self.barred:
            return
        quote = Quote(fixed=0, per_token=0, asked=0, most=0)
        try:
            self.store.hold(self.dice.choice(self.barred), quote, POLICY, f"h{number}")
        except BarredError:
            return
        raise AssertionError("I7")

    def _extend(self, _: int) -> None:
        if not self.sums.out:
            return
        hold, more = self._any_out(), self.dice.randint(0, 300)
        accounts, _ = self.sums.out[hold]
        session = self.store.ledger.holds[hold].session
        bounds = self._bounds(session)
        granted, written = self.store.extend(hold, more)
        self.unwritten.append(written)
        fits = all(settled + out + more <= top for settled, out, top in bounds)
        if granted:
            self.sums.hold(hold, accounts, more)
            assert fits or not more, "I1"
        else:
            assert not fits or session in self.killed, "there was money"
        self._check(accounts)

    def _settle(self, _: int) -> None:
        if self.sums.out:
            self._end(self._any_out(), self.dice.randint(0, 400))

    def _void(self, _: int) -> None:
        if self.sums.out:
            self._end(self._any_out(), None)

    def _again(self, _: int) -> None:
        """I3: a repeated end answers as the first did."""
        if self.ends:
            hold = self.dice.choice(tuple(self.ends))
            outcome, written = self.store.settle(hold, 77, "usage")
            self.unwritten.append(written)
            assert outcome.nanos == self.ends[hold], "I3"

    def _end(self, hold: str, paid: int | None) -> None:
        store = self.store
        done = store.void(hold, "429") if paid is None else store.settle(hold, paid, "usage")
        self.unwritten.append(done[1])
        self._check(self.sums.end(hold, paid or 0))
        if len(self.ends) > 500:
            self.ends.pop(next(iter(self.ends)))
        self.ends[hold] = paid or 0

    def _ceiling(self, _: int) -> None:
        account = self.dice.choice([PROJECT, *(f"session:{name}" for name in self.sessions)])
        spent = self.sums.settled[MONTH if account == PROJECT else account]
        top = spent + self.dice.randint(-500, 4_000)
        self.unwritten.append(self.store.set_ceiling(account, max(0, top)))

    def _kill(self, _: int) -> None:
        self.killed.add(self._bar("kill"))

    def _close(self, _: int) -> None:
        self._bar("close")

    def _bar(self, verb: str) -> str:
        name = self.sessions.pop(self.dice.randrange(len(self.sessions)))
        self.unwritten.append(self.store.set_state(name, verb))
        self.barred.append(name)
        return name

    # ---- judging

    def _any_out(self) -> str:
        return self.dice.choice(tuple(self.sums.out))

    def _bounds(self, session: str) -> list[tuple[int, int, int]]:
        """Settled and held by our sums, and the ceiling, of all accounts that bind a session."""
        about = self.store.ledger.session(session)
        names = [about.id, MONTH] if about.project else [about.id]
        tops = [(name, self.store.ledger.account(name).ceiling) for name in names]
        return [
            (self.sums.settled[name], self.sums.held[name], top)
            for name, top in tops
            if top is not None
        ]

    def _check(self, accounts: Any) -> None:
        for name in accounts:
            account = self.store.ledger.accounts[name]
            ours = self.sums.settled[name], self.sums.held[name]
            assert (account.settled, account.held) == ours, f"I2: {name}"

    async def all_written(self) -> None:
        """Wait until all that was done is durable."""
        for written in self.unwritten:
            await written
        self.unwritten.clear()

    def reborn(self, store: Store, ended: list[Any]) -> None:
        """Another process has opened the file: what was out is charged in full, all else stands."""
        assert {outcome.hold: outcome.nanos for outcome in ended} == {
            hold: nanos for hold, (_, nanos) in self.sums.out.items()
        }
        self.store = store
        for outcome in ended:
            self.sums.end(outcome.hold, outcome.nanos)
        self._check(self.sums.settled)
        self.seen["opened"] += 1


async def test_random_operations_on_the_real_file(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    homes = iter(range(OPERATIONS))
    path = tmp_path / str(next(homes)) / "ledger.db"
    path.parent.mkdir()
    journals = [SqliteJournal(path, "process")]
    store = Store(journals[-1], clock=lambda: NOW)
    await store.open()
    play = Play(store, dice)
    for number in range(OPERATIONS):
        play.operate(number)
        if number % AT_ONCE == 0:
            await play.all_written()
        if number % LIFE == LIFE - 1:
            await play.all_written()
            if dice.random() < 0.5:
                await play.store.close()
            else:  # what is on the disk is all that the next process finds
                left, path = path.parent, tmp_path / str(next(homes)) / "ledger.db"
                shutil.copytree(left, path.parent)
                await asyncio.to_thread(journals[-1].close)
                shutil.rmtree(left)
            journals.append(SqliteJournal(path, "process"))
            store = Store(journals[-1], clock=lambda: NOW)
            play.reborn(store, await store.open())
    await play.all_written()
    rows = await play.store.verify()
    await play.store.close()
    assert rows > OPERATIONS // 2
    print(f"\n{OPERATIONS} operations, {rows} entries: {dict(play.seen)}")
