"""Large bodies: few are read at a time, and scans leave the loop room."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from contextlib import ExitStack

import pytest

from agentwatch.daemon.large_bodies import LARGE_BYTES, READ_AT_ONCE, LargeBodies, Place


async def come(place: Place, *sizes: int, limit_s: float = 30) -> None:
    """A body comes in pieces, until it is so long, and is whole."""
    async with asyncio.timeout(limit_s) as limit:
        for size in sizes:
            await place.came(size, limit)
        await place.came(place.size, limit, whole=True)


async def test_two_hundred_large_bodies_are_read_at_once() -> None:
    large, reading, most = LargeBodies(), 0, 0

    async def read() -> None:
        nonlocal reading, most
        with large.place() as place:
            await come(place, 1, LARGE_BYTES)
            reading += 1
            most = max(most, reading)
            await asyncio.sleep(0.001)
            reading -= 1

    await asyncio.gather(*(read() for _ in range(200)))
    assert most == READ_AT_ONCE


async def test_a_small_body_waits_for_large_ones() -> None:
    """Whatever was told of its length."""
    large = LargeBodies()
    with ExitStack() as stack:
        for _ in range(READ_AT_ONCE):
            await come(stack.enter_context(large.place()), LARGE_BYTES)
        async with asyncio.timeout(5):
            await come(stack.enter_context(large.place()), 1, LARGE_BYTES - 1)
            assert await large.scanned(10, threading.get_ident) == threading.get_ident()


async def test_large_bodies_that_have_stopped_coming_keep_others_out() -> None:
    large = LargeBodies(turn_s=0.01)
    with ExitStack() as stack:
        async with asyncio.timeout(60) as limit:
            stopped = [stack.enter_context(large.place()) for _ in range(3 * READ_AT_ONCE)]
            for place in stopped:
                await place.came(LARGE_BYTES, limit)
            await come(stack.enter_context(large.place()), LARGE_BYTES)
            # and they go on, one after the other
            for place in stopped:
                await place.came(LARGE_BYTES + 1, limit)
                assert large.has(place)


async def test_a_body_that_is_whole_loses_its_place_before_it_is_scanned() -> None:
    large = LargeBodies(turn_s=0.001)
    with ExitStack() as stack:
        whole = [stack.enter_context(large.place()) for _ in range(READ_AT_ONCE)]
        for place in whole:
            await come(place, LARGE_BYTES)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await large.enter(stack.enter_context(large.place()))
        assert all(large.has(place) for place in whole)


async def test_bodies_that_have_stopped_coming_fill_the_memory() -> None:
    """As many are refused as there is no room for."""
    large = LargeBodies(turn_s=0.01, parked_bytes=3 * LARGE_BYTES)

    async def stop() -> None:
        with large.place() as place:
            async with asyncio.timeout(60) as limit:
                await place.came(LARGE_BYTES, limit)
                await asyncio.Event().wait()

    bodies = [asyncio.ensure_future(stop()) for _ in range(3 * READ_AT_ONCE)]
    refused = 3 * READ_AT_ONCE - READ_AT_ONCE - 3
    for ended in itertools.islice(asyncio.as_completed(bodies, timeout=30), refused):
        with pytest.raises(TimeoutError):
            await ended
    await asyncio.sleep(0.05)
    assert sum(body.done() for body in bodies) == refused
    for body in bodies:
        body.cancel()
    await asyncio.wait(bodies)


async def test_the_wait_for_a_place_is_taken_from_a_sender_s_time() -> None:
    large = LargeBodies()
    with ExitStack() as stack:
        for _ in range(READ_AT_ONCE - 1):
            await come(stack.enter_context(large.place()), LARGE_BYTES)
        last = large.place()
        await come(last.__enter__(), LARGE_BYTES)
        patient = asyncio.ensure_future(
            come(stack.enter_context(large.place()), LARGE_BYTES, limit_s=0.05)
        )
        await asyncio.sleep(0.1)
        last.__exit__(None, None, None)
        await patient


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
    # between two scans as long a pause
    assert time.monotonic() - began >= 5 * 0.02 + 4 * 0.02


async def test_a_scan_begins_while_that_of_a_call_that_was_ended_goes_on() -> None:
    """A thread can't be cancelled."""
    large = LargeBodies()
    begun, may_end = asyncio.Event(), threading.Event()
    loop, order = asyncio.get_running_loop(), list[str]()

    def scan() -> None:
        loop.call_soon_threadsafe(begun.set)
        may_end.wait(30)
        order.append("first")

    ended = asyncio.ensure_future(large.scanned(LARGE_BYTES, scan))
    await begun.wait()
    ended.cancel()
    following = asyncio.ensure_future(large.scanned(LARGE_BYTES, lambda: order.append("next")))
    with pytest.raises(asyncio.CancelledError):
        await ended
    await asyncio.sleep(0.02)
    assert order == []
    may_end.set()
    await following
    assert order == ["first", "next"]


async def test_what_a_scan_raises_is_lost_or_keeps_the_place() -> None:
    large = LargeBodies()

    def broken() -> None:
        raise ValueError("no JSON")

    for _ in range(2):
        with pytest.raises(ValueError, match="no JSON"):
            await large.scanned(LARGE_BYTES, broken)
