"""A session that fails, spends or asks too fast: failures in a row, burn rate, burst, fan-out.

Rates are sums that fade with time: two numbers each, however many calls there were.
"""

from __future__ import annotations

import math

from agentwatch.core.alert import BURN_RATE, BURST, FAILING_CALLS, FAN_OUT, WARNING
from agentwatch.core.anomaly import Begun, Ended, Finding, Levels, Limits
from agentwatch.core.money import to_usd

#: seconds over which spending, and calls, are averaged
BURN_S = 60.0
BURST_S = 10.0
OWN_PACE_S = 600.0
#: nothing is said of a rate before the session has this age in seconds, or so many calls
YOUNG_S = 30.0
FEW_CALLS = 5


class Faded:
    """A sum whose parts fade: after `over_s` seconds a third of each is left."""

    __slots__ = ("_at", "_over_s", "_since", "_sum")

    def __init__(self, over_s: float) -> None:
        self._over_s = over_s
        self._since: float | None = None
        self._at = 0.0
        self._sum = 0.0

    def add(self, at: float, amount: float) -> None:
        """Something happened at `at`, in seconds; a clock that was put back stands still."""
        if self._since is None:
            self._since = self._at = at
        self._fade(at)
        self._sum += amount

    def per_s(self, at: float) -> float:
        """The average a second. Right from the start: what is young has had less time to fade."""
        if self._since is None:
            return 0.0
        self._fade(at)
        share = 1.0 - math.exp(-(self._at - self._since) / self._over_s)
        return self._sum / (self._over_s * share) if share > 0 else math.inf

    def age(self, at: float) -> float:
        """Seconds since the first."""
        return 0.0 if self._since is None else max(0.0, at - self._since)

    def _fade(self, at: float) -> None:
        passed = at - self._at
        if passed > 0:
            self._sum *= math.exp(-passed / self._over_s)
            self._at = at


class Pace:
    """One session's."""

    __slots__ = ("_bursting", "_calls", "_failures", "_fanned", "_limits", "_out", "_own", "_spent")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._out = 0
        self._failures = 0
        self._calls = 0
        self._spent = Faded(BURN_S)
        self._bursting = Faded(BURST_S)
        self._own = Faded(OWN_PACE_S)
        self._fanned = False

    def begun(self, call: Begun) -> Levels:
        """A call was let through."""
        self._out += 1
        self._calls += 1
        # compared with the pace before, or a burst would be its own measure
        own = self._own.per_s(call.at)
        self._own.add(call.at, 1.0)
        self._bursting.add(call.at, 1.0)
        yield (FAN_OUT, None), self._fan_out()
        yield (BURST, None), self._burst(call.at, own)

    def ended(self, end: Ended) -> Levels:
        """It is over."""
        self._out = max(0, self._out - 1)
        self._failures = self._failures + 1 if end.failed else 0
        self._spent.add(end.at, end.nanos)
        yield (FAILING_CALLS, None), self._failing()
        yield (FAN_OUT, None), self._fan_out()
        yield (BURN_RATE, None), self._burn(end)

    def _fan_out(self) -> Finding | None:
        most = self._limits.fan_out_calls
        # it is over when half of them are back
        self._fanned = self._out >= most or (self._fanned and self._out > most // 2)
        if not self._fanned:
            return None
        return Finding(FAN_OUT, WARNING, f"{self._out} calls are out at once", {"out": self._out})

    def _burst(self, at: float, own: float) -> Finding | None:
        now = self._bursting.per_s(at) if self._bursting.age(at) >= BURST_S else 0.0
        calls = now * BURST_S
        if self._own.age(at) < YOUNG_S or calls < self._limits.burst_calls:
            return None
        if now < own * self._limits.burst_factor:
            return None
        return Finding(
            BURST,
            WARNING,
            f"{calls:.0f} calls within {BURST_S:.0f} s, {now / own:.0f} times its own pace",
            {"calls": round(calls), "seconds": BURST_S, "times_own_pace": round(now / own, 1)},
        )

    def _failing(self) -> Finding | None:
        if self._failures < self._limits.failures:
            return None
        return Finding(
            FAILING_CALLS,
            WARNING,
            f"{self._failures} calls in a row failed",
            {"times": self._failures},
        )

    def _burn(self, end: Ended) -> Finding | None:
        if self._spent.age(end.at) < YOUNG_S or self._calls < FEW_CALLS:
            return None
        per_s = self._spent.per_s(end.at)
        most = self._limits.nanos_per_hour
        figures = {"usd_per_hour": to_usd(round(per_s * 3600)), "ceiling_in_s": None}
        if most is not None and per_s * 3600 > most:
            return Finding(
                BURN_RATE, WARNING, f"spends ${figures['usd_per_hour']:.2f} an hour", figures
            )
        if end.ceiling is None or end.left is None or per_s <= 0 or 2 * end.left < end.ceiling:
            return None
        in_s = end.left / per_s
        if in_s >= self._limits.ceiling_within_s:
            return None
        figures["ceiling_in_s"] = round(in_s, 1)
        message = f"at this pace the ceiling is reached in {in_s:.0f} s"
        return Finding(BURN_RATE, WARNING, message, figures)
