"""What a mutant is."""

from __future__ import annotations

from typing import NamedTuple


class Change(NamedTuple):
    """In this file, this text, which is there once, becomes that."""

    file: str
    old: str
    new: str


class Mutant(NamedTuple):
    """`caught_by`: the tests that are run, or a simulator; one of them must fail."""

    name: str
    accident: str
    changes: tuple[Change, ...]
    caught_by: tuple[str, ...]


#: a few thousand events of simulated worlds, which compare the core with sums of their own
SIMULATOR = "simulator"
#: a few thousand of the worlds in which the store has a disk that fails
STORE_SIMULATOR = "simulator --store"
CORE, STORE, DAEMON = "agentwatch/core/", "agentwatch/store/", "agentwatch/daemon/"


def one(name: str, accident: str, file: str, old: str, new: str, *caught_by: str) -> Mutant:
    """A mutant of one change."""
    return Mutant(name, accident, (Change(file, old, new),), caught_by)
