"""`python -m prove`: play simulated worlds, as many as fit, and say what was broken in which.

python -m prove --seconds 60         worlds from a random seed on, for a minute
python -m prove --events 1000000     so many events
python -m prove --seed 4711          one world again, shrunk, as a story in words
python -m prove --store              worlds of the other kind: the store, and a disk that fails
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time

from prove.shares import play_all
from prove.story import play, shrink, story, told

#: events of each kind, where nothing is said
EVENTS = {"ledger": 1_000_000, "store": 100_000}


def main() -> int:
    """0: nothing was broken."""
    asked = _arguments()
    if asked.seed is not None:
        return _again(asked.seed, asked.kind)
    first = secrets.randbits(48) if asked.first is None else asked.first
    print(f"simulating ({asked.kind}) from seed {first} on, {asked.jobs} at a time", flush=True)
    begun = time.monotonic()
    events = asked.events or EVENTS[asked.kind]
    played = play_all(first, asked.jobs, events, asked.seconds, asked.kind)
    took = time.monotonic() - begun
    for seed, what in played.broken:
        print(f"seed {seed}: {what}\n  again: python -m prove{_flag(asked.kind)} --seed {seed}")
    rate = f"{played.events:,} events in {took:.1f} s, {played.events / took:,.0f} a second"
    alone = f"{played.events / played.cpu_s:,.0f} a second of one processor"
    print(f"{rate} ({alone}); worlds broken: {len(played.broken)}")
    return 1 if played.broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m prove", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, help="play for so long")
    parser.add_argument("--events", type=int, help="play so many (1000000; --store: 100000)")
    parser.add_argument("--first", type=int, help="the first seed; else a random one")
    parser.add_argument("--seed", type=int, help="play this world again, and shrink it")
    parser.add_argument(
        "--store", dest="kind", action="store_const", const="store", default="ledger"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    return parser.parse_args()


def _flag(kind: str) -> str:
    return "" if kind == "ledger" else f" --{kind}"


def _again(seed: int, kind: str) -> int:
    found = play(seed, kind=kind)
    if found is None:
        print(f"seed {seed}: nothing is broken in this world")
        return 0
    print(f"seed {seed}: {found}", flush=True)
    events = story(seed, kind)
    shortest = shrink(seed, events, kind)
    print(f"{len(shortest)} of {len(events)} events are enough:\n{told(shortest, kind)}")
    print(play(seed, shortest, kind))
    return 1


if __name__ == "__main__":
    sys.exit(main())
