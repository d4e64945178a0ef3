"""Records as OpenTelemetry spans: the names of the conventions, ids that stay, times that fit."""

from __future__ import annotations

import json
from typing import Any

from agentwatch.core.call_record import CallRecord, as_row, exported
from agentwatch_cli.otlp import spans


def line(**fields: Any) -> str:
    made = CallRecord(request_id="h1", session_id="s", at=1000.5, seconds=0.25, iteration=1)
    return json.dumps(exported(as_row(made) | fields))


def span_of(told: str) -> dict[str, Any]:
    (resource,) = json.loads(told)["resourceSpans"]
    (scope,) = resource["scopeSpans"]
    (span,) = scope["spans"]
    return span  # type: ignore[no-any-return]


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}


def test_a_call_is_a_span_of_its_session_s_trace() -> None:
    lines = [
        line(provider="gemini", model="m-2", model_asked="m", input_tokens=3, cost_nanos=5_000),
        line(request_id="h2", ended="killed", risks=["PII_IP"]),
        line(iteration=None, verdict="refused"),
    ]
    first, second = map(span_of, spans(lines))
    assert first["traceId"] == second["traceId"] and first["spanId"] != second["spanId"]
    assert (len(first["traceId"]), len(first["spanId"])) == (32, 16)
    assert int(first["endTimeUnixNano"]) - int(first["startTimeUnixNano"]) == 250_000_000
    said = attributes(first)
    assert said["gen_ai.provider.name"] == "gcp.gemini"
    assert (said["gen_ai.request.model"], said["gen_ai.response.model"]) == ("m", "m-2")
    assert said["gen_ai.usage.input_tokens"] == "3"
    assert said["agentwatch.cost.usd"] == 5e-06
    assert first["status"]["code"] == 1 and second["status"]["code"] == 2
    assert attributes(second)["error.type"] == "killed"
    assert attributes(second)["agentwatch.risks"] == {"values": [{"stringValue": "PII_IP"}]}


def test_the_same_record_has_the_same_ids_at_every_export() -> None:
    assert list(spans([line()])) == list(spans([line()]))
