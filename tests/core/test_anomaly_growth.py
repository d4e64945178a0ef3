"""The rule of the contract, to the letter: against itself written down as plainly as can be."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st
from watching import LANE, Calls

from agentwatch.core.alert import PROMPT_GROWTH
from agentwatch.core.anomaly import Limits
from agentwatch.core.anomaly_growth import WINDOW, Growth
from agentwatch.core.anomaly_session import Watched
from agentwatch.core.prompt_sizes import lane_key, put

# sizes that grow by about the ratio, so that both sides of it are met
STEPS = st.lists(st.sampled_from([(1, 1), (7, 5), (3, 2), (141, 100), (2, 1), (1, 3)]), max_size=30)


def sizes_of(steps: list[tuple[int, int]], first: int = 100) -> list[int]:
    sizes = [first]
    for above, below in steps:
        sizes.append(min(max(1, sizes[-1] * above // below), 10**12))
    return sizes


def plainly(sizes: list[int]) -> list[int]:
    """The calls (from 1) at which the rule is met anew."""
    alerts, silent = [], False
    for number in range(1, len(sizes) + 1):
        window = sizes[max(0, number - 5) : number]
        grown = [later * 10 > earlier * 14 for earlier, later in itertools.pairwise(window)]
        if grown and not grown[-1]:
            silent = False
        if len(grown) >= 3 and all(grown[-3:]):
            if not silent:
                alerts.append(number)
            silent = True
    return alerts


@given(STEPS)
def test_the_rule_is_another_than_the_contract_s(steps: list[tuple[int, int]]) -> None:
    sizes, calls = sizes_of(steps), Calls()
    for size in sizes:
        calls.prompt(size)
    assert [n for kind, n in calls.began if kind == "prompt_growth"] == plainly(sizes)


@given(STEPS, st.sets(st.integers(1, 30)), st.booleans())
def test_a_restart_makes_a_runaway_a_new_one(
    steps: list[tuple[int, int]], restarts: set[int], counted: bool
) -> None:
    """The daemon dies before these calls: what the ledger has of the sizes, and the alerts of what
    is open, is all that is left."""
    sizes, calls, kept = sizes_of(steps), Calls(), list[tuple[int, int]]()
    for number, size in enumerate(sizes, 1):
        if number in restarts:
            already = [(PROMPT_GROWTH, LANE)] if _open(calls) else []
            calls.watched = Watched(Limits(), {lane_key(*LANE): kept}, already)
        call = calls.begin(tokens=size if counted else None)
        calls.end(call, tokens=size)
        put(kept, number, size)
    assert [n for kind, n in calls.began if kind == "prompt_growth"] == plainly(sizes)


def test_a_call_that_was_out_when_the_daemon_died_ends_what_it_began() -> None:
    """It was told of by its size before it was sent, of which the ledger knows nothing."""
    calls, kept = Calls(), list[tuple[int, int]]()
    for number, tokens in enumerate((2_000, 2_000, 4_000, 8_000), 1):
        calls.prompt(tokens)
        put(kept, number, tokens)
    known = {lane_key(*LANE): kept}
    calls.begin(bound=10**6)
    assert calls.kinds == ["prompt_growth"]
    calls.watched = Watched(Limits(), known, [(PROMPT_GROWTH, LANE)])
    calls.end(calls.begin(), tokens=16_000)
    assert (calls.kinds, calls.over) == (["prompt_growth"], [])
    calls.end(calls.begin(), tokens=16_000)
    assert calls.over == ["prompt_growth"]


@given(STEPS, st.randoms(use_true_random=False))
def test_calls_that_end_in_another_order_look_like_growth(steps: list, lots: object) -> None:
    """What is known in the end does not depend on the order in which it came."""
    sizes = sizes_of(steps)[:WINDOW]
    in_order, shuffled = Calls(), Calls()
    for size in sizes:
        in_order.prompt(size)
    out = [(shuffled.begin(), size) for size in sizes]
    lots.shuffle(out)  # type: ignore[attr-defined]
    for call, size in out:
        shuffled.end(call, tokens=size)
    assert _open(in_order) == _open(shuffled)


def _open(calls: Calls) -> bool:
    return calls.kinds.count("prompt_growth") > calls.over.count("prompt_growth")


def test_a_ratio_of_exactly_1_4_is_growth() -> None:
    calls = Calls()
    for size in (1000, 1400, 1960, 2744):
        calls.prompt(size)
    assert calls.began == []


def test_growth_that_costs_nothing_is_a_warning() -> None:
    small, large = Calls(), Calls()
    for size in (100, 200, 400, 999):
        small.prompt(size)
    for size in (100, 200, 400, 1000):
        large.prompt(size)
    assert [found.severity for found in small.findings + large.findings] == ["info", "warning"]
    evidence = large.findings[0].evidence
    assert evidence["prompt_tokens"] == [100, 200, 400, 1000]
    assert evidence["ratios"] == [2.0, 2.0, 2.5]


def test_growth_that_goes_on_is_told_at_each_call() -> None:
    calls = Calls()
    for exponent in range(12):
        calls.prompt(100 * 2**exponent)
    assert calls.began == [("prompt_growth", 4)]
    calls.prompt(100 * 2**11)
    assert calls.over == ["prompt_growth"]
    for exponent in range(3):
        calls.prompt(100 * 2 ** (12 + exponent))
    assert calls.began == [("prompt_growth", 4), ("prompt_growth", 16)]


def test_a_title_between_two_prompts_hides_growth() -> None:
    calls = Calls()
    for size in (1000, 2000, 4000, 8000):
        calls.prompt(size)
        calls.prompt(50, ("gpt-4o-mini", None))
        calls.prompt(70, ("gpt-4o", "subagent"))
    assert calls.kinds == ["prompt_growth"]
    assert calls.findings[0].evidence["thread"] is None


def test_growth_is_seen_only_when_the_money_is_spent() -> None:
    """A call that is out is judged by its size before it was sent."""
    calls = Calls()
    for size in (2000, 4000, 8000):
        calls.end(calls.begin(bound=4 * size), tokens=size)
    out = calls.begin(bound=4 * 16_000)
    assert calls.kinds == ["prompt_growth"]
    calls.end(out, tokens=16_000)
    assert calls.kinds == ["prompt_growth"]


def test_an_estimate_is_believed_where_it_may_be_wrong() -> None:
    calls = Calls()
    for size in (2000, 4000, 8000):
        calls.end(calls.begin(bound=4 * size), tokens=size)
    # 1.45 by bytes, 1.39 by what the provider counts
    calls.end(calls.begin(bound=4 * 11_600), tokens=11_120)
    assert calls.began == []
    small = Calls()
    for size in (100, 200, 400):
        small.end(small.begin(bound=4 * size), tokens=size)
    small.begin(bound=4 * 990)
    assert small.began == []


def test_a_size_that_who_asks_has_counted_is_only_an_estimate() -> None:
    calls = Calls()
    for size in (100, 200, 400, 800):
        calls.begin(tokens=size)
    assert calls.kinds == ["prompt_growth"]


def test_a_call_that_was_refused_counts_as_a_prompt() -> None:
    calls = Calls()
    for size in (100, 200, 400):
        calls.prompt(size)
    calls.end(calls.begin(tokens=350), failed=True)
    calls.prompt(800)
    assert calls.kinds == ["prompt_growth"]


def test_a_lane_grows_with_its_session() -> None:
    lane = Growth(LANE)
    calls = Calls()
    for number in range(200):
        list(lane.ended(_ended(calls, number)))
    assert len(lane._sizes) == WINDOW


def _ended(calls: Calls, number: int) -> object:
    from agentwatch.core.anomaly import Ended

    return Ended(call=calls.begin(), at=calls.at, tokens=100 + number)
