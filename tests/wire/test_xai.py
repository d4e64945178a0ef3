"""xAI's wire: what it states is the charge; what it may do by itself is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core.usage import Usage
from agentwatch.errors import Refusal
from agentwatch.wire.dialect import Ask, Meter, Request
from agentwatch.wire.xai import MOST_NANOS, XAI

MESSAGES = [{"role": "user", "content": "hi"}]


def read(path: str = "/v1/chat/completions", **fields: Any) -> tuple[Ask, Request]:
    asked = {"model": "grok-4.7", "messages": MESSAGES, **fields}
    return XAI().at(path).read("POST", path, "", {}, json.dumps(asked).encode())


def test_three_apis_are_taken() -> None:
    assert read()[0].upstream_path == "/chat/completions"
    assert read("/responses", input="hi")[0].api == "responses"
    ask, _ = read("/v1/messages", max_tokens=9)
    assert (ask.api, ask.provider, ask.upstream_path) == ("messages", "xai", "/messages")


def test_each_path_is_refused_in_its_own_shape() -> None:
    at = XAI().at
    assert at("/v1/chat/completions").refusal("agent_budget_exceeded", "no")[0] == 400
    assert at("/v1/messages").refusal("agent_budget_exceeded", "no")[0] == 402


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/chat/deferred-completion/9f0e"),
        ("POST", "/v1/images/generations"),
        ("POST", "/v1/videos/generations"),
        ("POST", "/v1/tokenize-text"),
        ("POST", "/v1/batches"),
        ("POST", "/v1/responses/input_tokens"),
        ("GET", "/v1/messages"),
        ("GET", "/v1/api-key"),
    ],
)
def test_what_can_not_be_priced_is_refused(method: str, path: str) -> None:
    with pytest.raises(Refusal) as refused:
        XAI().at(path).read(method, path, "", {}, b"{}")
    assert refused.value.reason == "path_not_governed"


def test_models_and_what_was_stored_are_free() -> None:
    for method, path in [("GET", "/v1/models"), ("GET", "/v1/responses/9f0e-aa11-22")]:
        assert XAI().read(method, path, "", {}, b"")[0].free
    assert XAI().read("DELETE", "/v1/responses/9f0e-aa11-22", "", {}, b"")[0].free


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"deferred": True}, "path_not_governed"),
        ({"search_parameters": {"mode": "on"}}, "model_not_priced"),
        ({"search_parameters": {}}, "model_not_priced"),
        ({"model": "grok-4.20-multi-agent-0309"}, "model_not_priced"),
        ({"model": "Grok-4.20-Multi-Agent-0309"}, "model_not_priced"),
    ],
)
def test_what_has_no_bound_is_refused(path: str, fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refusal) as refused:
        read(path, max_tokens=9, input="hi", **fields)
    assert refused.value.reason == reason


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize("kind", ["web_search", "x_search", "code_interpreter", "mcp"])
def test_a_tool_that_xai_calls_is_refused(path: str, kind: str) -> None:
    with pytest.raises(Refusal) as refused:
        read(path, input="hi", tools=[{"type": kind}], max_tool_calls=2)
    assert refused.value.reason == "model_not_priced"


def test_what_changes_nothing_is_let_through() -> None:
    tools = [{"type": "function", "function": {"name": "ls"}}]
    read(deferred=False, search_parameters={"mode": "off"}, tools=tools)


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def metered(meter: Meter, data: bytes, step: int = 1 << 20) -> bytes:
    out = [meter.feed(data[at : at + step]) for at in range(0, len(data), step)]
    return b"".join(out) + meter.close()


CHAT = {
    "prompt_tokens": 32,
    "completion_tokens": 9,
    "total_tokens": 135,
    "prompt_tokens_details": {"cached_tokens": 6},
    "completion_tokens_details": {"reasoning_tokens": 94},
}


def of_chat(usage: Any, stream: bool = False) -> Usage | None:
    _, request = read(stream=stream)
    meter = request.meter(stream)
    body = {"model": "grok-4.7", "choices": [{"delta": {"content": "x"}}], "usage": usage}
    metered(meter, event(body) if stream else json.dumps(body).encode())
    return meter.usage


@pytest.mark.parametrize("stream", [False, True])
def test_a_chats_reasoning_comes_on_top(stream: bool) -> None:
    usage = of_chat(CHAT, stream)
    assert usage == Usage(
        input_tokens=32, cached_input_tokens=6, output_tokens=103, reasoning_tokens=94
    )
    inside = of_chat({**CHAT, "completion_tokens": 103}, stream)
    assert inside == usage


@pytest.mark.parametrize(
    ("ticks", "nanos"),
    [
        (37_756_000, 3_775_600),
        (1, 1),
        (11, 2),
        (0, None),
        (-5, None),
        (True, None),
        ("9", None),
        (1.5, None),
        (MOST_NANOS * 10, MOST_NANOS),
        (MOST_NANOS * 10 + 1, None),
        (1 << 60, None),
    ],
)
def test_what_is_stated_is_rounded_up_or_no_statement(ticks: Any, nanos: int | None) -> None:
    usage = of_chat({**CHAT, "cost_in_usd_ticks": ticks})
    assert usage is not None and usage.stated_nanos == nanos


@pytest.mark.parametrize("stream", [False, True])
def test_a_responses_reasoning_is_inside(stream: bool) -> None:
    _, request = read("/v1/responses", input="hi", stream=stream)
    usage = {
        "input_tokens": 32,
        "output_tokens": 103,
        "output_tokens_details": {"reasoning_tokens": 94},
        "cost_in_usd_ticks": 15,
    }
    meter = request.meter(stream)
    response = {"model": "grok-4.7", "output": [], "usage": usage}
    told = event({"type": "response.completed", "response": response})
    metered(meter, told if stream else json.dumps(response).encode())
    assert meter.usage == Usage(
        input_tokens=32, output_tokens=103, reasoning_tokens=94, stated_nanos=2
    )


@pytest.mark.parametrize("stated", [{}, {"cost_in_usd_ticks": 20}])
@pytest.mark.parametrize("stream", [False, True])
def test_messages_count_by_their_tokens_unless_a_cost_is_stated(
    stream: bool, stated: dict[str, int]
) -> None:
    _, request = read("/v1/messages", max_tokens=9, stream=stream)
    usage = {"input_tokens": 3, "output_tokens": 4, **stated}
    meter = request.meter(stream)
    message = {"model": "grok-4.7", "content": [], "usage": usage, "stop_reason": "end_turn"}
    events = [
        {"type": "message_start", "message": message},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
        {"type": "message_stop"},
    ]
    metered(meter, b"".join(map(event, events)) if stream else json.dumps(message).encode())
    assert meter.usage is not None
    assert (meter.usage.input_tokens, meter.usage.output_tokens) == (3, 4)
    assert meter.usage.stated_nanos == (2 if stated else None)


STREAM = b"".join(
    event({"model": "grok-4.7", "choices": [{"delta": {"content": "Hé"}}], "usage": usage})
    for usage in [{**CHAT, "cost_in_usd_ticks": at} for at in (10, 20, 30)]
)


@given(st.data())
def test_a_stream_cut_or_changed_anywhere_goes_on_unchanged(data: st.DataObject) -> None:
    broken = bytearray(STREAM[: data.draw(st.integers(0, len(STREAM)))])
    for _ in range(data.draw(st.integers(0, 3))):
        if broken:
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    _, request = read(stream=True, stream_options={"include_usage": True})
    meter = request.meter(True)
    assert metered(meter, bytes(broken), data.draw(st.integers(1, 200))) == bytes(broken)
    assert meter.output_floor <= meter.output_ceiling
