"""Episodes: one start and one end, however many calls; and memory that stays what it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core.anomaly import (
    LANES,
    SHORTEST,
    SKETCH,
    Episodes,
    Finding,
    Lanes,
    alike,
)

FOUND = Finding("cycle", "warning", "…", {})


@given(st.lists(st.booleans()))
def test_an_event_is_told_twice_or_never_ends(holds: list[bool]) -> None:
    episodes, told = Episodes(), []
    for hold in holds:
        change = episodes.take(iter([(("cycle", None), FOUND if hold else None)]))
        told += [True] * len(change.began) + [False] * len(change.over)
    changes = [now for now, before in zip(holds, [False, *holds], strict=False) if now != before]
    assert told == changes


def test_what_is_not_judged_ends() -> None:
    episodes = Episodes()
    episodes.take(iter([(("cycle", None), FOUND)]))
    assert episodes.take(iter([])) == ([], [])
    assert episodes.take(iter([(("cycle", ("m", "t")), None)])) == ([], [])


def test_a_session_of_many_lanes_takes_ever_more_memory() -> None:
    lanes = Lanes()
    for number in range(10 * LANES):
        lanes.of(("m", str(number)), list).append(number)
        lanes.of(("m", "main"), list).append(number)
    assert len(lanes) == LANES
    assert len(lanes.of(("m", "main"), list)) == 10 * LANES


def test_an_open_episode_of_each_of_many_lanes_takes_ever_more_memory() -> None:
    episodes = Episodes()
    for number in range(5_000):
        episodes.take(iter([(("cycle", ("m", str(number))), FOUND)]))
    assert len(episodes._open) <= 10 * LANES


@given(st.sets(st.integers(), max_size=SKETCH), st.sets(st.integers(), max_size=SKETCH))
def test_being_alike_has_two_sides(one: set[int], other: set[int]) -> None:
    first, second = tuple(sorted(one)), tuple(sorted(other))
    assert alike(first, second) == alike(second, first)
    assert alike(first, first)
    if len(one & other) < SHORTEST:
        assert alike(first, second) == (first == second)
