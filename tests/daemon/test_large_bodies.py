"""Large bodies: few are read at a time, and scans leave the loop room."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from agentwatch.daemon.large_bodies import LARGE_BYTES, READ_AT_ONCE, LargeBodies


async def test_two_hundred_large_bodies_are_read_at_once() -> None:
    large, reading, most = LargeBodies(), 0, 0

    async def read(length: int | None) -> None:
        nonlocal reading, most
        async with large.place(length):
            reading += 1
            most = max(most, reading)
            await asyncio.sleep(0.001)
            reading -= 1

    await asyncio.gather(*(read(length) for length in [LARGE_BYTES, None] * 100))
    assert most == READ_AT_ONCE


async def test_a_small_body_waits_for_large_ones() -> None:
    large = LargeBodies()
    for _ in range(READ_AT_ONCE):
        await large.place(LARGE_BYTES).__aenter__()
    async with asyncio.timeout(5):
        async with large.place(LARGE_BYTES - 1):
            pass
        assert await large.scanned(10, threading.get_ident) == threading.get_ident()


async def test_scans_of_large_bodies_leave_others_no_time() -> None:
    large, scanning, most = LargeBodies(), 0, 0
    lock = threading.Lock()

    def scan() -> int:
        nonlocal scanning, most
        with lock:
            scanning += 1
            most = max(most, scanning)
        time.sleep(0.02)
        with lock:
            scanning -= 1
        return threading.get_ident()

    began = time.monotonic()
    threads = await asyncio.gather(*(large.scanned(LARGE_BYTES, scan) for _ in range(5)))
    assert threading.get_ident() not in threads
    assert most == 1
    # after each scan as long a pause
    assert time.monotonic() - began >= 5 * 0.04


async def test_what_a_scan_raises_is_lost_or_keeps_the_place() -> None:
    large = LargeBodies()

    def broken() -> None:
        raise ValueError("no JSON")

    for _ in range(2):
        with pytest.raises(ValueError, match="no JSON"):
            await large.scanned(LARGE_BYTES, broken)
