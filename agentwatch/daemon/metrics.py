"""Figures for Prometheus: counted as calls end, and put into its form when somebody asks.

No label names a session, project or team: their number has no bound, and they are nobody else's
business. Models have a label as long as there are few of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from agentwatch.core.call_record import CallRecord

if TYPE_CHECKING:
    from agentwatch.daemon.governor import Governor

#: upper bounds in seconds
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
#: models that have a label of their own
MOST_MODELS = 100
OTHERS = "others"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PER_USD = 1e9


class Durations:
    """A histogram."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self._counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bound, and how many are not above it."""
        told, total = [], 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self._counts, strict=True):
            total += count
            told.append((bound, float(total)))
        return told


class Metrics:
    """What was counted since this process began."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[str, str]] = Counter()
        self._refusals: Counter[str] = Counter()
        self._nanos: Counter[tuple[str, str]] = Counter()
        self._tokens: Counter[tuple[str, str]] = Counter()
        self._risks: Counter[str] = Counter()
        self._models: set[str] = set()
        self._seconds, self._first_byte = Durations(), Durations()

    def saw(self, record: CallRecord) -> None:
        """A call is over, or was refused."""
        if record.verdict == "refused":
            self._refusals[record.reason] += 1
            return
        self._calls[record.provider, record.ended] += 1
        self._nanos[record.provider, self._model(record.model)] += record.cost_nanos
        self._tokens[record.provider, "input"] += record.input_tokens
        self._tokens[record.provider, "output"] += record.output_tokens
        self._seconds.add(record.seconds)
        if record.first_byte_s is not None:
            self._first_byte.add(record.first_byte_s)

    def saw_risks(self, tags: list[str]) -> None:
        """These were seen in one call."""
        self._risks.update(tags)

    def _model(self, name: str) -> str:
        if name not in self._models and len(self._models) >= MOST_MODELS:
            return OTHERS
        self._models.add(name)
        return name

    def text(self, governor: Governor) -> bytes:
        """All of it, with how things stand at the moment."""
        # not before: it takes a tenth of a second to import, and most never ask
        from prometheus_client import generate_latest
        from prometheus_client.registry import Collector

        class Now(Collector):
            def collect(_self) -> Iterator[Any]:  # noqa: N805 - the outer self is meant
                yield from self._counted()
                yield from _standing(governor)

        return generate_latest(Now())

    def _counted(self) -> Iterator[Any]:
        from prometheus_client.core import HistogramMetricFamily

        yield _counter("calls", "Calls that are over.", ("provider", "ended"), self._calls)
        yield _counter("refusals", "Requests refused.", ("reason",), _single(self._refusals))
        cost = Counter({key: nanos / _PER_USD for key, nanos in self._nanos.items()})
        yield _counter("cost_usd", "What calls cost.", ("provider", "model"), cost)
        yield _counter("tokens", "Tokens of calls.", ("provider", "kind"), self._tokens)
        yield _counter("risks", "Calls in which this was seen.", ("tag",), _single(self._risks))
        for name, said, durations in (
            ("call_seconds", "From a call's coming to its end.", self._seconds),
            ("first_byte_seconds", "From a call's coming to its first byte.", self._first_byte),
        ):
            yield HistogramMetricFamily(
                f"agentwatch_{name}", said, durations.buckets(), durations.sum
            )


def _standing(governor: Governor) -> Iterator[Any]:
    store, telemetry = governor.store, governor.telemetry
    now = store.now()
    sessions = store.ledger.sessions.values()
    states = Counter(session.state_at(now) for session in sessions)
    yield _gauge("sessions", "Sessions by state.", ("state",), _single(states))
    yield _gauge("calls_out", "Calls that are out.", (), {(): governor.calls})
    yield _gauge("calls_waiting", "Calls that wait for money.", (), {(): governor.waiting})
    held = sum(session.held for session in sessions) / _PER_USD
    yield _gauge("held_usd", "Money that is set aside.", (), {(): held})
    settled = sum(session.settled for session in sessions) / _PER_USD
    yield _gauge("settled_usd", "What all sessions have spent.", (), {(): settled})
    passes = _single(Counter(governor.passes))
    yield _counter("fail_open", "Calls let through without governance.", ("cause",), passes)
    records = {
        ("written",): telemetry.written,
        ("dropped",): telemetry.dropped,
        ("stripped",): telemetry.stripped,
    }
    yield _counter("telemetry_records", "Records of calls.", ("fate",), records)
    yield _gauge("telemetry_queue", "Records that wait.", (), {(): telemetry.waiting})


def _single(counts: Counter[str]) -> dict[tuple[str, ...], float]:
    return {(name,): float(count) for name, count in counts.items()}


def _family(kind: Callable[..., Any], name: str, said: str, labels: Any, values: Any) -> Any:
    family = kind(f"agentwatch_{name}", said, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(name: str, said: str, labels: Any, values: Any) -> Any:
    from prometheus_client.core import CounterMetricFamily

    return _family(CounterMetricFamily, name, said, labels, values)


def _gauge(name: str, said: str, labels: Any, values: Any) -> Any:
    from prometheus_client.core import GaugeMetricFamily

    return _family(GaugeMetricFamily, name, said, labels, values)
