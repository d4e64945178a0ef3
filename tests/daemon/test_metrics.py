"""Figures for Prometheus: counted right, in a form that it reads, and bounded."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from workbench import DONE, END, FakeAnswer, bench, event, said, usage

from agentwatch.core.call_record import CallRecord
from agentwatch.daemon.metrics import BUCKETS, MOST_MODELS, Durations, Metrics


def record(**fields: Any) -> CallRecord:
    return CallRecord(request_id="h", session_id="s", at=0.0, provider="openai", **fields)


def samples(text: bytes) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by its name and the values of its labels."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


async def test_a_call_is_counted_with_all_that_is_told_of_it() -> None:
    answer = FakeAnswer(said("a", "b"), event(choices=[], usage=usage(10, 2)), DONE, END)
    async with bench(answer) as made:
        session = made.open()
        await made.start(stream=True)
        await made.tasks.wait(5)
        made.telemetry.saw_risks("s", ["PII_IP"])
        told = samples(made.telemetry.metrics.text(made.governor))
        assert told["agentwatch_calls_total", ("complete", "openai")] == 1
        assert told["agentwatch_tokens_total", ("input", "openai")] == 10
        assert told["agentwatch_tokens_total", ("output", "openai")] == 2
        cost = told["agentwatch_cost_usd_total", ("gpt-4", "openai")]
        assert cost == told["agentwatch_settled_usd", ()] == session.settled / 1e9 > 0
        assert told["agentwatch_call_seconds_count", ()] == 1
        assert told["agentwatch_risks_total", ("PII_IP",)] == 1
        assert told["agentwatch_sessions", ("active",)] == 1
        assert session.risks == {"PII_IP": 1}


async def test_models_that_can_be_made_up_have_no_label_each() -> None:
    metrics = Metrics()
    for number in range(3 * MOST_MODELS):
        metrics.saw(record(model=f"made-up-{number}", cost_nanos=1))
    async with bench() as made:
        told = samples(metrics.text(made.governor))
    costs = {key: value for key, value in told.items() if key[0] == "agentwatch_cost_usd_total"}
    assert len(costs) == MOST_MODELS + 1
    assert round(costs["agentwatch_cost_usd_total", ("others", "openai")] * 1e9) == 2 * MOST_MODELS


def test_refusals_are_no_calls() -> None:
    metrics = Metrics()
    metrics.saw(record(verdict="refused", reason="bad_request"))
    assert not metrics._calls and metrics._refusals == {"bad_request": 1}


def test_durations_are_counted_up_to_each_bound() -> None:
    durations = Durations()
    for seconds in (0.01, BUCKETS[0], 0.2, 1_000.0):
        durations.add(seconds)
    told = dict(durations.buckets())
    assert told["0.05"] == 2 and told["0.25"] == 3 and told["300.0"] == 3 and told["+Inf"] == 4
