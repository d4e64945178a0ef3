"""The bound of a request's input: media, tools and references can't hide as text."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from agentwatch.errors import Refusal
from agentwatch.wire import openai_input
from agentwatch.wire.openai_input import (
    Weight,
    image_bound,
    items_weight,
    messages_weight,
    tools_weight,
)

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100}}


def raw(value: Any) -> Raw:
    return Raw(value if isinstance(value, bytes) else json.dumps(value).encode())


def chat(*parts: Any) -> Raw:
    return raw([{"role": "user", "content": list(parts)}])


def refused(call: Any, value: Any) -> str:
    with pytest.raises(Refusal) as refusal:
        call(raw(value) if not isinstance(value, Raw) else value)
    return refusal.value.reason


@given(st.text(), st.text())
def test_text_is_text_whatever_it_says(one: str, two: str) -> None:
    message = [{"role": "user", "content": one}, {"role": "tool", "content": two}]
    assert messages_weight(raw(message)) == Weight()


def test_text_that_quotes_an_image_part_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_input, "strict_list", None)
    quoted = json.dumps([IMAGE, {"type": "file", "id": 1}])
    assert messages_weight(raw([{"role": "user", "content": quoted}])) == Weight()


def test_a_chats_tool_calls_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_input, "strict_list", None)
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"id":1}'}}
    assert messages_weight(raw([{"role": "assistant", "tool_calls": [call]}])) == Weight()


def test_an_image_is_counted_and_its_bytes_are_no_text() -> None:
    weight = messages_weight(chat({"type": "text", "text": "what is it"}, IMAGE, IMAGE))
    assert (weight.images, weight.media_bytes) == (2, 2 * 122)


def test_the_address_of_an_image_stays_text() -> None:
    weight = messages_weight(chat({"type": "image_url", "image_url": {"url": "https://x/y.png"}}))
    assert (weight.images, weight.media_bytes) == (1, 0)


def test_gpt_4o_mini_takes_the_dearest_images() -> None:
    assert image_bound("gpt-4o-mini-2024-07-18") == 48_169
    assert image_bound("gpt-5.4") == 25_000


@pytest.mark.parametrize(
    "part",
    [
        {"type": "video_url", "video_url": {"url": "https://x"}},
        {"type": "hologram"},
        {"image_url": {"url": "https://x"}},
    ],
)
def test_media_without_a_bound_is_refused(part: dict[str, Any]) -> None:
    assert refused(messages_weight, chat(part)) == "model_not_priced"
    assert refused(items_weight, chat(part)) == "model_not_priced"


@pytest.mark.parametrize(
    "hidden",
    [
        rb'[{"role":"user","content":[{"t\u0079pe":"input_video","input_video":{}}]}]',
        rb'[{"role":"user","content":[{"type":"input\u005fvideo"}]}]',
        rb'[{"role":"user","content":[{"type":"\u0066ilm","file":{}}]}]',
    ],
)
def test_an_escaped_letter_does_not_hide_media(hidden: bytes) -> None:
    assert refused(messages_weight, hidden) == "model_not_priced"


@pytest.mark.parametrize(
    "twice",
    [
        b'[{"role":"user","content":[{"type":"file","type":"text","text":"x","file":{}}]}]',
        b'[{"role":"user","content":[{"type":"file"}],"content":"text"}]',
    ],
)
def test_a_second_key_does_not_hide_media(twice: bytes) -> None:
    assert refused(messages_weight, twice) == "bad_request"


def test_media_in_a_part_called_text_is_refused() -> None:
    part = {"type": "text", "text": "x", "image_url": {"url": "https://x"}}
    assert refused(messages_weight, chat(part)) == "bad_request"


@pytest.mark.parametrize("value", [{}, "text", [1], [{"content": 5, "audio": None}]])
def test_messages_of_another_shape_are_refused(value: Any) -> None:
    alarming = json.dumps(value).encode() + b" " * 3
    assert _outcome(messages_weight, alarming) in ("bad_request", "text")


def test_a_message_that_an_sdk_sends_back_is_text() -> None:
    echoed = {
        "role": "assistant",
        "content": "hi",
        "audio": None,
        "refusal": None,
        "annotations": [{"type": "url_citation", "url_citation": {"url": "x"}}],
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ],
    }
    assert messages_weight(raw([echoed])) == Weight()
    spoken = messages_weight(raw([{**echoed, "audio": {"id": "a"}}]))
    assert spoken == Weight(by_reference=True, sound=True)


@pytest.mark.parametrize(
    "item",
    [
        {"type": "item_reference", "id": "msg_1"},
        {"id": "msg_1"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "compaction", "id": "cmp_1"},
        {"type": "file_search_call", "id": "fs_1", "queries": []},
    ],
)
def test_what_the_server_keeps_is_bounded_by_the_context_only(item: dict[str, Any]) -> None:
    assert items_weight(raw([{"role": "user", "content": "x"}, item])).by_reference


@pytest.mark.parametrize(
    "item",
    [
        {
            "type": "message",
            "id": "m",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "x"}],
        },
        {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "gAAAA"},
        {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "done"},
        {
            "type": "custom_tool_call_output",
            "id": "x",
            "call_id": "c",
            "output": [{"type": "input_text", "text": "x"}],
        },
        {"type": "shell_call", "id": "s", "call_id": "c", "action": {"commands": ["ls"]}},
    ],
)
def test_the_items_of_an_agents_history_are_text(item: dict[str, Any]) -> None:
    assert items_weight(raw([item])) == Weight()


@pytest.mark.parametrize(
    "item",
    [
        {"type": "function_call_output", "output": [{"type": "input_image", "file_id": "f"}]},
        {"type": "computer_call_output", "output": {"type": "computer_screenshot"}},
        {"type": "image_generation_call", "id": "i", "result": "AAAA"},
        {"role": "user", "content": [{"type": "input_image", "image_url": "https://x"}]},
    ],
)
def test_images_among_the_items_are_counted(item: dict[str, Any]) -> None:
    assert items_weight(raw([item])).images == 1


@pytest.mark.parametrize("kind", ["mcp_approval_response", "code_interpreter_call", "new_thing"])
def test_an_unknown_item_is_refused(kind: str) -> None:
    assert refused(items_weight, [{"type": kind, "id": "x"}]) == "model_not_priced"


def test_a_text_as_input_is_text() -> None:
    assert items_weight(raw('say "type": "file"')) == Weight()


FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def test_functions_cost_their_text_and_a_preamble() -> None:
    tools = raw([FUNCTION, {"type": "custom", "name": "c"}])
    assert tools_weight(tools) == Weight(overhead=openai_input.TOOLS_OVERHEAD)
    assert tools_weight(raw([])) == Weight()


def test_the_tools_of_codex_are_taken() -> None:
    names = {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}
    inline = [{"type": "additional_tools", "role": "developer", "tools": [names]}]
    assert tools_weight(raw([names])).fees == frozenset()
    assert items_weight(raw(inline)).overhead == openai_input.TOOLS_OVERHEAD


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "1t"}},
        {"type": "image_generation"},
        {"type": "mcp", "server_url": "https://x"},
        {"type": "tool_search"},
        {"type": "shell"},
        {"type": "shell", "environment": {"type": "container_auto"}},
        {"type": "programmatic_tool_calling"},
        {"type": "namespace", "tools": [{"type": "web_search"}]},
        {"type": "namespace", "tools": [{"type": "namespace", "tools": []}]},
        {"type": ["function"]},
        {},
    ],
)
def test_a_hosted_or_unknown_tool_is_refused_wherever_it_stands(tool: dict[str, Any]) -> None:
    assert refused(tools_weight, [FUNCTION, tool]) == "model_not_priced"
    inline = [{"type": "additional_tools", "tools": [tool]}]
    assert refused(items_weight, inline) == "model_not_priced"


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "local_shell"},
        {"type": "apply_patch"},
        {"type": "shell", "environment": {"type": "local"}},
        {"type": "tool_search", "execution": "client"},
        {"type": "computer"},
    ],
)
def test_a_tool_that_runs_on_the_client_costs_its_instructions(tool: dict[str, Any]) -> None:
    weight = tools_weight(raw([tool]))
    assert (weight.overhead, weight.fees) == (2_256, frozenset())


def test_a_web_search_has_a_fee() -> None:
    assert tools_weight(raw([{"type": "web_search_2025_08_26"}])).fees == {"web_search"}


@pytest.mark.parametrize(
    "tools",
    [
        b'[{"type":"web_search","type":"function"}]',
        b'[{"type":"function","Type":"web_search"}]',
        b'[{"type":"function","t\\u0079pe":"web_search"}]',
        b'{"type":"function"}',
        b"[[]]",
    ],
)
def test_a_tool_with_a_second_reading_is_refused(tools: bytes) -> None:
    assert refused(tools_weight, tools) == "bad_request"


def _outcome(call: Any, value: bytes) -> str:
    try:
        call(Raw(value))
    except Refusal as refusal:
        return refusal.reason
    return "text"


KINDS = [
    "text",
    "image_url",
    "input_image",
    "file",
    "message",
    "reasoning",
    "function",
    "namespace",
]
KEYS = ["type", "id", "role", "content", "output", "tools", "image_url", "audio", "url"]
JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(KINDS),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(JSON)
def test_no_shape_raises_anything_but_a_refusal(value: Any) -> None:
    body = json.dumps(value).encode()
    for call in (messages_weight, items_weight, tools_weight):
        assert _outcome(call, body) in ("bad_request", "model_not_priced", "text")


def test_sound_is_bounded_by_its_length() -> None:
    data = base64.b64encode(b"ID3" + b"\0" * 59_997).decode()
    part = {"type": "input_audio", "input_audio": {"data": data, "format": "mp3"}}
    weight = messages_weight(chat(part))
    assert weight == Weight(overhead=60 * 40, media_bytes=len(data), sound=True)


@pytest.mark.parametrize("sound", [None, {}, {"data": 5}, {"data": "?"}, {"data": "AAA"}])
def test_sound_that_cannot_be_measured_is_refused(sound: Any) -> None:
    part = {"type": "input_audio", "input_audio": sound}
    assert refused(messages_weight, chat(part)) == "bad_request"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
        {"type": "input_file", "file_url": "https://x/y.pdf"},
        {"type": "input_file", "file_id": "file-1"},
    ],
)
def test_a_document_is_bounded_by_the_context_only(part: dict[str, Any]) -> None:
    assert messages_weight(chat(part)).by_reference
    assert items_weight(chat(part)).by_reference
