"""Requests to Gemini: what bears on the price is read, what is sent is what was read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.errors import Refusal
from agentwatch.wire.dialect import Ask, Request
from agentwatch.wire.gemini import Gemini

CONTENTS = [{"role": "user", "parts": [{"text": "hi"}]}]
FLASH = "gemini-2.5-flash"


def read(
    body: bytes | None = None, *, model: str = FLASH, verb: str = "generateContent", **fields: Any
) -> tuple[Ask, Request]:
    raw = json.dumps({"contents": CONTENTS, **fields}).encode() if body is None else body
    return Gemini().read("POST", f"/v1/models/{model}:{verb}", "", {}, raw)


def refused(**fields: Any) -> str:
    with pytest.raises(Refusal) as refusal:
        read(**fields)
    return refusal.value.reason


def sent(request: Request, limit: int | None = None) -> dict[str, Any]:
    value = json.loads(request.body(limit))
    assert isinstance(value, dict)
    return value


def test_a_plain_request_is_sent_on_as_it_came() -> None:
    config = {"temperature": 0.5, "newField": [1]}
    ask, request = read(generationConfig=config, safetySettings=[], newField={"a": 1}, labels=None)
    told = {"generationConfig": config, "safetySettings": [], "newField": {"a": 1}, "labels": None}
    assert sent(request) == {"contents": CONTENTS, **told}
    assert ask.upstream_path == "/v1/models/gemini-2.5-flash:generateContent"
    assert (ask.model, ask.provider, ask.service_tier) == (FLASH, "gemini", "standard")
    assert ask.input_bound >= len(json.dumps(sent(request), separators=(",", ":")))


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ("generationConfig", "maxOutputTokens"),
        ("generation_config", "maxOutputTokens"),
        ("generationConfig", "max_output_tokens"),
        ("generation_config", "max_output_tokens"),
    ],
)
def test_a_limit_is_read_and_lowered_in_the_spelling_in_which_it_came(
    config: str, key: str
) -> None:
    off = {"thinking_budget": 0}
    body = b'{"contents":[],"%s":{"topK":1.50,"%s":900,"thinking_config":{"thinking_budget":0}}}'
    ask, request = read(body % (config.encode(), key.encode()))
    assert (ask.output_limit, ask.thinks_beside_limit) == (900, False)
    lowered = request.body(300)
    assert json.loads(lowered)[config] == {"topK": 1.5, key: 300, "thinking_config": off}
    assert b'"topK":1.50' in lowered
    assert json.loads(request.body())[config][key] == 900


def test_a_limit_is_put_in_where_there_is_no_configuration() -> None:
    _, request = read(generationConfig=None, model="gemini-3.5-flash")
    assert sent(request, 500)["generationConfig"] == {"maxOutputTokens": 500}


def test_a_limit_that_is_put_in_covers_thinking() -> None:
    ask, request = read(generationConfig={"thinkingConfig": {"includeThoughts": True}})
    assert ask.thinks_beside_limit and ask.output_limit is None
    config = sent(request, 3_000)["generationConfig"]
    assert config == {
        "maxOutputTokens": 2_000,
        "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 1_000},
    }


@pytest.mark.parametrize("spelled", ["thinkingBudget", "thinking_budget"])
def test_a_budget_as_the_model_likes_is_replaced_in_its_own_spelling(spelled: str) -> None:
    _, request = read(generationConfig={"thinking_config": {spelled: -1}})
    config = sent(request, 3_000)["generationConfig"]
    assert config["thinking_config"] == {spelled: 1_000}


def test_a_budget_that_the_client_gave_stands_beside_the_limit() -> None:
    config = {"maxOutputTokens": 100, "candidateCount": 2, "thinkingConfig": {"thinkingBudget": 50}}
    ask, request = read(generationConfig=config)
    assert (ask.output_limit, ask.extra_output, ask.choices) == (100, 100, 2)
    assert not ask.thinks_beside_limit and ask.thinks
    assert sent(request, 60)["generationConfig"] == {**config, "maxOutputTokens": 60}


@pytest.mark.parametrize("limit", [0, -1, 1.5, 1e3, "100", True, 2**60, [1], {}])
@pytest.mark.parametrize("name", ["maxOutputTokens", "max_output_tokens", "candidateCount"])
def test_a_limit_that_is_no_whole_number_is_refused(name: str, limit: Any) -> None:
    assert refused(generationConfig={name: limit}) == "bad_request"


@pytest.mark.parametrize("budget", [-2, 1.5, "0", True, [0]])
def test_a_budget_that_is_no_whole_number_is_refused(budget: Any) -> None:
    config = {"thinkingConfig": {"thinkingBudget": budget}}
    assert refused(generationConfig=config) == "bad_request"


@pytest.mark.parametrize(
    "body",
    [
        b'{"generationConfig":{"maxOutputTokens":1},"generation_config":{}}',
        b'{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":9}}',
        b'{"generationConfig":{"maxOutputTokens":1,"maxOutputTokens":9}}',
        b'{"generationConfig":{"max\\u004futputTokens":1,"maxOutputTokens":9}}',
        b'{"generationConfig":{"MaxOutputTokens":1}}',
        b'{"GenerationConfig":{"maxOutputTokens":1}}',
        b'{"generationConfig":{"thinkingConfig":{"thinkingBudget":0,"thinking_budget":9}}}',
        b'{"generationConfig":{"thinkingConfig":{"ThinkingBudget":0}}}',
        b'{"generationConfig":{"maxOutputTokens":NaN}}',
        b'{"generationConfig":[]}',
        b'{"generationConfig":{"thinkingConfig":7}}',
        b'{"contents":[{"parts":[{"text":"a"}]}],"Contents":[]}',
        b'{"contents":7}',
        b'{"serviceTier":2}',
        b"[]",
        b"",
        b"\xff\xfe{}",
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as refusal:
        read(body)
    assert refusal.value.reason == "bad_request"


def test_of_a_key_that_stands_twice_at_the_top_only_the_one_that_was_read_is_sent() -> None:
    body = b'{"contents":[],"generationConfig":{},"generationConfig":{"maxOutputTokens":5}}'
    ask, request = read(body)
    assert ask.output_limit == 5
    assert request.body().count(b"generationConfig") == 1


@pytest.mark.parametrize("named", ["models/gemini-2.5-pro", "gemini-2.5-pro", "tunedModels/x"])
def test_a_body_that_names_another_model_than_the_path_is_refused(named: str) -> None:
    raw = json.dumps({"contents": CONTENTS, "model": named}).encode()
    assert refused(body=raw) == "bad_request"


def test_a_body_may_name_the_model_of_the_path() -> None:
    raw = json.dumps({"contents": CONTENTS, "model": f"models/{FLASH}"}).encode()
    assert read(raw)[0].model == FLASH


@pytest.mark.parametrize(
    ("named", "tier"),
    [
        ("flex", "flex"),
        ("PRIORITY", "priority"),
        ("SERVICE_TIER_FLEX", "flex"),
        ("unspecified", "standard"),
        (None, "standard"),
        ("new-tier", "new-tier"),
    ],
)
@pytest.mark.parametrize("key", ["serviceTier", "service_tier"])
def test_the_tier_that_is_asked_for_is_read(key: str, named: Any, tier: str) -> None:
    assert read(**{key: named})[0].service_tier == tier


@pytest.mark.parametrize("key", ["cachedContent", "cached_content", "continuationToken"])
def test_what_is_kept_at_the_provider_is_input(key: str) -> None:
    assert read(**{key: "cachedContents/x"})[0].input_by_reference
    assert not read(**{key: None})[0].input_by_reference


def test_an_instruction_is_weighed_like_a_prompt() -> None:
    image = {"parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}
    assert read(system_instruction=image)[0].media


def test_a_text_is_not_held_at_the_price_of_images() -> None:
    assert not read()[0].media
    assert read(model="gemini-2.5-flash-image")[0].media
    assert read(generationConfig={"responseModalities": ["TEXT", "image"]})[0].media
    assert read(generationConfig={"response_modalities": "AUDIO"})[0].audio_out


@pytest.mark.parametrize("kinds", [["VIDEO"], [1], ["TEXT", "HOLOGRAM"], 7])
def test_output_of_a_kind_without_a_price_is_refused(kinds: Any) -> None:
    assert refused(generationConfig={"responseModalities": kinds}) == "model_not_priced"


def test_a_schema_for_the_answer_is_part_of_the_prompt() -> None:
    schema = {"$defs": {"a": {"description": "x" * 5_000}}, "items": {"$ref": "#/$defs/a"}}
    plain = read(generationConfig={"responseJsonSchema": {**schema, "items": {}}})[0]
    unrolled = read(generationConfig={"response_json_schema": schema})[0]
    assert unrolled.input_bound > plain.input_bound + 5_000


def test_a_search_has_its_fee() -> None:
    assert read(tools=[{"googleSearch": {}}])[0].pieces == {"web_search": 1}


@pytest.mark.parametrize(
    ("query", "as_array"), [("", True), ("alt=json", True), ("alt=sse", False)]
)
def test_a_stream_is_an_array_unless_events_are_asked_for(query: str, as_array: bool) -> None:
    path, body = f"/v1beta/models/{FLASH}:streamGenerateContent", b'{"contents":[]}'
    ask, _ = Gemini().read("POST", path, query, {}, body)
    assert (ask.stream, ask.json_array) == (True, as_array)
    assert ask.upstream_path == f"{path}?{query}" if query else path


# ---- embeddings


def embed(**fields: Any) -> tuple[Ask, Request]:
    verb = "batchEmbedContents" if "requests" in fields else "embedContent"
    body = json.dumps(fields).encode()
    path = f"/v1/models/gemini-embedding-001:{verb}"
    return Gemini().read("POST", path, "", {}, body)


def test_embeddings_are_input_alone() -> None:
    one = {"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "a" * 500}]}}
    ask, request = embed(requests=[one, one])
    assert not ask.has_output and ask.input_bound > 1_000 and not ask.media
    assert sent(request) == {"requests": [one, one]}
    assert embed(**one)[0].input_bound > 500


@pytest.mark.parametrize(
    "fields",
    [
        {"requests": [{"model": "models/gemini-embedding-2", "content": {}}]},
        {"requests": [7]},
        {"requests": 7},
        {"requests": [{"content": {"parts": [{"text": "a"}]}, "Content": {}}]},
        {"model": "gemini-embedding-2"},
    ],
)
def test_an_odd_batch_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refusal:
        embed(**fields)
    assert refusal.value.reason == "bad_request"


def test_an_embedding_of_a_film_is_refused() -> None:
    film = {"parts": [{"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}}]}
    with pytest.raises(Refusal, match="an embedding of anything but text"):
        embed(content=film)


# ---- whatever comes

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["parts", "inlineData", "mime_type", "text", "$ref", "thinkingBudget", "x"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)
NAMES = [
    "contents",
    "generationConfig",
    "generation_config",
    "tools",
    "system_instruction",
    "model",
]


@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4))
def test_any_request_is_read_or_refused(fields: dict[str, Any]) -> None:
    try:
        ask, request = read(json.dumps(fields).encode())
    except Refusal:
        return
    assert json.loads(request.body()) == fields
    assert ask.input_bound > 0
    json.loads(request.body(100))
