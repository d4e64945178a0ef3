"""The way to the telemetry process: started, spoken to in frames, started again where it died.

Whoever sends waits for the pipe alone; nothing here is on a call's way. What had been sent to a
process that died is lost, and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from agentwatch.daemon.tasks import Tasks
from agentwatch.daemon.telemetry_frames import (
    LENGTH_BYTES,
    Ask,
    Batch,
    Setup,
    Told,
    Written,
    for_daemon,
    frame,
)
from agentwatch.errors import AgentWatchError

logger = logging.getLogger(__name__)

COMMAND = (sys.executable, "-P", "-m", "agentwatch.daemon.telemetry_worker")
#: variables that the process is given: what Python needs to find us
_KEPT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
BACK_OFF_S = (0.0, 0.5, 2.0, 10.0)
#: a process that lived so long did not die of its start
OLD_S = 60.0
END_S = 10.0


class Gone(AgentWatchError):
    """The process died, or does not answer."""


class Link:
    """One process. `written` is told of each batch, and of those that were lost."""

    def __init__(self, setup: Setup, tasks: Tasks, written: Callable[[Written], None]) -> None:
        self._setup = setup
        self._tasks = tasks
        self._written = written
        self._process: asyncio.subprocess.Process | None = None
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._starting = asyncio.Lock()
        #: records that were sent, and not heard of yet
        self.out = 0
        self._died_young = 0
        self._started_at = 0.0
        self._reading: asyncio.Task[Any] | None = None

    async def send(self, batch: Batch) -> None:
        """Hand a batch over; waits while the process is behind."""
        self.out += len(batch.items)
        await self._send(frame(batch))

    def question(self, verb: str, arguments: dict[str, Any]) -> tuple[Ask, asyncio.Future[Any]]:
        """A question that can be sent, and what its answer will be."""
        ask = Ask(next(self._numbers), verb, arguments)
        answer = asyncio.get_running_loop().create_future()
        self._asked[ask.number] = answer
        answer.add_done_callback(lambda _: self._asked.pop(ask.number, None))
        return ask, answer

    async def put(self, ask: Ask) -> None:
        """Send a question."""
        await self._send(frame(ask))

    async def close(self) -> None:
        """Close the pipe, and wait for the process to write what it has."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), END_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._reading is not None:
            await asyncio.wait([self._reading], timeout=1.0)

    async def _send(self, data: bytes) -> None:
        process = await self._alive()
        assert process.stdin is not None
        try:
            process.stdin.write(data)
            await process.stdin.drain()
        except (ConnectionError, RuntimeError):
            # who reads its answers hears of it, too, and counts what was lost
            await process.wait()

    async def _alive(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                await asyncio.sleep(BACK_OFF_S[min(self._died_young, len(BACK_OFF_S) - 1)])
                self._process = await self._start()
            return self._process

    async def _start(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={name: os.environ[name] for name in _KEPT if name in os.environ},
        )
        assert process.stdin is not None
        process.stdin.write(frame(self._setup))
        self._started_at = time.monotonic()
        self._reading = self._tasks.spawn(self._read(process), "telemetry's answers")
        return process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES), "big")
                self._hear(for_daemon(await process.stdout.readexactly(size)))
        self._lost(await process.wait())

    def _hear(self, message: Written | Told) -> None:
        if isinstance(message, Written):
            self.out -= message.count
            self._written(message)
            return
        answer = self._asked.get(message.number)
        if answer is None or answer.done():
            return
        if message.failed is None:
            answer.set_result(message.answer)
        else:
            answer.set_exception(AgentWatchError(message.failed))

    def _lost(self, code: int) -> None:
        """It is at its end, perhaps with something in its hands."""
        out, self.out = self.out, 0
        young = time.monotonic() - self._started_at < OLD_S
        self._died_young = self._died_young + 1 if code and young else 0
        if code or out:
            logger.error("the telemetry process ended (%d): %d records are lost", code, out)
        if out:
            self._written(Written(out, f"the telemetry process ended ({code})"))
        for answer in list(self._asked.values()):
            if not answer.done():
                answer.set_exception(Gone("the telemetry process ended: ask again"))
                answer.exception()
