"""Requests: what bears on their price is read, what is odd is refused, what is sent is that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.errors import Refusal
from agentwatch.wire.dialect import Ask, Request
from agentwatch.wire.openai import OpenAI

MESSAGES = [{"role": "user", "content": "hi"}]
API_FIELDS: dict[str, dict[str, Any]] = {
    "chat/completions": {"model": "gpt-4o", "messages": MESSAGES},
    "responses": {"model": "gpt-5.4", "input": "hi"},
    "completions": {"model": "gpt-3.5-turbo-instruct", "prompt": "hi"},
    "embeddings": {"model": "text-embedding-3-small", "input": "hi"},
}


def read(
    api: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, **fields: Any
) -> tuple[Ask, Request]:
    raw = json.dumps({**API_FIELDS[api], **fields}).encode() if body is None else body
    return OpenAI().read("POST", f"/v1/{api}", "", headers or {}, raw)


def refused(api: str, **fields: Any) -> str:
    with pytest.raises(Refusal) as refusal:
        read(api, **fields)
    return refusal.value.reason


def sent(request: Request, limit: int | None = None) -> dict[str, Any]:
    value = json.loads(request.body(limit))
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("api", API_FIELDS)
def test_a_plain_request_is_sent_on_as_it_came(api: str) -> None:
    ask, request = read(api, temperature=0.5, new_field={"a": [1]}, user=None)
    assert ask.upstream_path == f"/{api}"
    expected = {**API_FIELDS[api], "temperature": 0.5, "new_field": {"a": [1]}, "user": None}
    if api == "completions":
        expected["max_tokens"] = 16
    assert sent(request) == expected


@pytest.mark.parametrize(
    ("api", "key", "put_in"),
    [
        ("chat/completions", "max_completion_tokens", "max_completion_tokens"),
        ("chat/completions", "max_tokens", "max_tokens"),
        ("chat/completions", None, "max_completion_tokens"),
        ("responses", "max_output_tokens", "max_output_tokens"),
        ("responses", None, "max_output_tokens"),
        ("completions", "max_tokens", "max_tokens"),
        ("completions", None, "max_tokens"),
    ],
)
def test_a_limit_goes_where_the_clients_own_stood(api: str, key: str | None, put_in: str) -> None:
    ask, request = read(api, **({key: 9000} if key else {}))
    assert ask.output_limit == (9000 if key else 16 if api == "completions" else None)
    limits = {key: value for key, value in sent(request, 500).items() if key.startswith("max_")}
    assert limits == {put_in: 500}


def test_a_limit_set_twice_alike_is_put_in_twice() -> None:
    ask, request = read("chat/completions", max_tokens=9, max_completion_tokens=9)
    assert ask.output_limit == 9
    assert (sent(request, 5)["max_tokens"], sent(request, 5)["max_completion_tokens"]) == (5, 5)


def test_two_different_limits_are_refused() -> None:
    assert refused("chat/completions", max_tokens=1, max_completion_tokens=2) == "bad_request"


LIMITS = [
    ("chat/completions", "max_tokens"),
    ("chat/completions", "max_completion_tokens"),
    ("chat/completions", "n"),
    ("responses", "max_output_tokens"),
    ("responses", "max_tool_calls"),
    ("completions", "max_tokens"),
    ("completions", "n"),
    ("completions", "best_of"),
]


@pytest.mark.parametrize(("api", "key"), LIMITS)
@pytest.mark.parametrize("value", [0, -1, 1.5, 2.0, "5", True, [], 2**53 + 1, float("inf")])
def test_a_limit_that_is_no_whole_number_is_refused(api: str, key: str, value: Any) -> None:
    assert refused(api, **{key: value}) == "bad_request"


@pytest.mark.parametrize(("api", "key"), LIMITS)
def test_a_limit_in_other_letters_is_refused(api: str, key: str) -> None:
    assert refused(api, **{key.title(): 5}) == "bad_request"


@pytest.mark.parametrize("api", API_FIELDS)
@pytest.mark.parametrize(
    "fields",
    [
        {"model": None},
        {"model": ""},
        {"model": 5},
        {"model": "m" * 300},
        {"stream": "true"},
        {"stream": 1},
        {"service_tier": 5},
        {"Stream": True},
    ],
    ids=str,
)
def test_a_model_or_stream_that_cannot_be_read_is_refused(api: str, fields: Any) -> None:
    assert refused(api, **fields) == "bad_request"


@pytest.mark.parametrize(
    ("api", "fields"),
    [
        ("chat/completions", {"web_search_options": {}}),
        ("chat/completions", {"modalities": ["text", "video"]}),
        ("chat/completions", {"modalities": "audio"}),
        ("responses", {"modalities": ["audio"]}),
        ("responses", {"audio": {"voice": "alloy", "format": "wav"}}),
        ("responses", {"tools": [{"type": "file_search"}]}),
        ("chat/completions", {"model": "gpt-4o-search-preview"}),
        ("chat/completions", {"model": "GPT-4o-Search-Preview"}),
        ("chat/completions", {"model": "gpt-5-search-api-2025-10-14"}),
        ("chat/completions", {"tools": [{"type": "web_search"}], "max_tool_calls": 3}),
        ("responses", {"tools": [{"type": "web_search"}]}),
        ("responses", {"prompt": {"id": "pmpt_1"}}),
        ("responses", {"context_management": [{"type": "compaction"}]}),
        ("responses", {"reasoning": {"mode": "pro"}}),
        ("responses", {"access_programs": {"cyber": "daybreak_red"}}),
    ],
    ids=str,
)
def test_what_has_no_bound_is_refused(api: str, fields: Any) -> None:
    assert refused(api, **fields) == "model_not_priced"


def test_a_background_job_is_refused_and_false_is_not() -> None:
    assert refused("responses", background=True) == "path_not_governed"
    assert refused("responses", background="yes") == "bad_request"
    assert read("responses", background=False)[0].api == "responses"


def test_a_search_with_a_limit_is_taken() -> None:
    ask, _ = read("responses", tools=[{"type": "web_search"}], max_tool_calls=3)
    assert (ask.pieces, ask.rounds) == ({"web_search": 3}, 3)


def test_code_runs_in_one_container_however_often_it_is_run() -> None:
    tools = [
        {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}},
        {"type": "file_search", "vector_store_ids": ["v"]},
    ]
    ask, _ = read("responses", tools=tools, max_tool_calls=5)
    assert (ask.pieces, ask.rounds) == ({"file_search": 5, "container 4g": 1}, 5)


def test_a_chat_that_speaks_or_hears_is_billed_so() -> None:
    ask, _ = read("chat/completions", modalities=["text", "audio"], audio={"voice": "alloy"})
    assert ask.audio_out and not ask.audio_in
    assert not read("chat/completions", modalities=["text"])[0].audio_out


@pytest.mark.parametrize("api", ["chat/completions", "responses"])
@pytest.mark.parametrize("mark", ['"ttl":"12h"', '"t\\u0074l":"12h"'])
def test_a_breakpoint_within_the_text_hides_the_dearer_cache(api: str, mark: str) -> None:
    part = '{"type":"text","text":"x","prompt_cache_breakpoint":{"mode":"explicit",' + mark + "}}"
    inside = '[{"role":"user","content":[' + part + "]}]"
    field = "messages" if api.startswith("chat") else "input"
    ask, _ = read(api, f'{{"model":"gpt-6-sol","{field}":{inside}}}'.encode())
    assert ask.cache_write_long
    assert not read(api)[0].cache_write_long


def test_the_refusal_of_a_search_names_the_remedy() -> None:
    with pytest.raises(Refusal, match="set max_tool_calls, or take the tool out"):
        read("responses", tools=[{"type": "web_search"}])


@pytest.mark.parametrize("key", ["previous_response_id", "conversation"])
def test_what_the_server_keeps_is_said(key: str) -> None:
    assert read("responses", **{key: "x_1"})[0].input_by_reference
    assert not read("responses", **{key: None})[0].input_by_reference


@pytest.mark.parametrize("api", ["chat/completions", "completions"])
def test_usage_is_asked_for_where_the_client_had_not(api: str) -> None:
    _, request = read(api, stream=True, stream_options={"include_obfuscation": False})
    assert sent(request)["stream_options"] == {"include_obfuscation": False, "include_usage": True}


def test_a_client_that_asks_for_usage_is_sent_on_untouched() -> None:
    body = b'{"model":"m","messages":[],"stream":true,"stream_options":{ "include_usage":true }}'
    assert read("chat/completions", body)[1].body() == body


def test_nothing_is_asked_for_without_a_stream_or_of_responses() -> None:
    assert "stream_options" not in sent(read("chat/completions")[1])
    assert "stream_options" not in sent(read("responses", stream=True)[1])


@pytest.mark.parametrize(
    "options",
    [
        '{"include_usage":false,"include_usage":true}',
        '{"include_usage":true,"Include_Usage":false}',
        '{"include_usage":1}',
        "[]",
    ],
)
def test_stream_options_with_a_second_reading_are_refused(options: str) -> None:
    body = f'{{"model":"m","messages":[],"stream":true,"stream_options":{options}}}'.encode()
    with pytest.raises(Refusal) as refusal:
        read("chat/completions", body)
    assert refusal.value.reason == "bad_request"


@pytest.mark.parametrize(
    ("fields", "choices"),
    [
        ({}, 1),
        ({"n": 3}, 3),
        ({"n": 2, "best_of": 5}, 5),
        ({"prompt": ["a", "b"]}, 2),
        ({"prompt": ["a", "b"], "n": 3}, 6),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": [[1], [2, 3]]}, 2),
        ({"prompt": []}, 1),
        ({"prompt": None}, 1),
    ],
    ids=str,
)
def test_prompts_and_choices_multiply(fields: Any, choices: int) -> None:
    assert read("completions", **fields)[0].choices == choices


@pytest.mark.parametrize("prompt", [{"a": 1}, 5, [{"a": 1}], [[["a"]]], [1.5]])
def test_a_prompt_of_another_shape_is_refused(prompt: Any) -> None:
    assert refused("completions", prompt=prompt) == "bad_request"
    assert refused("embeddings", input=prompt) == "bad_request"


def test_embeddings_have_no_output() -> None:
    ask, _ = read("embeddings", input=["a", "b"])
    assert (ask.has_output, ask.output_limit, ask.choices) == (False, None, 1)


def test_a_rejected_prediction_is_output_beside_the_limit() -> None:
    ask, _ = read("chat/completions", prediction={"type": "content", "content": "x" * 100}, n=2)
    assert ask.extra_output >= 200


def test_a_cache_that_is_kept_for_long_is_said() -> None:
    assert read("responses", prompt_cache_options={"ttl": "12h"})[0].cache_write_long
    assert not read("responses", prompt_cache_options={"ttl": "30m"})[0].cache_write_long


@pytest.mark.parametrize(
    ("headers", "fields", "thread"),
    [
        ({}, {}, None),
        ({"session-id": "s", "thread-id": "t"}, {"prompt_cache_key": "k"}, "t"),
        ({"session-id": "s"}, {"prompt_cache_key": "k"}, "k"),
        ({"x-session-id": "x"}, {}, "x"),
        ({"x-session-id": "x" * 200}, {}, None),
        ({"x-session-id": "x\x1b[31m"}, {}, None),
        ({"session-id": "s"}, {"prompt_cache_key": "\u202e"}, "s"),
        ({}, {"prompt_cache_key": 5}, None),
    ],
    ids=str,
)
def test_the_thread_is_what_the_client_names(headers: Any, fields: Any, thread: str | None) -> None:
    assert read("responses", headers=headers, **fields)[0].thread == thread


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400_000}}


def test_an_image_is_bounded_by_its_tokens_and_not_by_its_bytes() -> None:
    ask, request = read("chat/completions", messages=[{"role": "user", "content": [IMAGE]}])
    assert 25_000 <= ask.input_bound < 26_000
    assert request.text() is None


def test_the_text_for_a_tokenizer_has_all_that_is_billed_and_no_more() -> None:
    _, request = read("chat/completions", tools=[], metadata={"note": "unbilled"})
    text = request.text()
    assert text is not None
    assert "hi" in text
    assert "unbilled" not in text


TEXTS = st.text(max_size=50)


@given(st.lists(TEXTS, max_size=5), TEXTS, st.booleans())
def test_the_bound_is_never_under_the_bytes_of_all_text(
    texts: list[str], system: str, escaped: bool
) -> None:
    """Every ordinary token is at least one byte, so a count of bytes is a count of tokens."""
    messages = [{"role": "user", "content": text} for text in texts]
    tools = [{"type": "function", "function": {"name": "f", "description": system}}]
    items = [{"role": "user", "content": [{"type": "input_text", "text": text}]} for text in texts]
    total = sum(len(text.encode()) for text in [*texts, system])
    for api, fields in (
        ("chat/completions", {"messages": messages, "tools": tools}),
        ("responses", {"input": items, "instructions": system}),
        ("completions", {"prompt": [*texts, system]}),
        ("embeddings", {"input": [*texts, system]}),
    ):
        value = {**API_FIELDS[api], **fields}
        ask, request = read(api, json.dumps(value, ensure_ascii=escaped).encode())
        assert ask.input_bound >= total + 4 * len(texts)
        assert sent(request)[next(iter(fields))] == next(iter(fields.values()))


KEYS = "model messages input prompt max_tokens max_completion_tokens max_output_tokens n stream"
SMALL = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
VALUES = st.recursive(
    SMALL | st.just("gpt-4o"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "content", "role", "mode", "id"]), inner)
    ),
    max_leaves=8,
)
FIELDS = st.dictionaries(
    st.sampled_from([*KEYS.split(), "tools", "stream_options", "reasoning", "prediction", "x"]),
    VALUES,
)


@given(FIELDS, st.sampled_from(list(API_FIELDS)))
def test_a_malformed_request_is_refused_and_never_anything_else(fields: Any, api: str) -> None:
    try:
        ask, request = read(api, json.dumps({"model": "gpt-4o", **fields}).encode())
    except Refusal as refusal:
        refused_for = refusal.reason
    else:
        refused_for = None
        assert ask.input_bound > 0 and ask.choices >= 1
        assert isinstance(sent(request, 5), dict)
    assert refused_for in (None, "bad_request", "model_not_priced")


@given(st.binary(max_size=80), st.sampled_from(list(API_FIELDS)))
def test_bytes_that_are_no_request_are_refused(body: bytes, api: str) -> None:
    with pytest.raises(Refusal):
        read(api, body)


def test_an_escape_that_has_fewer_tokens_than_its_letter_is_counted_as_the_letter() -> None:
    letters = chr(0xCFAF) * 500 + '"\\/\n\t\b\f\r\\n' + "\U0001f600" + "naïve"
    fields = {"model": "gpt-4o", "messages": letters}
    _, plain = read("chat/completions", json.dumps(fields, ensure_ascii=False).encode())
    _, escaped = read("chat/completions", json.dumps(fields).encode())
    assert plain.text() == escaped.text()
    assert letters in (escaped.text() or "")


def test_half_a_surrogate_pair_is_refused_before_anything_counts_it() -> None:
    with pytest.raises(Refusal):
        read("chat/completions", rb'{"model": "gpt-4o", "messages": "a\ud83d b"}')


@pytest.mark.parametrize(
    ("model", "thinks"),
    [
        *((model, False) for model in ("gpt-4o-mini", "ft:gpt-4.1:me", "gpt-4")),
        *((model, True) for model in ("gpt-5", "o3", "gpt-40", "nobody-knows-it")),
    ],
)
def test_a_model_that_may_think_is_taken_for_one_that_never_does(model: str, thinks: bool) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    raw = json.dumps(body).encode()
    ask, _ = OpenAI().read("POST", "/chat/completions", "", {}, raw)
    assert ask.thinks is thinks
