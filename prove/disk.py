"""A disk and a loop that a world moves by hand: nothing is written, and no time passes, else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from agentwatch.errors import JournalUnavailable
from agentwatch.store.memory import MemoryJournal
from agentwatch.store.protocol import Batch, Row, Snapshot
from prove.judge import Broken

Done = Callable[[Exception | None], None]


class Disk:
    """The journal of one life of a daemon. `kept` is what is on the disk, and outlives it."""

    def __init__(self, kept: MemoryJournal) -> None:
        self.kept = kept
        self.failures = 0
        self._batch: Batch | None = None
        self._done: Done | None = None
        self._is_dead = False

    # ---- as the world moves it

    @property
    def is_busy(self) -> bool:
        """Whether a batch is being written, or was and nobody has been told."""
        return self._done is not None

    def take(self) -> None:
        """The batch is on the disk now; its writer does not know yet."""
        if self._batch is not None:
            self.kept.append(self._batch, lambda _: None)
            self._batch = None

    def tell(self) -> None:
        """The batch is on the disk, and its writer hears of it."""
        self.take()
        self._end(None)

    def fail(self) -> None:
        """The batch can't be written, and nothing of it was; if it has not been already."""
        if self._batch is None:
            self.tell()
            return
        self.failures += 1
        self._batch = None
        self._end(JournalUnavailable("the disk is full"))

    def die(self) -> None:
        """The process is gone: what it had not written is lost, and it writes no more."""
        self._is_dead, self._batch, self._done = True, None, None

    def _end(self, error: Exception | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(error)

    # ---- as the store sees it

    def load(self) -> Snapshot:
        """The balances as they were left."""
        return self.kept.load()

    def append(self, batch: Batch, done: Done) -> None:
        """Queue a batch for the world to decide about."""
        if self.is_busy:
            raise Broken("two batches are written at once, and may come in any order")
        if not self._is_dead:
            self._batch, self._done = batch, done

    def rows(self, after: int, limit: int) -> list[Row]:
        """At most `limit` rows behind `after`."""
        return self.kept.rows(after, limit)

    def about(self, subject: str) -> list[Row]:
        """All rows about one hold, session or budget."""
        return self.kept.about(subject)

    def close(self) -> None:
        """Nothing is open."""


class SteppedLoop(asyncio.BaseEventLoop):
    """A loop without files, threads and a clock of its own: where there is nothing left to do but
    to wait, the time that is waited for has come."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._selector = self

    def time(self) -> float:
        """Seconds, as the world has it."""
        return self.now_s

    def select(self, timeout: float | None) -> list[Any]:
        """Wait for `timeout` seconds, without waiting. Raises Broken where it would be for ever."""
        if timeout is None:
            raise Broken("liveness: all wait for something that will never come")
        self.now_s += timeout
        return []

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        """What would be done in a thread is done at once."""
        future = self.create_future()
        future.set_result(func(*args))
        return future

    def _process_events(self, events: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps that would have to be woken."""
