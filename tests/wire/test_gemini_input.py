"""What a prompt weighs: what has a bound is counted, what has none is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from agentwatch.errors import Refusal
from agentwatch.wire.gemini_input import IMAGE_TOKENS, TILED_IMAGE_TOKENS, WINDOW, Weight


def raw(value: Any) -> Raw:
    return Raw(json.dumps(value).encode())


def contents(*parts: Any, model: str = "gemini-2.5-flash") -> Weight:
    weight = Weight(model)
    weight.weigh_contents(raw([{"role": "user", "parts": list(parts)}]))
    return weight


def tools(*offered: Any, model: str = "gemini-2.5-flash") -> Weight:
    weight = Weight(model)
    weight.weigh_tools(raw(list(offered)))
    return weight


def blob(kind: str, data: str = "AAAA") -> dict[str, Any]:
    return {"inlineData": {"mimeType": kind, "data": data}}


def test_text_and_calls_weigh_what_their_bytes_do() -> None:
    call = {"functionCall": {"name": "f", "args": {"inlineData": {"mimeType": "video/mp4"}}}}
    result = {"functionResponse": {"name": "f", "response": {"fileData": 1}}}
    thought = {"text": "x", "thought": True, "thoughtSignature": "abc"}
    assert contents({"text": "hello"}, call, result, thought) == Weight("gemini-2.5-flash")


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("gemini-2.0-flash", TILED_IMAGE_TOKENS),
        ("gemini-2.5-pro", TILED_IMAGE_TOKENS),
        ("gemini-3.5-flash", IMAGE_TOKENS),
        ("gemini-4-argon", IMAGE_TOKENS),
    ],
)
def test_an_image_weighs_the_most_that_any_does_and_not_its_bytes(model: str, tokens: int) -> None:
    weight = contents(blob("image/png", "A" * 4_000), blob("image/PNG; q=1"), model=model)
    assert (weight.media_tokens, weight.media_bytes) == (2 * tokens, 4_004)
    assert weight.media and not weight.by_reference


@pytest.mark.parametrize("spelled", [True, False])
@pytest.mark.parametrize(
    ("kind", "audio"), [("audio/ogg", True), ("video/mp4", True), ("application/pdf", False)]
)
def test_a_sound_a_film_or_a_document_is_as_long_as_the_window(
    kind: str, audio: bool, spelled: bool
) -> None:
    part = blob(kind) if spelled else {"inline_data": {"mime_type": kind, "data": "AAAA"}}
    weight = contents(part)
    assert (weight.by_reference, weight.audio, weight.media_bytes) == (True, audio, 4)


@pytest.mark.parametrize(
    "part",
    [
        {"fileData": {"fileUri": "https://youtu.be/x"}},
        {"file_data": {"file_uri": "gs://x"}},
        {"toolResponse": {"id": "1"}},
        {"functionResponse": {"name": "f", "parts": [{"file_data": {"file_uri": "gs://x"}}]}},
    ],
)
def test_what_is_kept_elsewhere_is_free_of_charge(part: dict[str, Any]) -> None:
    assert contents(part).by_reference


def test_an_image_in_a_functions_result_is_seen() -> None:
    part = {"functionResponse": {"name": "f", "parts": [blob("image/png")]}}
    assert contents(part).media_tokens == TILED_IMAGE_TOKENS


@pytest.mark.parametrize("kind", ["text/plain", "text/csv", "application/json"])
def test_a_text_that_comes_as_data_weighs_its_bytes(kind: str) -> None:
    assert contents(blob(kind)) == Weight("gemini-2.5-flash")


@pytest.mark.parametrize(
    "part",
    [blob("application/zip"), blob(""), {"inlineData": {}}, {"hologram": {}}],
)
def test_a_kind_of_input_that_nobody_knows_is_priced_as_text(part: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refusal:
        contents(part)
    assert refusal.value.reason == "model_not_priced"


@pytest.mark.parametrize(
    "part",
    [
        {"inlineData": {"mimeType": "image/png", "mime_type": "video/mp4"}},
        {"inlineData": {}, "inline_data": {}},
        {"InlineData": {}},
        {"inlinedata": {}},
        {"inlineData": 7},
        7,
    ],
)
def test_a_part_that_can_be_read_in_two_ways_is_refused(part: Any) -> None:
    with pytest.raises(Refusal) as refusal:
        contents(part)
    assert refusal.value.reason == "bad_request"


def test_a_key_that_stands_twice_is_refused() -> None:
    body = Raw(b'[{"parts":[{"text":"a"}],"parts":[{"fileData":{}}]}]')
    with pytest.raises(Refusal, match="twice"):
        Weight("gemini-2.5-flash").weigh_contents(body)


@pytest.mark.parametrize(
    "value",
    ["just text", {"parts": {"text": "x"}}, {"parts": [{"text": "x"}]}, [{"parts": None}], []],
)
def test_one_thing_may_stand_in_place_of_a_list_of_it(value: Any) -> None:
    weight = Weight("gemini-2.5-flash")
    weight.weigh_contents(raw(value))
    assert weight == Weight("gemini-2.5-flash")


# ---- tools


def test_functions_add_an_overhead_and_what_their_references_stand_for() -> None:
    plain = tools({"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]})
    schema = {
        "$defs": {"a": {"description": "x" * 1_000}},
        "anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}],
    }
    unrolled = tools({"function_declarations": {"name": "f", "parametersJsonSchema": schema}})
    assert plain.overhead < 1_000 < 3_000 < unrolled.overhead < WINDOW
    assert not unrolled.by_reference


@pytest.mark.parametrize("depth", [1, 64])
def test_a_schema_without_end_is_as_long_as_the_window(depth: int) -> None:
    levels: dict[str, Any] = {
        f"a{at}": {"x": {"$ref": f"#/$defs/a{at + 1}"}, "y": {"$ref": f"#/$defs/a{at + 1}"}}
        for at in range(depth)
    }
    levels[f"a{depth}"] = {"$ref": "#"} if depth == 1 else {}
    schema = {"$defs": levels, "$ref": "#/$defs/a0"}
    assert tools({"functionDeclarations": [{"parameters_json_schema": schema}]}).by_reference


@pytest.mark.parametrize("name", ["codeExecution", "code_execution", "urlContext", "fileSearch"])
def test_what_a_tool_reads_is_bounded_by_the_window(name: str) -> None:
    weight = tools({name: {}})
    assert weight.by_reference and not weight.searches


def test_a_search_is_billed_once_a_request_up_to_2_5() -> None:
    weight = tools({"google_search": {}})
    assert weight.by_reference and weight.searches


@pytest.mark.parametrize("model", ["gemini-3.5-flash", "gemini-4-argon", "gemini-flash-latest"])
def test_searches_without_number_are_refused_by_name(model: str) -> None:
    with pytest.raises(Refusal, match=f"'googleSearch' with {model}, which bills each query"):
        tools({"googleSearch": {}}, model=model)


@pytest.mark.parametrize("name", ["googleMaps", "computerUse", "mcpServers", "newTool"])
def test_a_hosted_tool_without_a_price_is_refused_by_name(name: str) -> None:
    with pytest.raises(Refusal, match=f"the hosted tool '{name}' can't be priced"):
        tools({name: {}})
