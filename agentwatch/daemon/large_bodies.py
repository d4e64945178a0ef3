"""Large bodies take turns, so that those who send small ones hardly notice.

A body of 10 MB takes a few milliseconds to scan, in steps that nothing can interrupt. Two hundred
at once would be a second in which nobody else is served, and gigabytes of memory. So few are read
at a time, one is scanned at a time, in a thread, and after each the others have their turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")

#: from here on a body is large
LARGE_BYTES = 256 << 10
#: large bodies that are read at a time; the others wait in their sockets
READ_AT_ONCE = 8


class LargeBodies:
    """The places where large bodies are read and scanned."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(READ_AT_ONCE)
        self._scanning = asyncio.Lock()

    @asynccontextmanager
    async def place(self, length: int | None) -> AsyncIterator[None]:
        """Wait until a body of this length (None: not told, as it comes in chunks) may be read."""
        if length is not None and length < LARGE_BYTES:
            yield
            return
        async with self._places:
            yield

    async def scanned(self, size: int, scan: Callable[[], T]) -> T:
        """What `scan` makes of a body of this size; what it raises is raised."""
        if size < LARGE_BYTES:
            return scan()
        async with self._scanning:
            began = time.monotonic()
            try:
                return await asyncio.to_thread(scan)
            finally:
                await asyncio.sleep(time.monotonic() - began)
