"""The rule of the contract, to the letter: against itself written down as plainly as can be."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st
from watching import LANE, Calls

from agentwatch.core.anomaly_growth import WINDOW, Growth

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
