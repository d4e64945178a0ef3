"""Watches one session's calls as they begin and end: what is wrong right now, as a fold.

Each detector is a fold of its own over values that hold numbers and fingerprints, no text. It is
asked at each call whether its condition holds (a Finding, or None); `Episodes` makes of that one
start and one end for each event, however many calls it lasts. All of a session's memory is bounded:
windows of a few calls, for at most LANES lanes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from msgspec import Struct

from agentwatch.core import alert
from agentwatch.core.prompt_sizes import LANES

#: the model, and the thread that the client names
Lane = tuple[str, str | None]
#: the smallest hashes of a text's words (see wire/fingerprint.py); empty: there is no text
Sketch = tuple[int, ...]
#: bytes at each place where a request is looked at, to be found again in one that goes on with it
PLACE = 48
#: where instructions stand elsewhere: the places, in percent of its length
SHARES = (60, 75, 90)
#: hashes of a sketch; with one less in common two texts say the same
SKETCH = 8
#: words in common below which only the very same is the same
SHORTEST = 4


class Limits(Struct, frozen=True, kw_only=True):
    """How much of something is too much. docs/anomalies.md tells how each was chosen."""

    #: the same request, tool call, answer or error so often
    repeats: int = 5
    #: rounds of a cycle of tool calls or answers
    cycle_rounds: int = 3
    #: steps in a row that were all seen before
    stale_steps: int = 8
    #: calls in a row that fail
    failures: int = 6
    #: calls within ten seconds, and how far above the session's own pace
    burst_calls: int = 20
    burst_factor: float = 8.0
    #: calls that are out at once
    fan_out_calls: int = 20
    #: the ceiling is reached within so many seconds at this pace, though half of it is left
    ceiling_within_s: float = 120.0
    #: nanos an hour; None: any
    nanos_per_hour: int | None = None


class Finding(NamedTuple):
    """A detector's condition that holds. `evidence` has figures and names only."""

    kind: str
    severity: str
    message: str
    evidence: dict[str, Any]


class Spine(NamedTuple):
    """What is remembered of a request's bytes: how many they were, hashes of what ends at some
    places, and how many of these must be found again."""

    length: int
    places: tuple[tuple[int, int], ...]
    unchanged: int


class Text:
    """The bytes of a request's messages.

    Instructions may stand before them and be the same in all requests: then one goes on with
    another only where it has the other's very end. Where they stand elsewhere (`bare`), most of
    some places will do, which is as well: such clients mark the end of a request for the cache, and
    take the mark out in the next one.
    """

    __slots__ = ("_bare", "_raw")

    def __init__(self, raw: bytes | memoryview, *, bare: bool = False) -> None:
        self._raw = memoryview(raw)
        self._bare = bare

    def spine(self) -> Spine:
        """What is to be remembered of it."""
        length = len(self._raw)
        # the last byte closes the list
        ends = [length * share // 100 for share in SHARES] if self._bare else [length - 1]
        places = tuple((end, self._at(end)) for end in ends)
        return Spine(length, places, len(ends) // 2 + 1)

    def goes_on_with(self, earlier: Spine) -> bool:
        """Whether this is an earlier request and more: the same conversation, and not another one
        that begins with the same instructions."""
        if len(self._raw) <= earlier.length:
            return False
        found = sum(self._at(end) == hashed for end, hashed in earlier.places)
        return found >= earlier.unchanged

    def _at(self, end: int) -> int:
        return hash(bytes(self._raw[max(0, end - PLACE) : max(0, end)]))


class Begun(NamedTuple):
    """A call that was let through. Fingerprints are 0 or empty where nothing is known."""

    at: float
    iteration: int
    lane: Lane
    #: the bound of its input, in tokens; 0: it says nothing
    bound: int = 0
    #: its input, where whoever asks has counted it himself
    tokens: int | None = None
    #: the whole request, and what is new in it
    request: int = 0
    last: int = 0
    #: what is new in it, where that looks like an error
    error: Sketch = ()
    #: its bytes, which are looked at and not kept
    text: Text | None = None


class Step(NamedTuple):
    """What an answer did: the tools it called, or what it said; neither where it is empty."""

    calls: int = 0
    said: Sketch = ()


class Ended(NamedTuple):
    """A call that is over."""

    call: Begun
    at: float
    #: input as the provider reported it; None: it did not
    tokens: int | None = None
    nanos: int = 0
    #: it was refused or failed: nothing came of it
    failed: bool = False
    #: None: not known
    step: Step | None = None
    #: the session's ceiling and what is left of it, in nanos; None: nothing bounds it
    ceiling: int | None = None
    left: int | None = None


#: what a condition is known by: its kind, and its lane where it is one of a lane
Name = tuple[str, Lane | None]
Levels = Iterator[tuple[Name, Finding | None]]


class Change(NamedTuple):
    """What began and what ended with one call."""

    began: list[tuple[Name, Finding]]
    over: list[Name]


class Episodes:
    """Makes one start and one end out of a condition that holds for many calls."""

    def __init__(self, already: Iterable[Name] = ()) -> None:
        #: what holds at the moment; of what is `already` so, only the end is told
        self._open: OrderedDict[Name, None] = OrderedDict.fromkeys(already)

    def take(self, levels: Levels) -> Change:
        """What these conditions change."""
        change = Change([], [])
        for name, finding in levels:
            if finding is None:
                if self._open and name in self._open:
                    del self._open[name]
                    change.over.append(name)
            elif name not in self._open:
                self._open[name] = None
                change.began.append((name, finding))
        while len(self._open) > len(alert.KINDS) * LANES:
            self._open.popitem(last=False)
        return change


def alike(one: Sketch, other: Sketch) -> bool:
    """Whether two texts say the same, but for numbers and a word or two."""
    if one == other:
        return True
    return len(set(one).intersection(other)) >= max(SHORTEST, len(one) - 1, len(other) - 1)


class Lanes(OrderedDict[Lane, Any]):
    """Something for each lane that was seen of late."""

    def of(self, lane: Lane, make: Any) -> Any:
        """This lane's, made where it is new."""
        found = self.get(lane)
        if found is None:
            found = self[lane] = make()
            if len(self) > LANES:
                self.popitem(last=False)
        else:
            self.move_to_end(lane)
        return found
