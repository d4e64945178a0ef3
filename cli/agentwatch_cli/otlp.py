"""Records of calls as OpenTelemetry spans: OTLP's JSON, by the conventions for generative AI.

No library of OpenTelemetry is needed: each line is a request that a collector takes at
`/v1/traces` (or reads with its `otlpjsonfile` receiver). A session is a trace.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

#: the conventions' names of what we call otherwise
_SYSTEMS = {"xai": "x_ai", "gemini": "gcp.gemini"}
_OPERATIONS = {"embeddings": "embeddings", "completions": "text_completion"}
_CLIENT, _ERROR, _OK = 3, 2, 1


def spans(lines: Iterable[str]) -> Iterator[str]:
    """One OTLP request for each record that was a call; those that were refused made none."""
    for line in lines:
        record = json.loads(line)
        if record["iteration"] is not None:
            yield json.dumps({"resourceSpans": [_resource(record)]}, ensure_ascii=True)


def _resource(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "resource": {"attributes": _attributes({"service.name": "agentwatch"})},
        "scopeSpans": [{"scope": {"name": "agentwatch"}, "spans": [_span(record)]}],
    }


def _span(record: dict[str, Any]) -> dict[str, Any]:
    operation = _OPERATIONS.get(record["api"], "chat")
    begun = round(record["at"] * 1e9)
    failed = record["ended"] not in ("complete", "client_gone")
    return {
        "traceId": _id(record["session_id"], 32),
        "spanId": _id(record["request_id"], 16),
        "name": f"{operation} {record['model']}",
        "kind": _CLIENT,
        # OTLP has 64-bit numbers as text
        "startTimeUnixNano": str(begun),
        "endTimeUnixNano": str(begun + round(record["seconds"] * 1e9)),
        "attributes": _attributes(_said(record, operation)),
        "status": {"code": _ERROR if failed else _OK},
    }


def _said(record: dict[str, Any], operation: str) -> dict[str, Any]:
    provider, ended = record["provider"], record["ended"]
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": _SYSTEMS.get(provider, provider),
        "gen_ai.request.model": record["model_asked"],
        "gen_ai.response.model": record["model"],
        "gen_ai.conversation.id": record["session_id"],
        "gen_ai.usage.input_tokens": record["input_tokens"],
        "gen_ai.usage.output_tokens": record["output_tokens"],
        "http.response.status_code": record["status"],
        "error.type": None if ended in ("complete", "client_gone") else ended,
        "agentwatch.cost.usd": record["cost_usd"],
        "agentwatch.cost.basis": record["basis"],
        "agentwatch.iteration": record["iteration"],
        "agentwatch.first_byte.seconds": record["first_byte_s"],
        "agentwatch.risks": record["risks"] or None,
        "agentwatch.project": record["project"],
        "agentwatch.team": record["team"],
    }


def _attributes(said: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": _value(value)} for key, value in said.items() if value is not None
    ]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}


def _id(text: str, digits: int) -> str:
    """The same text has the same id, at every export."""
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
