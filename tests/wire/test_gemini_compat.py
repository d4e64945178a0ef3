"""OpenAI's wire as Gemini speaks it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentwatch.core.usage import Usage
from agentwatch.errors import Refusal
from agentwatch.wire.dialect import Ask, Request
from agentwatch.wire.gemini_compat import GeminiCompat

MESSAGES = [{"role": "user", "content": "hi"}]


def read(path: str = "/v1beta/openai/chat/completions", **fields: Any) -> tuple[Ask, Request]:
    body = json.dumps({"model": "gemini-2.5-flash", "messages": MESSAGES, **fields}).encode()
    return GeminiCompat().read("POST", path, "", {}, body)


@pytest.mark.parametrize("prefix", ["/v1beta/openai", "/v1/openai", "/openai", "/openai/v1"])
def test_a_chat_goes_where_google_takes_it(prefix: str) -> None:
    ask, _ = read(f"{prefix}/chat/completions", model="models/gemini-2.5-flash")
    assert ask.upstream_path == "/v1beta/openai/chat/completions"
    assert (ask.provider, ask.model, ask.api) == ("gemini", "gemini-2.5-flash", "chat")


def test_a_chat_thinks_beside_its_limit() -> None:
    ask, _ = read(max_tokens=50)
    assert ask.thinks_beside_limit and ask.thinks


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_effort": "none"},
        {"extra_body": {"google": {"thinking_config": {"thinking_budget": 0}}}},
        {"google": {"thinking_config": {"thinkingBudget": 0}}},
        {"model": "gemini-2.0-flash"},
    ],
)
def test_thinking_that_is_switched_off_is_not_held(fields: dict[str, Any]) -> None:
    ask, _ = read(**fields)
    assert not ask.thinks_beside_limit and not ask.thinks


def test_a_level_counts_beside_an_effort_that_is_none() -> None:
    level = {"extra_body": {"google": {"thinking_config": {"thinking_level": "high"}}}}
    ask, _ = read(reasoning_effort="none", **level)
    assert (ask.thinks, ask.thinks_beside_limit) == (True, True)


def test_a_budget_stands_beside_the_limit() -> None:
    ask, _ = read(n=2, extra_body={"google": {"thinking_config": {"thinking_budget": 300}}})
    assert (ask.extra_output, ask.thinks_beside_limit) == (600, False)


def test_what_is_cached_at_google_is_input() -> None:
    assert read(extra_body={"google": {"cached_content": "cachedContents/x"}})[0].input_by_reference


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"extra_body": {"google": {"new_thing": 1}}}, "model_not_priced"),
        ({"extra_body": {"other": {}}}, "model_not_priced"),
        ({"Extra_Body": {}}, "bad_request"),
        ({"google": 7}, "bad_request"),
        (
            {
                "google": {"thinking_config": {"thinking_budget": 24_576}},
                "extra_body": {"google": {"thinking_config": {"thinking_budget": 0}}},
            },
            "bad_request",
        ),
        ({"google": {"thinking_config": 7}}, "bad_request"),
        ({"google": {"thinking_config": {"thinking_budget": "0"}}}, "bad_request"),
    ],
)
def test_what_is_googles_own_is_read_or_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refusal) as refusal:
        read(**fields)
    assert refusal.value.reason == reason


@pytest.mark.parametrize(
    "path",
    ["/responses", "/completions", "/images/generations", "/files", "/moderations", "/x/../models"],
)
def test_what_google_does_not_have_there_is_refused(path: str) -> None:
    with pytest.raises(Refusal) as refusal:
        read(f"/v1beta/openai{path}")
    assert refusal.value.reason == "path_not_governed"


def test_models_are_free() -> None:
    ask, _ = GeminiCompat().read("GET", "/v1beta/openai/models", "", {}, b"")
    assert ask.free and ask.upstream_path == "/v1beta/openai/models"


USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 60}


@pytest.mark.parametrize("stream", [True, False])
def test_thoughts_that_stand_in_the_total_alone_are_billed(stream: bool) -> None:
    _, request = read(stream=stream)
    meter = request.meter(stream)
    chunk = json.dumps({"choices": [], "usage": USAGE}).encode()
    meter.feed(b"data: " + chunk + b"\n\n" if stream else chunk)
    meter.close()
    assert meter.usage == Usage(input_tokens=7, output_tokens=53, reasoning_tokens=50)


def test_embeddings_have_no_output() -> None:
    ask, request = read("/v1beta/openai/embeddings", model="gemini-embedding-001", input="hi")
    assert not ask.has_output
    meter = request.meter(False)
    meter.feed(json.dumps({"usage": {"prompt_tokens": 4, "total_tokens": 4}}).encode())
    meter.close()
    assert meter.usage == Usage(input_tokens=4)
