"""A session that does the same again: requests, tool calls, cycles, answers, errors.

A step is what an answer did: which tools it called with which arguments, or else what it said.
For each period up to LONGEST_CYCLE it is counted how many steps in a row equal the one a period
before, and for how many of them what the agent was told was the same, too: who polls a job that
goes on is told something else each time, and may go on for PATIENCE times as long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from agentwatch.core.alert import (
    CYCLE,
    REPEATED_REQUEST,
    REPEATED_TOOL_CALL,
    SAME_ERROR,
    STALE_ANSWERS,
    WARNING,
)
from agentwatch.core.anomaly import (
    Begun,
    Ended,
    Finding,
    Lane,
    Levels,
    Limits,
    Sketch,
    Spine,
    Step,
    alike,
)

LONGEST_CYCLE = 6
#: steps that are remembered, and requests
STEPS = 24
REQUESTS = 32
#: requests that a new one may go on with
INTERWOVEN = 4
#: with other results each time, repeating is suspicious so much later
PATIENCE = 2


class Requests:
    """The same request again, in a whole session: a thread that is started anew has another lane.

    What is asked for several times at once counts as once: those are choices.
    """

    __slots__ = ("_limit", "_newest", "_open", "_seen", "_until")

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.repeats
        self._newest = 0
        self._seen: deque[int] = deque(maxlen=REQUESTS)
        #: of a request that was seen, the newest call when it was counted last
        self._until: dict[int, int] = {}
        #: the request that is told of
        self._open = 0

    def begun(self, call: Begun) -> Levels:
        """A call was let through. What is told of once holds until it has faded, whatever else
        is asked for in between."""
        self._newest = max(self._newest, call.iteration)
        times = self._seen.count(call.request) + 1
        if call.request and times >= self._limit:
            self._open = call.request
            yield (REPEATED_REQUEST, None), self._found(call, times)
        elif self._open and self._seen.count(self._open) < self._limit - 1:
            self._open = 0
            yield (REPEATED_REQUEST, None), None

    def ended(self, end: Ended) -> None:
        """It is over."""
        request = end.call.request
        if not request or end.call.iteration <= self._until.get(request, 0):
            return
        if len(self._seen) == REQUESTS and self._seen.count(self._seen[0]) == 1:
            self._until.pop(self._seen[0], None)
        self._seen.append(request)
        self._until[request] = self._newest

    def _found(self, call: Begun, times: int) -> Finding:
        return Finding(
            REPEATED_REQUEST,
            WARNING,
            f"the same request, {times} times within {REQUESTS} calls",
            {"model": call.lane[0], "times": times, "calls": len(self._seen) + 1},
        )


class _Asked(NamedTuple):
    """A request, as far as it is remembered."""

    request: int
    spine: Spine | None
    last: int
    error: Sketch


class Repeats:
    """One lane's steps."""

    __slots__ = (
        "_before",
        "_errors",
        "_lane",
        "_limits",
        "_newest",
        "_same",
        "_seen_until",
        "_stale",
        "_steps",
        "_told",
        "_told_same",
    )

    def __init__(self, lane: Lane, limits: Limits) -> None:
        self._lane = lane
        self._limits = limits
        #: steps and what was told before each, the newest first: found by their period
        self._steps: deque[Step] = deque(maxlen=STEPS)
        self._told: deque[int] = deque(maxlen=STEPS)
        self._same = [0] * LONGEST_CYCLE
        self._told_same = [0] * LONGEST_CYCLE
        self._stale = 0
        self._errors = 0
        #: the last requests, the newest first: of two agents in one lane each goes on with its own
        self._before: deque[_Asked] = deque(maxlen=INTERWOVEN)
        #: the newest call, and the one that was so at the last step: who began by then had not seen
        #: what came of it, and does not do it again
        self._newest = self._seen_until = 0

    # ---- what the agent is told

    def begun(self, call: Begun) -> Levels:
        """A call was let through: is the agent told of the same error again?"""
        self._newest = max(self._newest, call.iteration)
        if call.request and any(call.request == each.request for each in self._before):
            return  # asked for again, as after a failure: nobody was told anything
        before = self._goes_on_with(call)
        again = before is not None and alike(call.error, before.error)
        self._errors = 0 if not call.error else self._errors + 1 if again else 1
        if before is None and not any(call.last == each.last for each in self._before):
            self._forget()
        spine = None if call.text is None else call.text.spine()
        self._before.appendleft(_Asked(call.request, spine, call.last, call.error))
        yield (SAME_ERROR, self._lane), self._same_error()

    def _goes_on_with(self, call: Begun) -> _Asked | None:
        """Which of the last requests this one goes on with."""
        text = call.text
        for each in self._before:
            if text is not None and each.spine is not None and text.goes_on_with(each.spine):
                return each
        return None

    def _forget(self) -> None:
        """Another conversation begins: what was done in one is not done again in the next. A batch
        of documents may well have the same answer to each."""
        self._steps.clear()
        self._told.clear()

    def _same_error(self) -> Finding | None:
        if self._errors < self._limits.repeats:
            return None
        return self._finding(
            SAME_ERROR, f"told of the same error {self._errors} times in a row", times=self._errors
        )

    # ---- what it does

    def ended(self, end: Ended) -> Levels:
        """An answer came: is it what came before?"""
        if end.step is None or end.failed or end.call.iteration <= self._seen_until:
            return
        self._seen_until = self._newest
        self._count(end.step, end.call.last)
        yield (REPEATED_TOOL_CALL, self._lane), self._repeated(end.step)
        yield (CYCLE, self._lane), self._cycle()
        yield (STALE_ANSWERS, self._lane), self._stale_answers(end.step)

    def _count(self, step: Step, told: int) -> None:
        equal = _equal(step, self._steps)
        known = True in equal and told in self._told
        self._stale = self._stale + 1 if known else 0
        same, told_same = self._same, self._told_same
        for place in range(LONGEST_CYCLE):
            if place < len(equal) and equal[place]:
                same[place] += 1
                told_same[place] = told_same[place] + 1 if told == self._told[place] else 0
            else:
                same[place] = told_same[place] = 0
        self._steps.appendleft(step)
        self._told.appendleft(told)

    def _repeated(self, step: Step) -> Finding | None:
        times = self._same[0] + 1
        # so many of them have been answered, and in the same way
        enough = self._told_same[0] + 1 >= self._limits.repeats
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
            steps, told = self._same[period - 1], self._told_same[period - 1]
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
        return self._same[0] >= steps

    def _stale_answers(self, step: Step) -> Finding | None:
        times, empty = self._same[0] + 1, not (step.calls or step.said)
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


def _equal(step: Step, earlier: Iterable[Step]) -> list[bool]:
    """Which of these did the same."""
    calls, said = step.calls, step.said
    if calls:
        return [calls == each.calls for each in earlier]
    return [not each.calls and alike(said, each.said) for each in earlier]
