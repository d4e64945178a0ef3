"""The daemon's tasks: none is lost, none fails in silence, all end."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from agentwatch.daemon.tasks import Tasks


async def test_a_task_is_lost_to_the_garbage_collector() -> None:
    tasks, ended = Tasks(), asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.01)
        ended.set()

    tasks.spawn(work(), "kept")
    gc.collect()
    await asyncio.wait_for(ended.wait(), 5)
    await asyncio.sleep(0)
    assert len(tasks) == 0


async def test_a_task_fails_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise ValueError("a defect")

    with caplog.at_level(logging.ERROR):
        tasks = Tasks()
        tasks.spawn(fails(), "the chore")
        await tasks.end(5.0)
    assert "the chore" in caplog.text and "a defect" in caplog.text


async def test_a_task_without_end_holds_up_the_end() -> None:
    tasks = Tasks()
    endless = tasks.spawn(asyncio.Event().wait(), "endless")
    await tasks.wait(0.01)
    assert not endless.done()
    await asyncio.wait_for(tasks.end(0.01), 5)
    assert endless.cancelled()
    await tasks.end(5.0)  # with none left it returns at once
