"""A provider that the configuration alone defines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentwatch.core.usage import Usage
from agentwatch.errors import Refusal
from agentwatch.wire.compatible import Compatible

MESSAGES = [{"role": "user", "content": "hi"}]


def told(usage: Any, stream: bool) -> Usage | None:
    body = json.dumps({"model": "m", "messages": MESSAGES, "stream": stream}).encode()
    _, request = Compatible("deepseek").read("POST", "/v1/chat/completions", "", {}, body)
    meter = request.meter(stream)
    answer = json.dumps({"choices": [], "usage": usage}).encode()
    meter.feed(b"data: " + answer + b"\n\n" if stream else answer)
    meter.close()
    return meter.usage


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("more", "cached"),
    [
        ({}, 0),
        ({"prompt_cache_hit_tokens": 3}, 3),
        ({"prompt_cache_hit_tokens": 99}, 9),
        ({"prompt_cache_hit_tokens": "3"}, 0),
        ({"prompt_cache_hit_tokens": -3}, 0),
        ({"prompt_cache_hit_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}, 2),
    ],
)
def test_a_cached_part_counts_by_either_name(
    more: dict[str, Any], cached: int, stream: bool
) -> None:
    usage = told({"prompt_tokens": 9, "completion_tokens": 2, **more}, stream)
    assert usage == Usage(input_tokens=9, cached_input_tokens=cached, output_tokens=2)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/audio/speech"), ("GET", "/v1/responses/resp_1"), ("POST", "/v1/moderations")],
)
def test_what_it_costs_there_is_not_known(method: str, path: str) -> None:
    with pytest.raises(Refusal):
        Compatible("local").read(method, path, "", {}, b"{}")


def test_it_is_asked_under_its_own_name() -> None:
    ask, _ = Compatible("local").read("GET", "/v1/models", "", {}, b"")
    assert (ask.provider, ask.free) == ("local", True)


def sent(output_limit: int | None = None, **fields: Any) -> dict[str, Any]:
    body = json.dumps({"model": "m", "messages": MESSAGES, **fields}).encode()
    ask, request = Compatible("local").read("POST", "/v1/chat/completions", "", {}, body)
    assert ask.output_limit == next(iter(fields.values()), None)
    told: dict[str, Any] = json.loads(request.body(output_limit))
    return {key: value for key, value in told.items() if key not in ("model", "messages")}


def test_a_limit_stands_under_the_name_that_all_servers_obey() -> None:
    """Many ignore max_completion_tokens, and what is ignored limits nothing."""
    assert sent(output_limit=5) == {"max_tokens": 5}
    assert sent(max_tokens=9) == {"max_tokens": 9}
    assert sent(max_completion_tokens=9) == {"max_tokens": 9, "max_completion_tokens": 9}
    both = sent(output_limit=5, max_completion_tokens=9)
    assert both == {"max_tokens": 5, "max_completion_tokens": 5}


@pytest.mark.parametrize(
    "fields",
    [
        {"models": ["dear/model"]},
        {"plugins": [{"id": "web"}]},
        {"provider": {"order": ["dear"]}},
        {"enable_search": True},
        {"max_new_tokens": 100_000},
        {"options": {"num_predict": -1}},
        {"Models": ["dear/model"]},
        {"model": "cheap/model:online"},
        {"model": "cheap/model:Online"},
    ],
)
def test_what_services_bill_for_beside_openais_fields_is_refused(fields: dict[str, Any]) -> None:
    body = json.dumps({"model": "m", "messages": MESSAGES, "max_tokens": 9, **fields}).encode()
    with pytest.raises(Refusal) as refused:
        Compatible("router").read("POST", "/v1/chat/completions", "", {}, body)
    assert refused.value.reason in ("model_not_priced", "bad_request")


def test_own_limits_are_taken_where_they_belong() -> None:
    body = json.dumps({"model": "m", "prompt": "hi", "max_tokens": 9, "n": 2, "best_of": 3})
    ask, _ = Compatible("local").read("POST", "/v1/completions", "", {}, body.encode())
    assert (ask.output_limit, ask.choices) == (9, 3)
