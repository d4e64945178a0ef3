"""A session's calls for the detectors' tests: one after the other, or as a test wants them."""

from __future__ import annotations

from itertools import count
from typing import Any

from agentwatch.core.anomaly import Begun, Change, Ended, Lane, Limits, Step, Text
from agentwatch.core.anomaly_session import Watched

LANE: Lane = ("gpt-4o", None)


class Calls:
    """Makes calls in one session, a second apart, and keeps what was found."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.watched = Watched(limits or Limits())
        self.at = 1_000.0
        self._numbers = count(1)
        self._said = bytearray(b"the task, as it was set " * 9)
        #: kind and iteration of all that began, and kinds of what ended
        self.began: list[tuple[str, int]] = []
        self.over: list[str] = []
        self.findings: list[Any] = []

    def begin(self, **fields: Any) -> Begun:
        """A call goes out."""
        self.at += fields.pop("after", 1.0)
        number = next(self._numbers)
        # a conversation that goes on, unless a test says otherwise
        self._said += b"%d, and so on; " % number
        talk = {"bound": len(self._said), "text": Text(bytes(self._said))}
        defaults = {"at": self.at, "iteration": number, "lane": LANE, **talk}
        call = Begun(**{**defaults, **fields})
        self._keep(self.watched.begun(call), call.iteration)
        return call

    def end(self, call: Begun, **fields: Any) -> None:
        """It is over."""
        self._keep(self.watched.ended(Ended(call=call, at=self.at, **fields)), call.iteration)

    def prompt(self, tokens: int, lane: Lane = LANE) -> None:
        """A call with a prompt of this size."""
        self.end(self.begin(lane=lane), tokens=tokens)

    def step(self, calls: int = 0, said: tuple[int, ...] = (), told: int = 7, **more: Any) -> None:
        """A call whose answer calls these tools, or says this, after it was told that."""
        self.end(self.begin(last=told, **more), step=Step(calls=calls, said=said))

    def _keep(self, change: Change, iteration: int) -> None:
        self.began += [(name[0], iteration) for name, _ in change.began]
        self.findings += [finding for _, finding in change.began]
        self.over += [kind for kind, _ in change.over]

    @property
    def kinds(self) -> list[str]:
        """What began, in order."""
        return [kind for kind, _ in self.began]
