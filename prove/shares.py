"""Worlds shared out among processes: each plays every n-th seed until its time or count is up."""

from __future__ import annotations

import gc
import time
from multiprocessing import get_context

from msgspec import Struct, field

from prove.story import KINDS, play

#: broken worlds after which a process has no more to tell
ENOUGH = 3


class Share(Struct, frozen=True):
    """What one process is to play: of one kind every `step`-th seed from `first` on, `worlds` of
    them or for `seconds`, whichever is given."""

    first: int
    step: int
    worlds: int
    seconds: float | None = None
    kind: str = "ledger"


class Played(Struct):
    """What came of it: how many events, and what was broken in which seed."""

    events: int = 0
    #: seconds of one processor
    cpu_s: float = 0.0
    broken: list[tuple[int, str]] = field(default_factory=list)


def play_all(
    first: int, jobs: int, events: int, seconds: float | None = None, kind: str = "ledger"
) -> Played:
    """Play so many events, or for so many seconds, in so many processes."""
    worlds = -(-events // KINDS[kind].LENGTH // jobs)
    shares = [Share(first + number, jobs, worlds, seconds, kind) for number in range(jobs)]
    played = Played()
    with get_context("forkserver").Pool(jobs) as pool:
        for part in pool.imap_unordered(play_share, shares, chunksize=1):
            played.events += part.events
            played.cpu_s += part.cpu_s
            played.broken += part.broken
    return played


def play_share(share: Share) -> Played:
    """One process's part."""
    _settle_down()
    begun, worked, played, number = time.monotonic(), time.process_time(), Played(), 0
    while len(played.broken) < ENOUGH:
        over = number >= share.worlds
        if share.seconds is not None:
            over = time.monotonic() - begun >= share.seconds
        if over:
            break
        seed = share.first + number * share.step
        found = play(seed, kind=share.kind)
        if found is not None:
            played.broken.append((seed, str(found)))
        played.events += KINDS[share.kind].LENGTH
        number += 1
    played.cpu_s = time.process_time() - worked
    return played


def _settle_down() -> None:
    """The collector would go through every world's calls, which die with their world anyway."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 5, 5)
