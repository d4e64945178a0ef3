"""What stands before Claude: text by its bytes, images by the piece, all else by a bound."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from agentwatch.errors import Refusal
from agentwatch.wire.anthropic_input import (
    CLIENT_TOOL_OVERHEAD,
    CLIENT_TOOLSET_OVERHEAD,
    MOST_OUTPUT,
    TOOLS_OVERHEAD,
    Weight,
    messages_weight,
    system_weight,
    text_bound,
    tools_weight,
)

#: letters that become words when they are normalised
GROWING = "\ufdfa\u33af\u222d\u0f77\u3300a"
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}


@pytest.mark.parametrize("ascii_only", [False, True])
@given(
    text=st.text(max_size=200)
    | st.text(st.sampled_from("\ufdfa\u33af\u222d\u0f77\u3300a"), max_size=50)
)
def test_letters_that_become_words_count_as_words(ascii_only: bool, text: str) -> None:
    body = json.dumps(text, ensure_ascii=ascii_only).encode(errors="replace")
    meant = json.loads(body).encode(errors="replace").decode()
    assert text_bound(body) >= len(unicodedata.normalize("NFKC", meant).encode())


def test_plain_text_counts_by_its_bytes() -> None:
    assert text_bound(b'"hello\\u00e9"') == 13
    assert text_bound("日本語".encode()) == 9


def raw(value: Any) -> Raw:
    return Raw(json.dumps(value).encode())


def weight(*blocks: Any) -> Weight:
    return messages_weight(raw([{"role": "user", "content": list(blocks)}]))


def tools(*given: dict[str, Any]) -> Weight:
    return tools_weight(raw(list(given)))


TEXTS: list[dict[str, Any]] = [
    {"type": "text", "text": 'says "type": "image"', "cache_control": {"type": "ephemeral"}},
    {"type": "tool_use", "id": "t", "name": "draw", "input": {"type": "image", "source": {}}},
    {"type": "tool_result", "tool_use_id": "t", "content": "done"},
    {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "done"}]},
    {"type": "thinking", "thinking": "", "signature": "c2ln"},
    {"type": "redacted_thinking", "data": "c2ln"},
    {
        "type": "search_result",
        "source": "x",
        "title": "x",
        "content": [{"type": "text", "text": ""}],
    },
    {"type": "web_search_tool_result", "content": [{"type": "web_search_result", "title": "x"}]},
    {"type": "compaction", "content": "so far"},
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
    {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}},
]


@pytest.mark.parametrize("block", TEXTS, ids=lambda block: str(block["type"]))
def test_text_weighs_nothing_but_its_bytes(block: dict[str, Any]) -> None:
    assert weight(block) == Weight()


@pytest.mark.parametrize(
    "block",
    [
        PNG,
        {"type": "image", "source": {"type": "url", "url": "https://x/1.png"}},
        {"type": "image", "source": {"type": "file", "file_id": "f_1"}},
        {"type": "tool_result", "content": [PNG]},
        {"type": "document", "source": {"type": "content", "content": [PNG]}},
        {"type": "web_fetch_tool_result", "content": {"type": "web_fetch_result", "content": PNG}},
    ],
)
def test_an_image_is_found_wherever_it_is(block: dict[str, Any]) -> None:
    assert weight(block, block).images == 2


def test_an_image_hidden_behind_an_escape_is_found() -> None:
    hidden = json.dumps([{"role": "user", "content": [PNG]}]).replace('"image"', '"\\u0069mage"')
    assert messages_weight(Raw(hidden.encode())).images == 1
    key = json.dumps([{"role": "user", "content": [PNG]}]).replace('"type"', '"\\u0074ype"')
    assert messages_weight(Raw(key.encode())).images == 1


def test_a_key_that_is_given_twice_is_read_by_somebody_else() -> None:
    twice = b'[{"role": "user", "content": [{"type": "image", "type": "text", "text": "x"}]}]'
    with pytest.raises(Refusal, match="twice"):
        messages_weight(Raw(twice))


@pytest.mark.parametrize("kind", ["base64", "url", "file"])
def test_a_document_is_bounded_by_the_window_alone(kind: str) -> None:
    source = {"type": kind, "data": "x", "url": "x", "file_id": "x"}
    assert weight({"type": "document", "source": source}).by_reference


@pytest.mark.parametrize(
    "block",
    [
        {"type": "container_upload", "file_id": "f_1"},
        {"type": "video", "source": {}},
        {"type": None},
        {"type": "document", "source": {"type": "telepathy"}},
        {"type": "mcp_tool_listing", "tools": []},
    ],
)
def test_what_is_not_known_is_let_through(block: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refused:
        weight(block)
    assert refused.value.reason == "model_not_priced"


def test_depth_has_an_end() -> None:
    block: dict[str, Any] = PNG
    for _ in range(20):
        block = {"type": "tool_result", "content": [block]}
    with pytest.raises(Refusal, match="nested too deeply"):
        weight(block)


def test_a_system_prompt_is_text_or_blocks() -> None:
    assert system_weight(raw('be "type": brief')) == Weight()
    assert system_weight(raw([{"type": "text", "text": "x"}])) == Weight()
    assert system_weight(raw([PNG])).images == 1


# ---- tools


def test_a_clients_tools_cost_their_text_and_a_preamble() -> None:
    schema = {"name": "ls", "input_schema": {"type": "object"}}
    assert tools(schema, {**schema, "type": "custom"}) == Weight(overhead=TOOLS_OVERHEAD)
    assert tools() == Weight()
    bash = {"type": "bash_20250124", "name": "bash"}
    assert tools(bash).overhead == TOOLS_OVERHEAD + CLIENT_TOOL_OVERHEAD
    browser = {"type": "browser_toolset_20260801"}
    assert tools(browser).overhead == TOOLS_OVERHEAD + CLIENT_TOOLSET_OVERHEAD


@pytest.mark.parametrize(
    ("tool", "rounds"),
    [
        ({"type": "web_search_20250305", "max_uses": 3}, 3),
        ({"type": "web_search_20260209", "max_uses": 3}, 9),
        ({"type": "web_search_20260209", "max_uses": 3, "allowed_callers": ["direct"]}, 3),
        ({"type": "web_fetch_20250910", "max_uses": 4}, 4),
        ({"type": "web_fetch_20270101", "max_uses": 4}, 9),
        ({"type": "tool_search_tool_bm25_20251119"}, 9),
    ],
)
def test_how_often_a_server_tool_makes_the_server_go_on(tool: dict[str, Any], rounds: int) -> None:
    assert tools(tool).rounds == rounds


def test_an_advisor_without_a_limit_may_write_all_that_a_model_can() -> None:
    advisor = {"type": "advisor_20260301", "model": "claude-opus-5", "max_uses": 2}
    assert tools(advisor).extra_output == 2 * MOST_OUTPUT


@pytest.mark.parametrize(
    ("tool", "reason"),
    [
        ({"type": "web_search_20250305"}, "model_not_priced"),
        ({"type": "web_fetch_20250910", "max_uses": None}, "model_not_priced"),
        ({"type": "advisor_20260301", "model": "claude-opus-5"}, "model_not_priced"),
        ({"type": "code_execution_20260521"}, "model_not_priced"),
        ({"type": "mcp_toolset", "mcp_server_name": "x"}, "model_not_priced"),
        ({"type": "time_travel_20270101"}, "model_not_priced"),
        ({"type": "web_search_20250305", "max_uses": -1}, "bad_request"),
        ({"type": "web_search_20250305", "max_uses": 1.5}, "bad_request"),
        ({"type": "web_search_20250305", "Max_Uses": 1}, "bad_request"),
        ({"Type": "web_search_20250305"}, "bad_request"),
        ({"type": "advisor_20260301", "max_uses": 1}, "bad_request"),
        ({"type": "advisor_20260301", "model": "x", "max_uses": 1, "max_tokens": 0}, "bad_request"),
    ],
)
def test_a_server_tool_without_a_bound_is_let_through(tool: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refusal) as refused:
        tools(tool)
    assert refused.value.reason == reason


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "content", "source", "role", "data", "max_uses", "model"]),
            inner | st.sampled_from(["image", "document", "text", "tool_result", "base64"]),
            max_size=4,
        )
    ),
    max_leaves=14,
)


@given(VALUES)
def test_nothing_is_raised_but_refusals(value: Any) -> None:
    for weigh in (messages_weight, system_weight, tools_weight):
        try:
            weigh(raw(value))
        except Refusal:
            continue
