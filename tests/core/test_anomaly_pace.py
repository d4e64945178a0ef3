"""Failures, spending and calls: too many, too fast, too many at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from watching import Calls

from agentwatch.core.anomaly import Limits
from agentwatch.core.anomaly_pace import Faded

USD = 1_000_000_000


@given(st.floats(0.5, 50), st.integers(2, 400))
def test_a_steady_rate_is_told_as_another(every_s: float, times: int) -> None:
    faded = Faded(60.0)
    for number in range(times):
        faded.add(number * every_s, 10.0)
    at = (times - 1) * every_s + every_s / 2
    assert 0.5 < faded.per_s(at) / (10 / every_s) < 2
    if times * every_s > 300 and every_s < 5:
        assert faded.per_s(at) == pytest.approx(10 / every_s, rel=0.1)


def test_a_clock_that_was_put_back_makes_a_burst() -> None:
    faded = Faded(10.0)
    for at in (100.0, 200.0, 50.0, 60.0, 300.0):
        faded.add(at, 1.0)
    assert 0 < faded.per_s(300.0) < 1


def test_calls_that_fail_go_on_unseen() -> None:
    calls = Calls()
    for _ in range(20):
        calls.end(calls.begin(), failed=True)
    assert calls.began == [("failing_calls", 6)]
    calls.prompt(10)
    assert calls.over == ["failing_calls"]


def test_a_short_outage_is_a_storm() -> None:
    calls = Calls()
    for _ in range(10):
        for _ in range(3):
            calls.end(calls.begin(), failed=True)
        calls.prompt(100)
    assert calls.began == []


def test_many_at_once_are_not_seen_or_seen_again_and_again() -> None:
    calls = Calls()
    out = [calls.begin(after=0.01) for _ in range(25)]
    assert ("fan_out", 20) in calls.began
    for call in out[:10]:
        calls.end(call)
        out.append(calls.begin(after=0.01))
    assert calls.kinds.count("fan_out") == 1
    for call in out[10:]:
        calls.end(call)
    assert "fan_out" in calls.over


def spend(calls: Calls, usd: float, every_s: float, times: int, left: float = 2.0) -> None:
    for _ in range(times):
        call = calls.begin(after=every_s)
        left -= usd
        calls.end(call, nanos=int(usd * USD), ceiling=2 * USD, left=int(left * USD))


def test_the_ceiling_comes_without_a_word() -> None:
    calls = Calls()
    spend(calls, 0.05, 3.0, 15)
    assert calls.kinds == ["burn_rate"]
    found = calls.findings[0]
    assert 30 < found.evidence["ceiling_in_s"] < 120
    assert found.evidence["usd_per_hour"] == pytest.approx(60, rel=0.2)


def test_a_session_at_its_ease_is_told_to_hurry() -> None:
    calls = Calls()
    spend(calls, 0.02, 8.0, 90)
    assert calls.began == []


def test_money_an_hour_has_a_limit_of_its_own() -> None:
    calls = Calls(Limits(nanos_per_hour=5 * USD))
    spend(calls, 0.02, 8.0, 12)
    assert calls.kinds == ["burn_rate"]


def test_a_burst_is_measured_by_itself() -> None:
    calls = Calls()
    for _ in range(30):
        calls.prompt(100)
        calls.at += 9
    for _ in range(40):
        calls.end(calls.begin(after=0.1))
    assert calls.kinds == ["burst"]
    calls.at += 120
    calls.prompt(100)
    assert calls.over == ["burst"]


def test_a_session_that_is_always_fast_bursts() -> None:
    calls = Calls()
    for _ in range(2_000):
        calls.end(calls.begin(after=0.1))
    assert calls.began == []
