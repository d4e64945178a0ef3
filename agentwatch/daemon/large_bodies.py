"""Large bodies take turns, so that those who send small ones hardly notice.

A body of 10 MB takes a few milliseconds to scan, in steps that nothing can interrupt. Two hundred
at once would be a second in which nobody else is served, and gigabytes of memory. So few are read
at a time, one is scanned at a time, in a thread, and after each the others have their turn.

What a body says of its length counts for nothing: it takes a place once it is large. One that
comes slowly keeps no place from the others: while somebody waits its turn ends, and when more of
it has come it waits in line again. What such bodies keep in memory meanwhile is bounded, too:
where there is no room, one of which hardly anything has come in its turn is refused.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

#: from here on a body is large
LARGE_BYTES = 256 << 10
#: large bodies that are read at a time; the others wait in their sockets
READ_AT_ONCE = 8
#: seconds for which a body may be read while others wait
TURN_S = 0.5
#: of bodies whose turn has ended, so much is kept in memory
PARKED_BYTES = 64 << 20
#: and where that is full, a body must bring so much in its turn to have another
LEAST_IN_A_TURN = 64 << 10


class Place:
    """One body's place among the large ones, or in the line for one."""

    def __init__(self, large: LargeBodies) -> None:
        self._large = large
        #: bytes that have come
        self.size = 0
        #: how many had when its turn began
        self.size_before = 0
        self._limit: asyncio.Timeout | None = None
        self._is_cut_off = False

    async def came(self, size: int, limit: asyncio.Timeout, *, whole: bool = False) -> None:
        """So many bytes have come: return once more may be read. With `whole` that is all, and its
        turn no longer ends.

        `limit` is the sender's time: what is waited here is not taken from it. Raises TimeoutError
        where the body came so slowly that there is no room for it any more.
        """
        self.size, self._limit = size, limit
        if self._is_cut_off:
            raise TimeoutError
        if size < LARGE_BYTES:
            return
        while not self._large.has(self):
            until, began = limit.when(), time.monotonic()
            limit.reschedule(None)
            await self._large.enter(self)
            if until is not None:
                limit.reschedule(until + time.monotonic() - began)
        if whole:
            self._large.keep(self)

    def cut_off(self) -> None:
        """Its sender's time is up."""
        self._is_cut_off = True
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(0)


class LargeBodies:
    """The places where large bodies are read and scanned. Belongs to one event loop."""

    def __init__(self, turn_s: float = TURN_S, parked_bytes: int = PARKED_BYTES) -> None:
        self._turn_s = turn_s
        self._room = parked_bytes
        #: when the turn of each body that is read ends
        self._reading: dict[Place, float] = {}
        self._waiting: dict[Place, asyncio.Future[None]] = {}
        #: bodies whose turn has ended, and what each keeps in memory
        self._parked: dict[Place, int] = {}
        self._turns: asyncio.TimerHandle | None = None
        self._scanning = asyncio.Lock()

    @contextmanager
    def place(self) -> Iterator[Place]:
        """For one body, until it has been scanned."""
        place = Place(self)
        try:
            yield place
        finally:
            self._reading.pop(place, None)
            self._parked.pop(place, None)
            self._fill()

    def has(self, place: Place) -> bool:
        """Whether this body may be read."""
        return place in self._reading

    async def enter(self, place: Place) -> None:
        """Wait in line until this body may be read."""
        free = self._waiting[place] = asyncio.get_running_loop().create_future()
        self._fill()
        try:
            await free
        finally:
            self._waiting.pop(place, None)

    def keep(self, place: Place) -> None:
        """A body that may be read has come: it stays until it has been scanned."""
        self._reading[place] = math.inf

    def _fill(self) -> None:
        """Let in as many as there are places, and see to it that turns end where others wait."""
        while self._waiting and len(self._reading) < READ_AT_ONCE:
            place = next(iter(self._waiting))
            free = self._waiting.pop(place)
            if not free.done():
                self._parked.pop(place, None)
                self._give_turn(place)
                free.set_result(None)
        if self._waiting and self._turns is None:
            left = min(self._reading.values()) - time.monotonic()
            if left < math.inf:
                loop = asyncio.get_running_loop()
                self._turns = loop.call_later(max(0.0, left), self._end_turns)

    def _end_turns(self) -> None:
        self._turns = None
        now = time.monotonic()
        over = [place for place, until in self._reading.items() if until <= now]
        for place in over[: len(self._waiting)]:
            self._take_turn(place)
        self._fill()

    def _give_turn(self, place: Place) -> None:
        place.size_before = place.size
        self._reading[place] = time.monotonic() + self._turn_s

    def _take_turn(self, place: Place) -> None:
        if sum(self._parked.values()) + place.size <= self._room:
            del self._reading[place]
            self._parked[place] = place.size
        elif place.size - place.size_before < LEAST_IN_A_TURN:
            del self._reading[place]
            place.cut_off()
        else:
            self._give_turn(place)

    async def scanned(self, size: int, scan: Callable[[], T]) -> T:
        """What `scan` makes of a body of this size; what it raises is raised.

        Who is cancelled leaves a thread behind that scans on: the next begins when it has ended.
        """
        if size < LARGE_BYTES:
            return scan()
        await self._scanning.acquire()
        began = time.monotonic()
        loop = asyncio.get_running_loop()

        def pause(_: object) -> None:
            loop.call_later(time.monotonic() - began, self._scanning.release)

        thread = loop.run_in_executor(None, scan)
        thread.add_done_callback(pause)
        return await asyncio.shield(thread)
