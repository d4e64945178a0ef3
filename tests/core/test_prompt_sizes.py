"""The last prompts of a lane: whichever order they are heard of in, and however many lanes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core.prompt_sizes import LANES, WINDOW, ByLane, drop, lane_key, put, put_in_lane


@given(st.permutations(range(1, 9)))
def test_a_call_that_ends_late_pushes_a_newer_one_out(order: list[int]) -> None:
    sizes: list[tuple[int, int]] = []
    heard: list[int] = []
    for iteration in order:
        heard.append(iteration)
        put(sizes, iteration, 100 * iteration)
        assert sizes == sorted(sizes) and sizes[-1][0] == max(heard)
    assert len(sizes) == WINDOW


def test_a_size_that_is_known_better_counts_twice() -> None:
    sizes: list[tuple[int, int]] = []
    for tokens in (90, 100):
        put(sizes, 1, tokens)
    put(sizes, 2, 200)
    put(sizes, 1, 110)
    assert sizes == [(1, 110), (2, 200)]
    drop(sizes, 1)
    drop(sizes, 7)
    assert sizes == [(2, 200)]


def test_threads_that_are_made_up_make_an_account_grow() -> None:
    lanes: ByLane = {}
    for number in range(3 * LANES):
        put_in_lane(lanes, "main", 2 * number + 1, 100)
        put_in_lane(lanes, f"t{number}", 2 * number + 2, 100)
    assert len(lanes) == LANES
    assert len(lanes["main"]) == WINDOW


def test_a_lane_s_key_tells_what_the_client_called_it() -> None:
    keys = {
        lane_key(model, thread)
        for model in ("m", "n", "m\0t")
        for thread in (None, "t", "tt", "canary")
    }
    assert len(keys) == 12
    assert not any("canary" in key for key in keys)
    # the next process must come to the same
    assert lane_key("gpt-4o", "main") == "a7ea8ce4413d83a0"
