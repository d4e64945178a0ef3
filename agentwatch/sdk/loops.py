"""The event loop that async calls run on: asyncio's, or trio's, for who has chosen that one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")


def running_loop() -> Any:
    """What stands for the loop that runs here, as long as it runs."""
    return _trio_token() or asyncio.get_running_loop()


async def elsewhere(do: Callable[[], T], *, always: bool = False) -> T:
    """`do` in a thread, as the daemon or a disk is waited for. `always`: also for a task that is
    cancelled, as something has to be written down."""
    if _trio_token() is None:
        if not always:
            return await asyncio.to_thread(do)
        # a cancellation takes back what waits for a free thread, were it not for the shield
        work = asyncio.get_running_loop().run_in_executor(None, copy_context().run, do)
        work.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(work)
    trio = sys.modules["trio"]
    with trio.CancelScope(shield=always):
        made: T = await trio.to_thread.run_sync(do, abandon_on_cancel=not always)
    return made


def _trio_token() -> object | None:
    """The token of trio's run that this code is in; None: it is in none."""
    trio = sys.modules.get("trio")
    if trio is None:
        return None
    try:
        token: object = trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None
    return token
