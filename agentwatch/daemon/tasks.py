"""The daemon's own tasks: named, kept by a strong reference, and their failures told.

The only place that makes tasks, so that none is lost to the garbage collector or ends in silence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger(__name__)


class Tasks:
    """All tasks of one daemon."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run `work` on its own; what it raises is logged, unless somebody awaits it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def wait(self, grace_s: float) -> None:
        """Let all tasks end, for at most `grace_s` seconds."""
        if self._running:
            await asyncio.wait(self._running, timeout=grace_s)

    async def end(self, grace_s: float) -> None:
        """Let all tasks end for `grace_s` seconds, then cancel what is left, and wait for it."""
        await self.wait(grace_s)
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=1.0)

    def __len__(self) -> int:
        return len(self._running)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            logger.error("task %s failed", task.get_name(), exc_info=error)
