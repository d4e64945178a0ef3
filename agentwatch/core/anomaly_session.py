"""All detectors of one session together: a call's beginning or end in, what changed out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain

from agentwatch.core.anomaly import Begun, Change, Ended, Episodes, Lanes, Limits, Name
from agentwatch.core.anomaly_growth import Growth
from agentwatch.core.anomaly_pace import Pace
from agentwatch.core.anomaly_repeats import Repeats, Requests
from agentwatch.core.prompt_sizes import Sizes, lane_key


class Watched:
    """One session. `sizes` are those of its last prompts by the lane's key, as its account keeps
    them; `already`: conditions that are known to hold."""

    __slots__ = ("_episodes", "_growth", "_limits", "_pace", "_repeats", "_requests", "_sizes")

    def __init__(
        self,
        limits: Limits,
        sizes: Mapping[str, Sizes] | None = None,
        already: Iterable[Name] = (),
    ) -> None:
        self._limits = limits
        self._sizes = {} if sizes is None else sizes
        self._episodes = Episodes(already)
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
        growth = self._growth.of(lane, lambda: Growth(lane, self._sizes.get(lane_key(*lane), ())))
        return growth, self._repeats.of(lane, lambda: Repeats(lane, limits))
