"""The ledger's invariants after every step of any story, crashes, restarts and a second process
included.

I1 no overspend, I2 balances are a fold of the journal, I3 one terminal entry a call, I6 what is
settled never falls, I7 killed means no new hold (ledger.md).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from second_process import SecondProcess

from agentwatch.core import entries as e
from agentwatch.core.admission import Admitted, Policy
from agentwatch.core.estimate import Quote
from agentwatch.errors import BarredError, LedgerError
from agentwatch.store.memory import MemoryJournal
from agentwatch.store.protocol import Journal, all_rows
from agentwatch.store.sqlite import SqliteJournal
from agentwatch.store.store import Store

T = TypeVar("T")

SESSIONS = ("a", "b", "loose")
HOLDS = [f"h{number}" for number in range(8)]
PROJECT = "project:p@2026-01"
POLICY = Policy(useful_output_tokens=40, min_output_tokens=5)
NANO_A_TOKEN = 1_000_000
NOW = 1_768_000_000.0

sessions = st.sampled_from(SESSIONS)
holds = st.sampled_from(HOLDS)
nanos = st.integers(0, 150)
ceilings = st.integers(0, 400)

#: a call that another process makes: session, nanos held, nanos paid (None: it stays out)
Life = tuple[str, int, int | None]
lives = st.lists(st.tuples(sessions, nanos, st.none() | nanos), max_size=4)


class Model:
    """What the ledger must come to: sums over calls, and nothing else."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[tuple[str, ...], int]] = {}
        self.ended: dict[str, tuple[tuple[str, ...], int, bool]] = {}

    def balance(self, account: str) -> tuple[int, int]:
        settled = sum(paid for accounts, paid, _ in self.ended.values() if account in accounts)
        held = sum(money for accounts, money in self.held.values() if account in accounts)
        return settled, held

    def end(self, hold: str, paid: int, void: bool = False) -> None:
        if hold in self.held:
            accounts, _ = self.held.pop(hold)
            self.ended[hold] = (accounts, paid, void)


class Stories(RuleBasedStateMachine):
    """Sessions a and b share a project with a ceiling; `loose` has no ceiling of its own."""

    kind: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="stories"))
        self.homes = 0
        self.path = self.folder / "0" / "ledger.db"
        self.path.parent.mkdir()
        self.memory = MemoryJournal()
        self.journals: list[Journal] = []
        self.model = Model()
        self.most: dict[str, int] = {}
        self.settled: Counter[str] = Counter()
        #: the hold that a process was writing when it was killed: it is there, or not
        self.unheard = ""
        self.lives = 0
        self.do(self.open())

    def do(self, work: Awaitable[T]) -> T:
        async def wrapped() -> T:
            return await work

        return self.loop.run_until_complete(wrapped())

    async def open(self) -> None:
        journal: Journal = (
            self.memory if self.kind == "memory" else SqliteJournal(self.path, "process")
        )
        self.store = Store(journal, clock=lambda: NOW)
        self.ended({outcome.hold: outcome.nanos for outcome in await self.store.open()})
        self.journals.append(journal)

    def ended(self, by_opening: dict[str, int]) -> None:
        """A start has settled in full what was out, and nothing else."""
        if self.unheard in by_opening:
            self.model.held[self.unheard] = (("session:loose",), 1)
        assert by_opening == {hold: nanos for hold, (_, nanos) in self.model.held.items()}
        for hold, nanos in by_opening.items():
            self.model.end(hold, nanos)
        self.unheard = ""

    def teardown(self) -> None:
        for journal in self.journals:
            journal.close()
        self.loop.close()
        shutil.rmtree(self.folder)

    # ---- steps

    @initialize()
    def sessions_are_opened(self) -> None:
        for session, ceiling, project in (("a", 300, "p"), ("b", 300, "p"), ("loose", None, None)):
            opened = self.store.open_session(session, ceiling=ceiling, project=project)
            self.do(opened[1])
        self.do(self.store.set_ceiling("project:p", 400))

    @rule(session=sessions, hold=holds, asked=nanos, fixed=nanos)
    def hold(self, session: str, hold: str, asked: int, fixed: int) -> None:
        quote = Quote(fixed=fixed * NANO_A_TOKEN, per_token=NANO_A_TOKEN, asked=asked, most=asked)
        state = self.store.ledger.session(session).state
        if hold in self.model.ended and hold not in self.store.ledger.ended:
            return  # ids are random: none from before the last start comes again
        try:
            verdict, written = self.store.hold(session, quote, POLICY, hold)
        except BarredError:
            assert state in ("killed", "paused", "closed")
            return
        except LedgerError:
            assert hold in self.model.ended
            return
        self.do(written)
        assert hold in self.model.held or state in ("active", "exhausted"), "I7"
        if isinstance(verdict, Admitted) and hold not in self.model.held:
            assert verdict.nanos <= fixed + asked
            open_hold = self.store.ledger.holds[hold]
            self.model.held[hold] = (open_hold.accounts, verdict.nanos)

    @rule(hold=holds, more=nanos)
    def extend(self, hold: str, more: int) -> None:
        granted, written = self.store.extend(hold, more)
        self.do(written)
        if granted:
            accounts, money = self.model.held[hold]
            self.model.held[hold] = (accounts, money + more)

    @rule(hold=holds, paid=nanos, again=st.booleans())
    def settle(self, hold: str, paid: int, again: bool) -> None:
        if hold not in self.model.held and hold not in self.model.ended:
            return
        for amount in [paid, paid + 1][: 1 + again]:
            outcome, written = self.store.settle(hold, amount, "usage")
            self.do(written)
            self.model.end(hold, amount)
            assert outcome.nanos == self.model.ended[hold][1]

    @rule(hold=holds)
    def void(self, hold: str) -> None:
        if hold in self.model.held or hold in self.model.ended:
            outcome, written = self.store.void(hold, "429")
            self.do(written)
            self.model.end(hold, 0, void=True)
            assert outcome.nanos == self.model.ended[hold][1]

    @rule(hold=holds, total=nanos)
    def adjust(self, hold: str, total: int) -> None:
        if hold not in self.model.ended:
            return
        self.do(self.store.adjust(hold, total, "bill")[1])
        accounts, paid, void = self.model.ended[hold]
        self.model.ended[hold] = (accounts, paid if void else max(paid, total), void)

    @rule(account=st.sampled_from(["session:a", "session:b", "project:p"]), ceiling=ceilings)
    def ceiling(self, account: str, ceiling: int) -> None:
        self.do(self.store.set_ceiling(account, ceiling))

    @rule(session=sessions, ceiling=ceilings)
    def open_again(self, session: str, ceiling: int) -> None:
        before = self.store.ledger.session(session).ceiling
        self.do(self.store.open_session(session, ceiling=ceiling)[1])
        after = self.store.ledger.session(session).ceiling
        assert after == (ceiling if before is None else min(before, ceiling))

    @rule(session=sessions, verb=st.sampled_from(["pause", "resume", "resume", "close"]))
    def tell(self, session: str, verb: str) -> None:
        try:
            self.do(self.store.set_state(session, verb))
        except LedgerError:
            assert self.store.ledger.session(session).state in ("killed", "closed")

    @rule(session=st.sampled_from(["b", "loose"]))
    def kill(self, session: str) -> None:
        self.do(self.store.set_state(session, "kill"))

    @rule()
    def reopen(self) -> None:
        self.do(self.store.close())
        self.do(self.open())

    @rule()
    def crash(self) -> None:
        self.homes += 1
        left, self.path = self.path.parent, self.folder / str(self.homes) / "ledger.db"
        shutil.copytree(left, self.path.parent)
        self.do(self.open())

    # ---- what is true after each

    @invariant()
    def no_overspend(self) -> None:
        for account in self.store.ledger.accounts.values():
            if account.ceiling is not None:
                spent = account.settled + account.held - account.overdraft
                before = self.most.get(account.id, spent)
                self.most[account.id] = max(account.ceiling, min(before, spent))
                assert spent <= self.most[account.id], "I1"

    @invariant()
    def balances_are_what_the_calls_come_to(self) -> None:
        for account in self.store.ledger.accounts.values():
            assert (account.settled, account.held) == self.model.balance(account.id)
        self.do(self.store.verify())

    @invariant()
    def one_end_a_call(self) -> None:
        rows = all_rows(self.store._journal)
        ends = Counter(row.subject for row in rows if row.kind in ("settled", "voided"))
        assert ends == Counter(self.model.ended.keys()), "I3"

    @invariant()
    def what_is_settled_never_falls(self) -> None:
        for account in self.store.ledger.accounts.values():
            assert account.settled >= self.settled[account.id], "I6"
            self.settled[account.id] = account.settled

    @invariant()
    def a_killed_session_stays_killed(self) -> None:
        rows = all_rows(self.store._journal)
        for row in rows:
            entry: Any = e.decode(row.data)
            if isinstance(entry, e.StateSet) and entry.state == "killed":
                assert self.store.ledger.session(entry.session).state == "killed", "I7"


