"""All detectors of one session together: a call's beginning or end in, what changed out."""

from __future__ import annotations

from itertools import chain

from agentwatch.core.anomaly import Begun, Change, Ended, Episodes, Lanes, Limits
from agentwatch.core.anomaly_growth import Growth
from agentwatch.core.anomaly_pace import Pace
from agentwatch.core.anomaly_repeats import Repeats, Requests


class Watched:
    """One session."""

    __slots__ = ("_episodes", "_growth", "_limits", "_pace", "_repeats", "_requests")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._episodes = Episodes()
        self._requests = Requests(limits)
        self._pace = Pace(limits)
        self._growth = Lanes()
        self._repeats = Lanes()

    def begun(self, call: Begun) -> Change:
        """A call was let through."""
        growth, repeats = self._lane(call)
        levels = chain(
            growth.begun(call),
            self._requests.begun(call),
            repeats.begun(call),
            self._pace.begun(call),
        )
        return self._episodes.take(levels)

    def ended(self, end: Ended) -> Change:
        """It is over."""
        growth, repeats = self._lane(end.call)
        self._requests.ended(end)
        levels = chain(
            growth.ended(end),
            repeats.ended(end),
            self._pace.ended(end),
        )
        return self._episodes.take(levels)

    def _lane(self, call: Begun) -> tuple[Growth, Repeats]:
        lane, limits = call.lane, self._limits
        growth = self._growth.of(lane, lambda: Growth(lane))
        return growth, self._repeats.of(lane, lambda: Repeats(lane, limits))
