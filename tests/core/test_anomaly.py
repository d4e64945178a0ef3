"""Episodes: one start and one end, however many calls; and memory that stays what it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core.anomaly import (
    LANES,
    PLACE,
    SHORTEST,
    SKETCH,
    Episodes,
    Finding,
    Lanes,
    Text,
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


TURN = st.binary(min_size=1, max_size=400)


@given(st.binary(max_size=3_000), TURN, st.booleans())
def test_a_conversation_that_goes_on_is_another(said: bytes, more: bytes, bare: bool) -> None:
    earlier = Text(said + b"]", bare=bare).spine()
    assert Text(said + b"," + more + b"]", bare=bare).goes_on_with(earlier)
    assert not Text(said + b"]", bare=bare).goes_on_with(earlier)


@given(st.binary(max_size=3_000), st.binary(min_size=PLACE, max_size=400))
def test_the_same_instructions_make_another_text_the_same_talk(rule: bytes, one: bytes) -> None:
    other = bytes(255 - byte for byte in one) + b" and some more"
    assert not Text(rule + other + b"]").goes_on_with(Text(rule + one + b"]").spine())


def test_a_mark_for_the_cache_makes_it_another_talk() -> None:
    mark = b',"cache_control":{"type":"ephemeral"}'
    turns = [b'{"role":"user","content":[{"type":"text","text":"%d %s"' % (n, b"x" * 300)
             for n in range(12)]  # fmt: skip

    def written(last: int) -> bytes:
        parts = [
            turn + (mark if n >= last - 1 else b"") for n, turn in enumerate(turns[: last + 1])
        ]
        return b"[" + b"}]},".join(parts) + b"}]}]"

    spine = Text(written(8), bare=True).spine()
    assert Text(written(9), bare=True).goes_on_with(spine)
    assert not Text(written(9)).goes_on_with(Text(written(8)).spine())


@given(st.sets(st.integers(), max_size=SKETCH), st.sets(st.integers(), max_size=SKETCH))
def test_being_alike_has_two_sides(one: set[int], other: set[int]) -> None:
    first, second = tuple(sorted(one)), tuple(sorted(other))
    assert alike(first, second) == alike(second, first)
    assert alike(first, first)
    if len(one & other) < SHORTEST:
        assert alike(first, second) == (first == second)
