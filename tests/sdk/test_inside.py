"""What runs inside of a session, and what does not: generators, tasks, threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import openai
import pytest
from harness import Daemon, chat

import agentwatch
from agentwatch import AgentBudgetExceeded
from agentwatch.errors import UsageError
from agentwatch.sdk.inside import ambient

LITTLE_USD = 0.0000001


def _refused() -> None:
    with pytest.raises(AgentBudgetExceeded):
        openai.OpenAI(api_key="x").chat.completions.create(**chat())


def test_a_generator_s_body_runs_outside(beside: Daemon) -> None:
    ended = []

    @agentwatch.session(LITTLE_USD)
    def work() -> Iterator[str]:
        try:
            _refused()
            yield "one"
            _refused()
            told = yield "two"
            assert told == "go on"
            try:
                yield "three"
            except KeyError:
                _refused()
                yield "four"
        finally:
            ended.append(ambient())

    steps = work()
    assert next(steps) == "one"
    assert ambient() is None
    assert next(steps) == "two"
    assert steps.send("go on") == "three"  # type: ignore[attr-defined]
    assert steps.throw(KeyError()) == "four"  # type: ignore[attr-defined]
    steps.close()  # type: ignore[attr-defined]
    (session,) = ended
    assert session is not None
    assert beside.get(f"/v1/sessions/{session.id}")["state"] in ("exhausted", "closed")


def test_an_async_generator_s_body_runs_outside(beside: Daemon) -> None:
    ended = []

    @agentwatch.session(LITTLE_USD)
    async def work() -> AsyncIterator[str]:
        try:
            await asyncio.to_thread(_refused)
            yield "one"
            try:
                yield "two"
            except KeyError:
                await asyncio.to_thread(_refused)
                yield "three"
        finally:
            ended.append(ambient())

    async def iterate() -> None:
        assert [each async for each in work()] == ["one", "two"]
        steps = work()
        assert await anext(steps) == "one"
        assert ambient() is None
        assert await anext(steps) == "two"
        assert await steps.athrow(KeyError()) == "three"  # type: ignore[attr-defined]
        await steps.aclose()  # type: ignore[attr-defined]

    asyncio.run(iterate())
    assert len({session.id for session in ended if session is not None}) == 2


def test_two_tasks_in_one_session_break_each_other_s_end(beside: Daemon) -> None:
    session = agentwatch.session(1.0)
    both = asyncio.Event

    async def work(mine: asyncio.Event, other: asyncio.Event) -> None:
        async with session:
            mine.set()
            await other.wait()
            assert ambient() is session
        assert ambient() is None

    async def together() -> None:
        first, second = both(), both()
        await asyncio.gather(work(first, second), work(second, first))

    asyncio.run(together())


def test_two_threads_in_one_session_break_each_other_s_end(beside: Daemon) -> None:
    session, failed = agentwatch.session(1.0), []
    together = threading.Barrier(2)

    def work() -> None:
        try:
            with session:
                together.wait(30)
                openai.OpenAI(api_key="x").chat.completions.create(**chat())
                together.wait(30)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    shown = beside.get(f"/v1/sessions/{session.id}")
    assert (shown["iterations"], shown["state"]) == (2, "closed")


def test_a_session_that_is_over_is_entered_again(beside: Daemon) -> None:
    named = agentwatch.session(1.0, session_id="entered-again")
    for _ in range(2):
        with named:
            openai.OpenAI(api_key="x").chat.completions.create(**chat())
    assert beside.get("/v1/sessions/entered-again")["iterations"] == 2
    with agentwatch.session(1.0) as session:
        session.open()
    with pytest.raises(UsageError, match="session_id"):
        session.__enter__()
