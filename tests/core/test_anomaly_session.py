"""All detectors of a session together."""

from __future__ import annotations

import sys
from typing import Any

from watching import Calls

from agentwatch.core.anomaly import Step


def test_a_loop_shows_in_all_ways_that_it_has() -> None:
    calls = Calls()
    for number in range(12):
        call = calls.begin(request=9, last=3, bound=1000 + number)
        calls.end(call, tokens=500, step=Step(calls=4))
    assert set(calls.kinds) == {"repeated_request", "repeated_tool_call", "stale_answers"}
    assert len(calls.kinds) == 3


def test_an_agent_at_work_is_told_of() -> None:
    calls = Calls()
    for number in range(300):
        call = calls.begin(request=number, last=number, bound=1000 + 40 * number)
        calls.end(call, tokens=300 + 10 * number, step=Step(calls=1000 + number), nanos=1000)
    assert calls.began == []


def test_memory_grows_with_a_session_s_calls() -> None:
    def after(many: int) -> int:
        calls = Calls()
        for number in range(many):
            call = calls.begin(
                lane=("m", f"t{number % 100}"), request=number, last=number, bound=number + 1
            )
            calls.end(call, tokens=number + 1, step=Step(calls=number + 1), nanos=1)
        return _size(calls.watched, set())

    assert after(4_000) < 1.1 * after(1_000)


def _size(thing: Any, seen: set[int]) -> int:
    """Bytes of an object and all that it holds."""
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    parts: list[Any] = []
    if isinstance(thing, dict):
        parts = [*thing, *thing.values()]
    elif hasattr(thing, "__slots__"):
        parts = [getattr(thing, name) for name in thing.__slots__]
    elif hasattr(thing, "__dict__"):
        parts = [thing.__dict__]
    if isinstance(thing, (list, tuple)) or type(thing).__name__ == "deque":
        parts += list(thing)
    return sys.getsizeof(thing) + sum(_size(part, seen) for part in parts)
