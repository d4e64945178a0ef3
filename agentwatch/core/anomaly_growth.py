"""`prompt_growth`: in a lane's last five prompts, three consecutive growths above 1.4.

Sizes stand in the order of their iterations, in whichever order the calls end. A call that is out
is judged by its size before it was sent, scaled by what the last one's came to; as that is an
estimate, it raises an alert only where the provider's own count can hardly take it back.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from agentwatch.core.alert import INFO, PROMPT_GROWTH, WARNING
from agentwatch.core.anomaly import Begun, Ended, Finding, Lane, Levels
from agentwatch.core.prompt_sizes import WINDOW, Sizes, drop, put

CONSECUTIVE = 3
#: as a fraction, so that a growth of exactly 1.4 is none
RATIO = (7, 5)
#: tokens of the newest prompt from which growth costs something
SEVERE_TOKENS = 1_000
#: an estimated size must be above what is asked for by so much, in tenths
CLEAR_TENTHS = 11


class Growth:
    """One lane's window."""

    __slots__ = ("_bound", "_guessed", "_lane", "_sizes", "_tokens")

    def __init__(self, lane: Lane, sizes: Iterable[tuple[int, int]] = ()) -> None:
        self._lane = lane
        #: the last prompts; those of before the daemon was started again are handed in
        self._sizes = list(sizes)
        #: bound and tokens of a call that ended, by which others are estimated
        self._bound, self._tokens = 0, 0
        #: the call that is out, and was judged by an estimate
        self._guessed = 0

    def begun(self, call: Begun) -> Levels:
        """A call was let through. Where nothing is known of its size, nothing has changed."""
        if call.tokens:
            put(self._sizes, call.iteration, call.tokens)
            yield from self._levels(self._sizes)
        elif (guess := self._guess(call)) is not None:
            self._guessed = call.iteration
            yield from self._levels([*self._sizes[1 - WINDOW :], (call.iteration, guess)])

    def ended(self, end: Ended) -> Levels:
        """It is over: by what the provider counted."""
        call = end.call
        if self._guessed == call.iteration:
            self._guessed = 0
        if end.tokens:
            put(self._sizes, call.iteration, end.tokens)
            self._bound, self._tokens = call.bound, end.tokens
            yield from self._levels(self._sizes)
        elif end.failed:
            drop(self._sizes, call.iteration)

    def _levels(self, sizes: Sizes) -> Levels:
        """It holds from CONSECUTIVE growths on, until a ratio is seen that is none; while a call is
        out that was judged by an estimate, what others came to says nothing."""
        window = [tokens for _, tokens in sizes]
        run = _run(window)
        if run >= CONSECUTIVE:
            yield (PROMPT_GROWTH, self._lane), self._found(window)
        elif run + 1 < len(window) and not self._guessed:
            yield (PROMPT_GROWTH, self._lane), None

    def _guess(self, call: Begun) -> int | None:
        """The call's size, as the least that it will come to; None where that says nothing."""
        if not (self._bound and call.bound and self._sizes):
            return None
        if call.iteration < self._sizes[-1][0]:
            return None
        least = call.bound * self._tokens * 10 // (self._bound * CLEAR_TENTHS)
        return least if least >= SEVERE_TOKENS else None

    def _found(self, window: list[int]) -> Finding:
        newest = window[-1]
        model, thread = self._lane
        ratios = [round(later / earlier, 3) for earlier, later in pairwise(window)]
        return Finding(
            PROMPT_GROWTH,
            INFO if newest < SEVERE_TOKENS else WARNING,
            f"prompts grow by more than 1.4 a call, three calls in a row: now {newest:,} tokens",
            {
                "model": model,
                "thread": thread,
                "prompt_tokens": window,
                "ratios": ratios[-CONSECUTIVE:],
            },
        )


def _run(window: list[int]) -> int:
    """How many of the newest ratios in a row are above RATIO."""
    above, below = RATIO
    run = 0
    for earlier, later in zip(window[-2::-1], window[::-1], strict=False):
        if below * later <= above * earlier:
            break
        run += 1
    return run
