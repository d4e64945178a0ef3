"""Requests for messages: what bears on the price is read, and what was read is written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.errors import Refusal
from agentwatch.wire.anthropic import Anthropic
from agentwatch.wire.anthropic_input import IMAGE_TOKENS, MOST_OUTPUT
from agentwatch.wire.anthropic_request import MessageRequest
from agentwatch.wire.dialect import Ask

MODEL = "claude-sonnet-5"
PLAIN: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 1000,
    "messages": [{"role": "user", "content": "hello"}],
}


def read(
    changes: dict[str, Any] | bytes | None = None, **headers: str
) -> tuple[Ask, MessageRequest]:
    body = changes if isinstance(changes, bytes) else json.dumps({**PLAIN, **(changes or {})})
    raw = body if isinstance(body, bytes) else body.encode()
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    ask, request = Anthropic().read("POST", "/v1/messages", "", told, raw)
    assert isinstance(request, MessageRequest)
    return ask, request


def refused(changes: dict[str, Any]) -> str:
    with pytest.raises(Refusal) as told:
        read(changes)
    return told.value.reason


def test_a_plain_request() -> None:
    ask, request = read()
    assert (ask.provider, ask.api, ask.model) == ("anthropic", "messages", MODEL)
    assert (ask.output_limit, ask.choices, ask.rounds, ask.stream) == (1000, 1, 0, False)
    assert ask.input_bound >= len(request.body())
    assert json.loads(request.body()) == PLAIN


@pytest.mark.parametrize(
    "limit", [None, -1, 1.5, "9", True, 1e400, [], 1 << 54], ids=lambda limit: repr(limit)
)
def test_a_limit_that_is_none(limit: Any) -> None:
    assert refused({"max_tokens": limit}) == "bad_request"


def test_a_limit_of_nothing_fills_the_cache() -> None:
    ask, request = read({"max_tokens": 0})
    assert not ask.has_output
    assert json.loads(request.body())["max_tokens"] == 0
    assert refused({"max_tokens": 0, "fallbacks": [{"model": MODEL}]}) == "bad_request"


@pytest.mark.parametrize("model", [None, "", 5, "x" * 300])
def test_a_model_that_is_none(model: Any) -> None:
    assert refused({"model": model}) == "bad_request"


@pytest.mark.parametrize("key", ["Max_Tokens", "MODEL", "Speed", "Thinking", "Fallbacks"])
def test_a_field_in_other_letters_is_read_by_somebody_else(key: str) -> None:
    assert refused({key: 5}) == "bad_request"


@pytest.mark.parametrize(
    "field",
    [
        {"mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}]},
        {"container": "c_1"},
        {"thread": {"type": "create"}},
        {"billing_policy": {"type": "billing_policy", "bill_to": "user_profile"}},
        {"fallbacks": "default"},
        {"fallbacks": [{"model": MODEL, "speed": "fast"}]},
        {"inference_geo": "mars"},
        {"context_management": {"edits": [{"type": "grow_20270101"}]}},
    ],
)
def test_what_has_no_bound_is_let_through(field: dict[str, Any]) -> None:
    assert refused(field) == "model_not_priced"


@pytest.mark.parametrize(
    ("fields", "tier"),
    [
        ({}, None),
        ({"service_tier": "auto"}, "auto"),
        ({"service_tier": "standard_only"}, "standard_only"),
        ({"speed": "standard"}, None),
        ({"speed": "fast", "service_tier": "auto"}, "fast"),
    ],
)
def test_speed_is_a_tier(fields: dict[str, Any], tier: str | None) -> None:
    assert read(fields)[0].service_tier == tier


@pytest.mark.parametrize(("geo", "thousandths"), [(None, 1100), ("us", 1100), ("global", 1000)])
def test_a_workspace_may_be_somewhere_dearer(geo: str | None, thousandths: int) -> None:
    fields = {} if geo is None else {"inference_geo": geo}
    assert read(fields)[0].uplift_thousandths == thousandths


@pytest.mark.parametrize(
    ("mark", "long"),
    [
        ('"ttl": "1h"', True),
        ('"ttl": "\\u0031h"', True),
        ('"ttl": "5m"', False),
        ('"ttl": 1', False),
    ],
)
def test_a_write_for_an_hour_is_expected_where_it_can_be(mark: str, long: bool) -> None:
    system = '[{"type": "text", "text": "x", "cache_control": {' + mark + "}}]"
    body = json.dumps(PLAIN)[:-1] + ', "system": ' + system + "}"
    assert read(body.encode())[0].cache_write_long is long


@pytest.mark.parametrize(
    ("model", "thinking", "thinks"),
    [
        (MODEL, None, True),
        (MODEL, {"type": "disabled"}, False),
        ("claude-3-5-haiku-latest", None, False),
        ("claude-sonnet-4-5", None, False),
        ("claude-sonnet-4-5", {"type": "adaptive"}, True),
        ("claude-opus-4-8", None, True),
    ],
)
def test_who_may_think_unseen(model: str, thinking: Any, thinks: bool) -> None:
    fields = {"model": model, **({} if thinking is None else {"thinking": thinking})}
    assert read(fields)[0].thinks is thinks


# ---- limits that are put in


def test_a_limit_is_put_in_where_the_clients_stood_and_nothing_else_changes() -> None:
    _, request = read({"metadata": {"user_id": "u"}, "system": "s"})
    changed = json.loads(request.body(77))
    assert changed == {**json.loads(request.body()), "max_tokens": 77}


@pytest.mark.parametrize(
    ("budget", "limit", "told"),
    [
        (16_000, 20_000, {"type": "enabled", "budget_tokens": 10_000}),
        (16_000, 2_048, {"type": "enabled", "budget_tokens": 1_024}),
        (16_000, 1_025, {"type": "enabled", "budget_tokens": 1_024}),
        (16_000, 1_024, {"type": "disabled"}),
        (16_000, 300, {"type": "disabled"}),
        (40_000, 300, {"type": "enabled", "budget_tokens": 40_000}),
    ],
)
def test_a_budget_for_thinking_stays_below_the_limit_that_is_put_in(
    budget: int, limit: int, told: dict[str, Any]
) -> None:
    thinking = {"type": "enabled", "budget_tokens": budget}
    _, request = read({"max_tokens": 32_000, "thinking": thinking})
    assert json.loads(request.body(limit))["thinking"] == told
    assert json.loads(request.body())["thinking"] == thinking


@given(st.integers(1024, 31_999), st.integers(1, 31_999))
def test_no_limit_that_is_put_in_makes_a_request_that_is_refused(budget: int, limit: int) -> None:
    thinking = {"type": "enabled", "budget_tokens": budget}
    _, request = read({"max_tokens": 32_000, "thinking": thinking})
    told = json.loads(request.body(limit))["thinking"]
    if told["type"] == "enabled":
        assert 1024 <= told["budget_tokens"] < limit
        assert told["budget_tokens"] <= budget


def test_adaptive_thinking_stays_as_it_is() -> None:
    _, request = read({"thinking": {"type": "adaptive"}})
    assert json.loads(request.body(50))["thinking"] == {"type": "adaptive"}


# ---- more than one answer


def test_a_server_tool_makes_the_server_go_on() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    ask, _ = read({"tools": [search]})
    assert (ask.rounds, ask.choices, ask.pieces) == (2, 3, {"web_search": 2})
    ask, _ = read({"tools": [{**search, "max_uses": 50}]})
    assert (ask.rounds, ask.choices, ask.pieces) == (9, 10, {"web_search": 50})


def test_each_fallback_reads_the_request_and_may_answer() -> None:
    plain, _ = read({"fallbacks": []})
    named = [{"model": "claude-opus-5"}, {"model": "claude-opus-4-8", "max_tokens": 500}]
    ask, request = read({"fallbacks": named})
    assert ask.also_models == ("claude-opus-5", "claude-opus-4-8")
    assert ask.input_bound >= 3 * len(request.body()) > 3 * (plain.input_bound - 200)
    assert (ask.choices, ask.extra_output) == (2, 500)


def test_compaction_is_billed_beside_the_answer() -> None:
    edits = {"edits": [{"type": "clear_tool_uses_20250919"}]}
    assert read({"context_management": edits})[0].extra_output == 0
    edits = {"edits": [{"type": "compact_20260112"}]}
    ask, request = read({"context_management": edits})
    assert ask.extra_output == MOST_OUTPUT
    assert ask.input_bound >= 2 * len(request.body())


def test_an_advisor_reads_all_and_writes_beside_the_limit() -> None:
    advisor = {"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5"}
    ask, _ = read({"tools": [{**advisor, "max_uses": 2, "max_tokens": 700}]})
    assert ask.also_models == ("claude-opus-5",)
    assert (ask.rounds, ask.choices, ask.extra_output) == (4, 3, 1400)


def test_images_count_by_the_piece_and_not_by_their_bytes() -> None:
    data = "A" * 1_000_000
    source = {"type": "base64", "media_type": "image/png", "data": data}
    message = {"role": "user", "content": [{"type": "image", "source": source}]}
    ask, _ = read({"messages": [message, message]})
    assert 2 * IMAGE_TOKENS < ask.input_bound < 2 * IMAGE_TOKENS + 2000


# ---- who calls


@pytest.mark.parametrize(
    ("headers", "metadata", "thread"),
    [
        ({"x_claude_code_session_id": "s-1"}, {"user_id": "u"}, "s-1"),
        ({}, {"user_id": json.dumps({"device_id": "d", "session_id": "s-2"})}, "s-2"),
        ({}, {"user_id": "user_1_session_2"}, "user_1_session_2"),
        ({}, {"user_id": "x" * 200}, None),
        ({}, {"user_id": "{broken"}, "{broken"),
        ({}, {"user_id": json.dumps({"session_id": 5})}, None),
        ({}, {"user_id": 5}, None),
        ({}, 5, None),
    ],
)
def test_the_thread_that_the_client_names(
    headers: dict[str, str], metadata: Any, thread: str | None
) -> None:
    assert read({"metadata": metadata}, **headers)[0].thread == thread
