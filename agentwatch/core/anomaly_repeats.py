"""A session that does the same again: requests, tool calls, cycles, answers, errors.

A step is what an answer did: which tools it called with which arguments, or else what it said.
For each period up to LONGEST_CYCLE it is counted how many steps in a row equal the one a period
before, and for how many of them what the agent was told was the same, too: who polls a job that
goes on is told something else each time, and may go on for twice as long.
"""

from __future__ import annotations

from collections import deque

from agentwatch.core.alert import (
    CYCLE,
    REPEATED_REQUEST,
    REPEATED_TOOL_CALL,
    SAME_ERROR,
    STALE_ANSWERS,
    WARNING,
)
from agentwatch.core.anomaly import Begun, Ended, Finding, Lane, Levels, Limits, Step, alike

LONGEST_CYCLE = 6
#: steps that are remembered, and requests
STEPS = 24
REQUESTS = 32
#: with other results each time, repeating is suspicious so much later
PATIENCE = 2


class Requests:
    """The same request again, in a whole session: a thread that is started anew has another lane.

    Only those that ended count: to ask for the same several times at once is to ask for choices.
    """

    __slots__ = ("_limit", "_open", "_seen")

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.repeats
        self._seen: deque[int] = deque(maxlen=REQUESTS)
        #: the request that is told of
        self._open = 0

    def begun(self, call: Begun) -> Levels:
        """A call was let through. What is told of once holds until it has faded, whatever else
        is asked for in between."""
        times = self._seen.count(call.request) + 1
        if call.request and times >= self._limit:
            self._open = call.request
            yield (REPEATED_REQUEST, None), self._found(call, times)
        elif self._open and self._seen.count(self._open) < self._limit - 1:
            self._open = 0
            yield (REPEATED_REQUEST, None), None

    def _found(self, call: Begun, times: int) -> Finding:
        return Finding(
            REPEATED_REQUEST,
            WARNING,
            f"the same request for the {times}th time within {REQUESTS} calls",
            {"model": call.lane[0], "times": times, "calls": len(self._seen) + 1},
        )

    def ended(self, end: Ended) -> None:
        """It is over."""
        if end.call.request:
            self._seen.append(end.call.request)


class Repeats:
    """One lane's steps."""

    __slots__ = ("_errors", "_lane", "_limits", "_same", "_stale", "_steps", "_told", "_told_same")

    def __init__(self, lane: Lane, limits: Limits) -> None:
        self._lane = lane
        self._limits = limits
        #: the newest first, so that the one a period before is found by the period
        self._steps: deque[tuple[Step, int]] = deque(maxlen=STEPS)
        self._same = [0] * (LONGEST_CYCLE + 1)
        self._told_same = [0] * (LONGEST_CYCLE + 1)
        self._stale = 0
        self._errors = 0
        self._told: Begun | None = None

    # ---- what the agent is told

    def begun(self, call: Begun) -> Levels:
        """A call was let through: is the agent told of the same error again?"""
        before, self._told = self._told, call
        again = before is not None and call.bound > before.bound and alike(call.error, before.error)
        self._errors = 0 if not call.error else self._errors + 1 if again else 1
        yield (SAME_ERROR, self._lane), self._same_error()

    def _same_error(self) -> Finding | None:
        if self._errors < self._limits.repeats:
            return None
        return self._finding(
            SAME_ERROR, f"told of the same error {self._errors} times in a row", times=self._errors
        )

    # ---- what it does

    def ended(self, end: Ended) -> Levels:
        """An answer came: is it what came before?"""
        if end.step is None or end.failed:
            return
        self._count(end.step, end.call.last)
        yield (REPEATED_TOOL_CALL, self._lane), self._repeated(end.step)
        yield (CYCLE, self._lane), self._cycle()
        yield (STALE_ANSWERS, self._lane), self._stale_answers(end.step)

    def _count(self, step: Step, told: int) -> None:
        for period in range(1, LONGEST_CYCLE + 1):
            earlier = self._steps[period - 1] if period <= len(self._steps) else None
            same = earlier is not None and _equal(step, earlier[0])
            self._same[period] = self._same[period] + 1 if same else 0
            told_same = earlier is not None and same and told == earlier[1]
            self._told_same[period] = self._told_same[period] + 1 if told_same else 0
        known = any(_equal(step, earlier) for earlier, _ in self._steps)
        self._stale = self._stale + 1 if known else 0
        self._steps.appendleft((step, told))

    def _repeated(self, step: Step) -> Finding | None:
        times = self._same[1] + 1
        # the first of a row is told something else than what the tool answers
        enough = self._told_same[1] + 2 >= self._limits.repeats
        most = self._limits.repeats if enough else PATIENCE * self._limits.repeats
        if not step.calls or times < most:
            return None
        return self._finding(
            REPEATED_TOOL_CALL,
            f"the same tool call with the same arguments, {times} times in a row",
            times=times,
        )

    def _cycle(self) -> Finding | None:
        rounds = self._limits.cycle_rounds
        for period in range(2, LONGEST_CYCLE + 1):
            steps, told = self._same[period], self._told_same[period]
            enough = told >= period * (rounds - 1) or steps >= period * (PATIENCE * rounds - 1)
            if enough and not self._is_one_step(steps):
                return self._finding(
                    CYCLE,
                    f"the same {period} steps in the same order, {steps // period + 1} times",
                    period=period,
                    rounds=steps // period + 1,
                )
        return None

    def _is_one_step(self, steps: int) -> bool:
        """The row is one step again and again, which is not called a cycle."""
        return self._same[1] >= steps

    def _stale_answers(self, step: Step) -> Finding | None:
        times, empty = self._same[1] + 1, not (step.calls or step.said)
        if not step.calls and times >= self._limits.repeats:
            what = "empty answers" if empty else "answers that say the same"
            return self._finding(
                STALE_ANSWERS, f"{times} {what} in a row", times=times, empty=empty
            )
        if self._stale >= self._limits.stale_steps:
            return self._finding(
                STALE_ANSWERS,
                f"{self._stale} steps in a row brought nothing that was not done before",
                times=self._stale,
                empty=False,
            )
        return None

    def _finding(self, kind: str, message: str, **figures: object) -> Finding:
        model, thread = self._lane
        return Finding(kind, WARNING, message, {"model": model, "thread": thread, **figures})


def _equal(one: Step, other: Step) -> bool:
    if one.calls or other.calls:
        return one.calls == other.calls
    return alike(one.said, other.said)
