"""Stories: lists of events from a seed, and the shortest part of one that still fails."""

from __future__ import annotations

import random

from prove.judge import Broken
from prove.world import PLAYS, Event, World

#: events of one world: long enough for months and crashes, short enough to be folded again
LENGTH = 600
_TABLE = bytes(number for number, often in enumerate(PLAYS.values()) for _ in range(often))
assert len(_TABLE) == 256
NAMES = tuple(PLAYS)


def story(seed: int, length: int = LENGTH) -> list[Event]:
    """The events of this seed: always the same."""
    drawn = random.Random(seed).randbytes(5 * length)  # a seed is to be played again
    numbers = memoryview(drawn[length:]).cast("H")
    whats = drawn[:length].translate(_TABLE)
    return list(zip(whats, numbers[:length], numbers[length:], strict=True))


def clamps(seed: int) -> bool:
    """Whether this world's limits may be lowered: three of four."""
    return seed % 4 != 3


def play(seed: int, events: list[Event] | None = None) -> Broken | None:
    """Play a seed's world; what was broken in it, if anything."""
    try:
        World(clamps(seed)).play(story(seed) if events is None else events)
    except Broken as broken:
        return broken
    except Exception as error:  # a core that falls over is broken as well
        return Broken(f"{type(error).__name__}: {error}")
    return None


def shrink(seed: int, events: list[Event]) -> list[Event]:
    """A part of the story that still fails, and that no single event can be taken from."""
    size = max(1, len(events) // 2)
    while True:
        start = 0
        while start < len(events):
            shorter = events[:start] + events[start + size :]
            if play(seed, shorter) is not None:
                events = shorter
            else:
                start += size
        if size == 1:
            return _smaller(seed, events)
        size = max(1, size // 2)


def _smaller(seed: int, events: list[Event]) -> list[Event]:
    for place, (what, x, y) in enumerate(events):
        for smaller in ((what, 0, 0), (what, 0, y), (what, x, 0), (what, x % 64, y % 64)):
            changed = [*events[:place], smaller, *events[place + 1 :]]
            if play(seed, changed) is not None:
                events = changed
                break
    return events


def told(events: list[Event]) -> str:
    """A story in words, for people."""
    return "\n".join(f"  {NAMES[what]}({x}, {y})" for what, x, y in events)
