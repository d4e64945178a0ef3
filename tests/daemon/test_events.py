"""Those who follow: each hears what is of its session, and the slow hold up nobody."""

from __future__ import annotations

import asyncio

import pytest

from agentwatch.core import entries as e
from agentwatch.daemon.events import BACKLOG, REMEMBERED, Events, event_of


def told(number: int, session_id: str = "s") -> dict[str, object]:
    return {"kind": "call", "session_id": session_id, "number": number}


async def test_a_follower_hears_of_another_session() -> None:
    events = Events()
    with events.follow("s") as mine, events.follow(None) as all_of_it:
        events.tell(told(1, "other"))
        events.tell(told(2))
        assert (await mine.next())["number"] == 2
        assert [(await all_of_it.next())["number"] for _ in range(2)] == [1, 2]


async def test_a_slow_follower_fills_the_memory() -> None:
    events = Events()
    with events.follow("s") as slow:
        for number in range(BACKLOG + 50):
            events.tell(told(number))
        assert (await slow.next())["number"] == 50


async def test_who_went_is_told_for_ever() -> None:
    events = Events()
    with events.follow("s") as follower:
        pass
    events.tell(told(1))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(follower.next(), 0.02)


async def test_who_waits_is_woken() -> None:
    events = Events()
    with events.follow("s") as follower:
        waits = asyncio.create_task(follower.next())
        await asyncio.sleep(0)
        events.tell(told(7))
        assert (await asyncio.wait_for(waits, 5))["number"] == 7


def test_the_past_grows_for_ever() -> None:
    events = Events()
    for number in range(REMEMBERED + 10):
        events.tell(told(number, "s" if number % 2 else "t"))
    assert len(events.past(None)) == REMEMBERED
    assert {event["session_id"] for event in events.past("s")} == {"s"}
    assert events.past("s")[-1]["number"] == REMEMBERED + 9


def test_entries_are_told_in_the_contracts_units() -> None:
    settled = e.Settled(
        at=5.0,
        hold="h",
        nanos=1_500_000_000,
        basis="usage",
        model="m",
        input_tokens=3,
        output_tokens=4,
        seconds=1.23456,
        price_version="p",
        reason="",
    )
    event = event_of(settled, "s")
    assert event == {
        "at": 5.0,
        "session_id": "s",
        "kind": "call",
        "model": "m",
        "input_tokens": 3,
        "output_tokens": 4,
        "cost_usd": 1.5,
        "basis": "usage",
        "seconds": 1.235,
    }
    budget = event_of(e.CeilingSet(at=1.0, account="session:s", ceiling=None), "s")
    assert budget is not None and budget["budget_usd"] is None
    state = event_of(e.StateSet(at=1.0, session="s", state="killed", reason="asked"), "s")
    assert state is not None and (state["kind"], state["state"]) == ("state", "killed")
    assert event_of(e.TokenMinted(at=1.0, session="s", sha256="x"), "s") is None
