"""How soon a runaway is noticed, and how often somebody at work is taken for one: `make detect`.

Traces are made by healthy.py and runaways.py from seeds that no threshold was chosen on, and go
through the wire's own readers and meters and the daemon's own folds, at real prices. Told are: how
many of each family are noticed before $2 are gone, after how many calls and dollars of their
running away (median, and 95 of 100), by which detector first; what each detector finds by itself;
and alarms on healthy traces. `--sessions FILE…` replays recorded sessions of coding agents instead.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
import time
import timeit
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import healthy
import recorded
import runaways
from agents import Call

from agentwatch.core.alert import KINDS
from agentwatch.core.anomaly import Begun, Change, Ended, Limits, Step, Text
from agentwatch.core.anomaly_session import Watched
from agentwatch.core.prices import PriceBook, cost
from agentwatch.core.usage import Usage
from agentwatch.pricing import load_book
from agentwatch.wire.anthropic import Anthropic
from agentwatch.wire.dialect import Dialect
from agentwatch.wire.fingerprint import input_marks
from agentwatch.wire.openai import OpenAI

CEILING_USD = 2.0
NANOS = 1_000_000_000
#: calls after which a runaway that costs nothing is let go
MOST_CALLS = 150
#: thresholds were chosen on seeds below this
HELD_OUT = 50_000
WIRES: dict[str, Dialect] = {"openai": OpenAI(), "anthropic": Anthropic()}
PATHS = {"openai": "/chat/completions", "anthropic": "/v1/messages"}


class Session:
    """A session as the daemon watches one."""

    def __init__(self, book: PriceBook, ceiling: int | None = int(CEILING_USD * NANOS)) -> None:
        self._book = book
        self._ceiling = ceiling
        self._watched = Watched(Limits())
        self._out: list[tuple[float, int, Call, Begun, Any]] = []
        self._numbers = itertools.count(1)
        self.calls = 0
        self.nanos = 0
        #: kind of each alert, in order
        self.alerts: list[str] = []

    def take(self, call: Call, wire: str = "openai") -> None:
        """A call begins; those that are over by then end before it."""
        self.end(call.at)
        headers = {"thread-id": call.thread} if call.thread else {}
        ask, request = WIRES[wire].read("POST", PATHS[wire], "", headers, call.body)
        begun = Begun(
            at=call.at,
            iteration=next(self._numbers),
            lane=(ask.model, ask.thread),
            bound=ask.input_bound,
            request=ask.marks.request,
            last=ask.marks.last,
            error=ask.marks.error,
            text=ask.marks.text,
        )
        self.calls += 1
        self._told(self._watched.begun(begun))
        out = (call.at + call.took, begun.iteration, call, begun, request)
        heapq.heappush(self._out, out)

    def end(self, until: float = float("inf")) -> None:
        """All calls that are over by then end."""
        while self._out and self._out[0][0] <= until:
            at, _, call, begun, request = heapq.heappop(self._out)
            self._told(self._watched.ended(self._ended(at, call, begun, request)))

    def _ended(self, at: float, call: Call, begun: Begun, request: Any) -> Ended:
        if call.answer is None:
            return Ended(begun, at, failed=True, ceiling=self._ceiling, left=self._left)
        meter = request.meter(False)
        meter.feed(call.answer)
        meter.close()
        nanos = self._price(call)
        self.nanos += nanos
        end = Ended(begun, at, call.prompt, nanos, step=meter.step)
        return end._replace(ceiling=self._ceiling, left=self._left)

    @property
    def _left(self) -> int | None:
        return None if self._ceiling is None else self._ceiling - self.nanos

    def _price(self, call: Call) -> int:
        price = self._book.find("openai", call.model)
        assert price is not None
        cached = min(call.cached, call.prompt)
        return cost(
            price,
            Usage(input_tokens=call.prompt, cached_input_tokens=cached, output_tokens=call.made),
        )

    def _told(self, change: Change) -> None:
        self.alerts += [kind for (kind, _), _ in change.began]


@dataclass
class Found:
    """What became of one runaway: by detector, calls and nanos of its running away until then."""

    calls: int = 0
    nanos: int = 0
    first: str | None = None
    by: dict[str, tuple[int, int]] = field(default_factory=dict)
    early: list[str] = field(default_factory=list)


def chase(family: runaways.Family, seed: int, book: PriceBook) -> Found:
    """Let one run until its money is gone."""
    session, found = Session(book), Found()
    trace = family(random.Random(f"{family.__name__} {seed}"))
    for call in trace:
        if call is None:
            break
        session.take(call)
    session.end()
    found.early, session.alerts = list(session.alerts), []
    before_calls, before_nanos = session.calls, session.nanos
    for call in trace:
        assert call is not None
        session.take(call)
        if call.took and not _overlap(family):
            session.end(call.at + call.took)
        so_far = (session.calls - before_calls, session.nanos - before_nanos)
        for kind in session.alerts:
            found.first = found.first or kind
            found.by.setdefault(kind, so_far)
        session.alerts.clear()
        if session.nanos >= CEILING_USD * NANOS or so_far[0] >= MOST_CALLS:
            break
    if found.first is not None:
        found.calls, found.nanos = found.by[found.first]
    return found


def _overlap(family: runaways.Family) -> bool:
    return family.__name__ == "fan_out"


def watch(family: healthy.Family, seed: int, book: PriceBook) -> tuple[int, list[str]]:
    """Let one work: its calls, and what was told of it."""
    session = Session(book)
    lots = random.Random(f"{family.__name__} {seed}")
    for call in sorted(family(lots), key=lambda each: each.at):
        session.take(call)
    session.end()
    return session.calls, session.alerts


# ---- what is told


def chased(
    families: dict[str, runaways.Family], seeds: range, book: PriceBook
) -> dict[str, list[Found]]:
    """All traces of these families, run."""
    return {
        name: [chase(family, seed, book) for seed in seeds] for name, family in families.items()
    }


def detection(results: dict[str, list[Found]]) -> None:
    """Print a row a family."""
    heading = f"{'runaway':22} {'noticed':>8} {'calls':>12} {'dollars':>16} {'of $2':>7}"
    print(f"\n{heading}  first noticed by")
    for name, found in results.items():
        print(_row(name, found, [each for each in found if each.first]))
    everything = [each for found in results.values() for each in found]
    noticed = sum(each.first is not None for each in everything) / len(everything)
    early = sum(len(each.early) for each in everything)
    print(f"{'all':22} {noticed:8.1%}   ({early} alarms before it ran away)")


def _row(name: str, found: list[Found], hits: list[Found]) -> str:
    share = f"{name:22} {len(hits) / len(found):8.0%}"
    if not hits:
        return share
    calls = sorted(each.calls for each in hits)
    usd = sorted(each.nanos / NANOS for each in hits)
    firsts = Counter(each.first for each in hits).most_common()
    by = ", ".join(f"{kind} {count / len(hits):.0%}" for kind, count in firsts)
    return (
        f"{share} {median(calls):5.0f} / {_most(calls):4.0f} "
        f"{median(usd):7.3f} / {_most(usd):6.3f} {_most(usd) / CEILING_USD:7.1%}  {by}"
    )


def _most(values: list[Any]) -> Any:
    """What 95 of 100 stay within."""
    return values[min(len(values) - 1, int(len(values) * 0.95))]


def by_detector(results: dict[str, list[Found]]) -> None:
    """Print what each detector notices by itself, in percent of a family."""
    print("\neach detector by itself, in percent of a family")
    for number, name in enumerate(results):
        print(f"  {chr(65 + number)} {name}")
    print(f"{'':20}" + "".join(f"{chr(65 + number):>5}" for number in range(len(results))))
    for kind in KINDS:
        shares = [sum(kind in each.by for each in found) / len(found) for found in results.values()]
        cells = (f"{share * 100:5.0f}" if share else "    ·" for share in shares)
        print(f"{kind:20}" + "".join(cells))


def false_alarms(seeds: range, book: PriceBook) -> tuple[int, int]:
    """Print a row a family; calls and alarms of all."""
    print(f"\n{'at work':22} {'calls':>8} {'alarms':>8} {'per 1,000':>10}")
    calls = alarms = 0
    for name, family in healthy.FAMILIES.items():
        seen = [watch(family, seed, book) for seed in seeds]
        told = [kind for _, kinds in seen for kind in kinds]
        made = sum(count for count, _ in seen)
        calls, alarms = calls + made, alarms + len(told)
        which = ", ".join(f"{kind} {count}" for kind, count in Counter(told).items())
        print(f"{name:22} {made:8,} {len(told):8} {len(told) / made * 1000:10.2f}  {which}")
    print(f"{'all':22} {calls:8,} {alarms:8} {alarms / calls * 1000:10.2f}")
    return calls, alarms


def overhead() -> None:
    """Print what watching costs: time a call, memory a session."""
    calls = list(healthy.coding(random.Random(1)))
    # the list of messages, as the reader of a request has it
    bodies = [call.body[call.body.index(b'"messages": ') + 12 : -1] for call in calls]
    begun = [
        Begun(call.at, n, (call.model, None), len(body), request=n, last=n, text=Text(body))
        for n, (call, body) in enumerate(zip(calls, bodies, strict=True), 1)
    ]
    steps = [Step(calls=n) for n, _ in enumerate(calls, 1)]

    def fold() -> Watched:
        watched = Watched(Limits())
        for call, step in zip(begun, steps, strict=True):
            watched.begun(call)
            watched.ended(Ended(call, call.at + 1, call.bound // 4, 1_000, step=step))
        return watched

    def seconds(work: Callable[[], object]) -> float:
        return min(timeit.repeat(work, timer=time.process_time, number=20, repeat=5)) / 20

    marks, folds = seconds(lambda: [input_marks(body) for body in bodies]), seconds(fold)
    tracemalloc.start()
    kept = [fold() for _ in range(200)]
    size = tracemalloc.get_traced_memory()[0] / len(kept)
    tracemalloc.stop()
    print(
        f"\nfingerprints {marks / len(calls) * 1e6:.1f} µs, folds {folds / len(calls) * 1e6:.1f} µs"
    )
    print(f"of CPU a call (bodies of {sum(map(len, bodies)) // len(bodies) // 1000} KB);", end=" ")
    print(f"{size / 1000:.1f} KB a session with one lane")


# ---- recorded sessions


def replay(lines: Iterable[str], book: PriceBook) -> tuple[int, list[str]]:
    """One recorded session: its calls, and what is told of it."""
    session, at = Session(book, None), 0.0  # what it could spend is not known
    for call in recorded.calls(lines):
        at = max(at + 3.0, call.at)
        told = Call(at, 1.0, "gpt-4o", None, call.body, call.answer, call.prompt, 0, 100)
        session.take(told, call.wire)
    session.end()
    return session.calls, session.alerts


def sessions(paths: list[Path], book: PriceBook) -> None:
    """Print a row a file."""
    print(f"\n{'recorded session':40} {'calls':>8} {'alarms':>8}")
    for path in paths:
        with path.open(encoding="utf-8") as lines:
            calls, told = replay(lines, book)
        print(f"{path.name[-40:]:40} {calls:8,} {len(told):8}  {', '.join(told)}")


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=int, default=100, help="of each family")
    parser.add_argument("--seed", type=int, default=HELD_OUT, help="the first")
    parser.add_argument("--sessions", type=Path, nargs="+", help="recorded sessions, instead")
    arguments = parser.parse_args()
    book = load_book(None)
    if arguments.sessions:
        sessions(arguments.sessions, book)
        return
    seeds = range(arguments.seed, arguments.seed + arguments.traces)
    print(f"{arguments.traces} traces of each family, seeds from {arguments.seed} on")
    results = chased(runaways.FAMILIES, seeds, book)
    detection(results)
    print("\nnot counted above: nothing that is looked at tells these from work", end="")
    detection(chased(runaways.BLIND, seeds, book))
    by_detector(results)
    false_alarms(seeds, book)
    overhead()


if __name__ == "__main__":
    main()
