"""Async clients and holds under trio: as under asyncio, which all other tests run on."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trio
from harness import Daemon, nanos, wait_until
from sdk_calls import ROWS, Row, closing

import agentwatch
from agentwatch import AgentSessionKilled
from agentwatch.sdk.loops import elsewhere
from agentwatch.standin.process import StandinProcess

TRIO = [row for row in ROWS if row.is_async]


async def _call(row: Row, **arguments: Any) -> str:
    client = row.client(**arguments)
    await closing(client, row.make(client, "hello"))
    return str(client.agentwatch_session.id)


@pytest.mark.parametrize("row", TRIO, ids=[row.id for row in TRIO])
def test_a_call_under_trio_is_settled_at_another_amount(
    beside: Daemon, standin: StandinProcess, row: Row
) -> None:
    session_id = trio.run(lambda: _call(row, agentwatch_session_budget_usd=1.0))
    wait_until(lambda: not beside.get(f"/v1/sessions/{session_id}")["held_usd"])
    shown = beside.get(f"/v1/sessions/{session_id}")
    assert nanos(shown["settled_usd"]) == standin.bill()["billed_nanos"] > 0


def test_a_stream_under_trio_outlives_its_session(beside: Daemon, standin: StandinProcess) -> None:
    async def killed() -> None:
        async with agentwatch.AsyncWatchedOpenAI(agentwatch_session_budget_usd=5.0) as client:
            standin.script("endless delay=0.005")
            said: Any = [{"role": "user", "content": "hi"}]
            stream = await client.chat.completions.create(
                model="gpt-4o-mini", messages=said, stream=True
            )
            async for number, _ in _numbered(stream):
                if number == 5:
                    session_id = client.agentwatch_session.id
                    kill = f"/v1/sessions/{session_id}/kill"
                    await trio.to_thread.run_sync(beside.call, "POST", kill)

    with pytest.raises(AgentSessionKilled):
        trio.run(killed)


async def _numbered(stream: Any) -> Any:
    number = 0
    async for chunk in stream:
        yield number, chunk
        number += 1


def test_with_the_daemon_away_a_cancelled_call_under_trio_is_forgotten(
    alone: Path, standin: StandinProcess
) -> None:
    async def cut() -> None:
        client = agentwatch.AsyncWatchedOpenAI(api_key=standin.key, base_url=standin.url)
        standin.script("endless delay=0.005")
        said: Any = [{"role": "user", "content": "hi"}]
        with trio.CancelScope() as scope:
            async with client:
                stream = await client.chat.completions.create(
                    model="gpt-4o-mini", messages=said, stream=True, max_tokens=500
                )
                async with stream:
                    async for number, _ in _numbered(stream):
                        if number == 5:
                            scope.cancel()

    trio.run(cut)
    (file,) = (alone / "spool").iterdir()
    assert '"seen"' in file.read_text()


def test_a_hold_under_trio_is_left_open(beside: Daemon) -> None:
    async def held() -> str:
        session = agentwatch.session(1.0)
        async with session.ahold("openai", "gpt-4o", input_tokens=200) as hold:
            await hold.settle({"prompt_tokens": 100, "completion_tokens": 20})
        with trio.CancelScope() as scope:
            async with session.ahold("openai", "gpt-4o", input_tokens=1, max_output_tokens=1):
                scope.cancel()
                await trio.lowlevel.checkpoint()
        return session.id

    shown = beside.get(f"/v1/sessions/{trio.run(held)}")
    assert (shown["iterations"], shown["held_usd"]) == (2, 0)
    assert shown["settled_usd"] > (100 * 2.5 + 20 * 10) / 1e6


async def test_what_must_be_done_is_taken_back_while_all_threads_are_busy() -> None:
    """By the cancellation of the task that waits for it."""
    loop, go, done = asyncio.get_running_loop(), threading.Event(), threading.Event()
    loop.set_default_executor(ThreadPoolExecutor(max_workers=1))
    busy = loop.run_in_executor(None, go.wait, 20)
    task = asyncio.create_task(elsewhere(done.set, always=True))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    await busy
    assert await loop.run_in_executor(None, done.wait, 20)
