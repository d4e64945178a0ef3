"""What happens to sessions, told to those who follow: a bounded queue for each follower."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from agentwatch.core import entries as e
from agentwatch.core.money import to_usd
from agentwatch.errors import Refusal

Event = dict[str, Any]

#: events that a follower may be behind; a slower one loses the oldest, and is told so
BACKLOG = 1_000
#: events of the past that a new follower, or one that does not follow, is given
REMEMBERED = 500


class Events:
    """The hub. `tell` costs next to nothing when nobody follows."""

    def __init__(self) -> None:
        self._followers: set[Follower] = set()
        self._past: deque[tuple[Event, Collection[str]]] = deque(maxlen=REMEMBERED)

    def tell(self, event: Event, concerned: Collection[str] = ()) -> None:
        """Give an event to everybody who follows its session, one that it concerns as well
        (by their ids), or all."""
        whose = {event["session_id"], *concerned}
        self._past.append((event, whose))
        for follower in self._followers:
            follower.offer(event, whose)

    def past(self, session_id: str | None) -> list[Event]:
        """The last events, oldest first."""
        return [event for event, whose in self._past if session_id is None or session_id in whose]

    @contextmanager
    def follow(self, session_id: str | None) -> Iterator[Follower]:
        """A queue of what happens from now on to one session, or to all."""
        follower = Follower(session_id)
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)


class Follower:
    """One who follows."""

    def __init__(self, session_id: str | None) -> None:
        self._session_id = session_id
        self._queue: deque[Event] = deque(maxlen=BACKLOG)
        self._some = asyncio.Event()

    def offer(self, event: Event, whose: Collection[str]) -> None:
        """Take an event, if it is of the session that is followed."""
        if self._session_id is None or self._session_id in whose:
            self._queue.append(event)
            self._some.set()

    async def next(self) -> Event:
        """The next event, when there is one."""
        while not self._queue:
            self._some.clear()
            await self._some.wait()
        return self._queue.popleft()


def refusal_event(refusal: Refusal, session_id: str, at: float) -> Event:
    """What followers are told of a call that was refused."""
    event: Event = {"at": at, "session_id": session_id, "kind": "refusal"}
    return {**event, "reason": refusal.reason, "message": refusal.message}


def event_of(entry: e.AnyEntry, session_id: str) -> Event | None:
    """What followers are told of a journal's entry; None: nothing."""
    event: Event = {"at": entry.at, "session_id": session_id}
    if isinstance(entry, e.StateSet):
        return {**event, "kind": "state", "state": entry.state, "reason": entry.reason}
    if isinstance(entry, e.CeilingSet):
        ceiling = None if entry.ceiling is None else to_usd(entry.ceiling)
        return {**event, "kind": "budget", "budget_usd": ceiling}
    if isinstance(entry, e.Settled):
        return {
            **event,
            "kind": "call",
            "model": entry.model,
            "input_tokens": entry.input_tokens,
            "output_tokens": entry.output_tokens,
            "cost_usd": to_usd(entry.nanos),
            "basis": entry.basis,
            "seconds": round(entry.seconds, 3),
        }
    return None
