"""A kit for each journal: makes it, crashes it, and opens what a crash left behind."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentwatch.core.accounts import Outcome
from agentwatch.core.admission import Admitted, Policy, Refused, Waits
from agentwatch.core.estimate import Quote
from agentwatch.core.money import TOKENS_PER_RATE
from agentwatch.store.memory import MemoryJournal
from agentwatch.store.protocol import Journal
from agentwatch.store.sqlite import SqliteJournal
from agentwatch.store.store import Store, Written

POLICY = Policy()


def cost(nanos: int) -> Quote:
    """A request that costs exactly so much, whatever limit is put in."""
    return Quote(fixed=nanos * TOKENS_PER_RATE, per_token=0, asked=0, most=0)


class Kit:
    """One journal's data, and the stores that were opened on it."""

    def __init__(self, folder: Path, kind: str, durability: str = "process") -> None:
        self.kind = kind
        self.durability = durability
        self.boot = "the first"
        self.crashed_with: list[Outcome] = []
        self._folders = (folder / f"home{number}" for number in itertools.count())
        self._opened: list[Journal] = []
        self._memory = MemoryJournal()
        self.path = self._new_path()

    def _new_path(self) -> Path:
        folder = next(self._folders)
        folder.mkdir()
        return folder / "ledger.db"

    def journal(self) -> Journal:
        if self.kind == "memory":
            return self._memory
        return SqliteJournal(self.path, self.durability, self.boot)

    async def open(self) -> Store:
        journal = self.journal()
        store = Store(journal)
        self.crashed_with = await store.open()
        self._opened.append(journal)
        return store

    async def crash(self) -> Store:
        """What is on the disk now is all that the next store finds."""
        left = self.path.parent
        self.path = self._new_path()
        shutil.copytree(left, self.path.parent, dirs_exist_ok=True)
        return await self.open()

    async def reopen(self, store: Store) -> Store:
        await store.close()
        return await self.open()

    def end(self) -> None:
        for journal in self._opened:
            journal.close()

    # ---- what a test says

    @staticmethod
    def hold(
        store: Store, hold_id: str, nanos: int, session: str = "s"
    ) -> tuple[Admitted | Waits | Refused, Written]:
        return store.hold(session, cost(nanos), POLICY, hold_id)


@pytest.fixture(params=["memory", "sqlite"])
async def kit(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kit]:
    """The conformance suite runs with every journal."""
    made = Kit(tmp_path, request.param)
    yield made
    await asyncio.to_thread(made.end)


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[Kit]:
    """The SQLite journal, as it is by default: for what only a file can suffer."""
    made = Kit(tmp_path, "sqlite", "power")
    yield made
    await asyncio.to_thread(made.end)


@pytest.fixture
def make_kit() -> type[Kit]:
    """For tests that make and end their own."""
    return Kit