class InMemory(Stories):
    kind = "memory"


class InAFile(Stories):
    kind = "sqlite"
    second: ClassVar[SecondProcess]

    @rule(calls=lives, is_killed=st.booleans())
    def a_second_process_comes_too_early(self, calls: list[Life], is_killed: bool) -> None:
        before = self.second.look(self.path.parent)
        told = self.second.live(self.path, NOW, self.named(calls), "killed" * is_killed)
        assert "can't be opened" in told["refused"]
        assert self.second.look(self.path.parent) == before

    @rule(calls=lives, is_killed=st.booleans())
    def a_second_process_comes_and_goes(self, calls: list[Life], is_killed: bool) -> None:
        self.do(self.store.close())
        named = self.named(calls)
        unheard = f"unheard{self.lives}" * is_killed
        told = self.second.live(self.path, NOW, named, unheard)
        self.ended(told["ended"])
        for session, hold, _, _ in named:
            if hold in told["held"]:
                accounts = (f"session:{session}", *[PROJECT] * (session != "loose"))
                self.model.held[hold] = (accounts, told["held"][hold])
            if hold in told["paid"]:
                self.model.end(hold, told["paid"][hold])
        self.unheard = unheard
        self.do(self.open())

    def named(self, calls: list[Life]) -> list[tuple[str, str, int, int | None]]:
        """These calls, with holds that no other life has."""
        self.lives += 1
        return [
            (session, f"life{self.lives}-{number}", nanos, paid)
            for number, (session, nanos, paid) in enumerate(calls)
        ]


@pytest.fixture(scope="module", autouse=True)
def second_process() -> Iterator[None]:
    """One for all stories: a life in it is cheap, and its start is not."""
    InAFile.second = SecondProcess()
    yield
    InAFile.second.end()


#: a longer search: AGENTWATCH_STORIES=1000
STORIES = int(os.environ.get("AGENTWATCH_STORIES", "60"))
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]

TestInMemory = InMemory.TestCase
TestInMemory.settings = settings(
    max_examples=STORIES, stateful_step_count=40, deadline=None, suppress_health_check=QUIET
)
TestInAFile = InAFile.TestCase
TestInAFile.settings = settings(
    max_examples=STORIES // 2, stateful_step_count=30, deadline=None, suppress_health_check=QUIET
)
