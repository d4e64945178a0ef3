"""Stories: lists of events from a seed, and the shortest part of one that still fails."""

from __future__ import annotations

import random
from typing import ClassVar, Protocol

from prove.judge import Broken
from prove.store_world import StoreWorld
from prove.world import Event, World


class Playable(Protocol):
    """A kind of world: what happens in it and how often of 256, and how many events it has."""

    PLAYS: ClassVar[dict[str, int]]
    LENGTH: ClassVar[int]

    def __init__(self, seed: int) -> None: ...

    def play(self, events: list[Event]) -> None:
        """Play all of them. Raises Broken."""
        ...


#: the ledger alone, fast, and the store with a disk of the world's
KINDS: dict[str, type[Playable]] = {"ledger": World, "store": StoreWorld}
_TABLES = {
    kind: bytes(number for number, often in enumerate(world.PLAYS.values()) for _ in range(often))
    for kind, world in KINDS.items()
}
assert all(len(table) == 256 for table in _TABLES.values())


def story(seed: int, kind: str = "ledger") -> list[Event]:
    """The events of this seed: always the same."""
    length = KINDS[kind].LENGTH
    drawn = random.Random(seed).randbytes(5 * length)  # a seed is to be played again
    numbers = memoryview(drawn[length:]).cast("H")
    whats = drawn[:length].translate(_TABLES[kind])
    return list(zip(whats, numbers[:length], numbers[length:], strict=True))


def play(seed: int, events: list[Event] | None = None, kind: str = "ledger") -> Broken | None:
    """Play a seed's world; what was broken in it, if anything."""
    try:
        KINDS[kind](seed).play(story(seed, kind) if events is None else events)
    except Broken as broken:
        return broken
    except Exception as error:  # a core that falls over is broken as well
        return Broken(f"{type(error).__name__}: {error}")
    return None


def shrink(seed: int, events: list[Event], kind: str = "ledger") -> list[Event]:
    """A part of the story that still fails, and that no single event can be taken from."""
    size = max(1, len(events) // 2)
    while True:
        start = 0
        while start < len(events):
            shorter = events[:start] + events[start + size :]
            if play(seed, shorter, kind) is not None:
                events = shorter
            else:
                start += size
        if size == 1:
            return _smaller(seed, events, kind)
        size = max(1, size // 2)


def _smaller(seed: int, events: list[Event], kind: str) -> list[Event]:
    for place, (what, x, y) in enumerate(events):
        for smaller in ((what, 0, 0), (what, 0, y), (what, x, 0), (what, x % 64, y % 64)):
            changed = [*events[:place], smaller, *events[place + 1 :]]
            if play(seed, changed, kind) is not None:
                events = changed
                break
    return events


def told(events: list[Event], kind: str = "ledger") -> str:
    """A story in words, for people."""
    names = tuple(KINDS[kind].PLAYS)
    return "\n".join(f"  {names[what]}({x}, {y})" for what, x, y in events)
