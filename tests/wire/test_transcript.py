"""What is said in requests and answers, in every wire, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.wire.transcript import read, rewritten, said, strings

NUMBERS = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


def stream(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events)


def test_escapes_hide_no_word() -> None:
    body = json.dumps({"messages": [{"content": "a\nsk-1 \u2603"}]}).encode()
    assert strings(read(body)) == ["messages", "content", "a\nsk-1 \u2603"]


@pytest.mark.parametrize(
    "raw",
    [
        stream(
            {"id": "x", "choices": [{"index": 0, "delta": {"content": "sec"}}]},
            {"id": "x", "choices": [{"index": 1, "delta": {"content": "other"}}]},
            {"id": "x", "choices": [{"index": 0, "delta": {"content": "ret"}}]},
        ),
        stream(
            {"index": 0, "delta": {"type": "text_delta", "text": "sec"}},
            {"index": 1, "delta": {"type": "text_delta", "text": "other"}},
            {"index": 0, "delta": {"type": "text_delta", "text": "ret"}},
        ),
        b"event: response.output_text.delta\n"
        + stream(
            {"type": "delta", "item_id": "a", "output_index": 0, "delta": "sec"},
            {"type": "delta", "item_id": "b", "output_index": 1, "delta": "other"},
            {"type": "delta", "item_id": "a", "output_index": 0, "delta": "ret"},
        ),
        json.dumps(
            [
                {"candidates": [{"content": {"parts": [{"text": "sec"}]}}]},
                {"candidates": [{"content": {"parts": [{"text": "ret"}]}}]},
            ]
        ).encode(),
    ],
    ids=["chat", "messages", "responses", "gemini's array"],
)
def test_what_a_stream_says_in_pieces_is_put_together(raw: bytes) -> None:
    assert "secret" in read(raw).values()


def test_what_a_stream_repeats_is_told_once() -> None:
    told = read(stream(*({"id": "chatcmpl-1", "delta": "a"} for _ in range(5))))
    assert told == {"id": "chatcmpl-1", "delta": "aaaaa"}


@given(JSON)
def test_what_is_not_changed_comes_out_as_it_went_in(value: Any) -> None:
    if not (isinstance(value, list) and all(isinstance(each, dict) for each in value)):
        assert rewritten(read(json.dumps(value).encode()), lambda text: text) == value


@given(JSON)
def test_each_string_is_visited_once_and_in_order(value: Any) -> None:
    order = iter(strings(value))
    rewritten(value, lambda text: "" if text == next(order) else pytest.fail("another order"))
    assert next(order, None) is None


def test_long_numbers_can_be_taken_out() -> None:
    changed = rewritten({"card": 4111111111111111, "n": 12}, lambda text: text.replace("41", "x"))
    assert changed == {"card": "x11111111111111", "n": 12}


@given(st.binary(max_size=200))
def test_any_bytes_are_read(raw: bytes) -> None:
    assert isinstance(strings(read(raw)), list)


def test_sound_and_pictures_are_no_text() -> None:
    assert read(b"\x89PNG\r\n\x1a\n\0\0") is None
    assert read(b"a\0b") is None
    assert read(b"plain words") == "plain words"


def test_depth_is_no_trap() -> None:
    for raw in (b"[" * 100_000, b'{"a":' * 900 + b'"secret"' + b"}" * 900):
        value, texts = said(raw)
        assert texts == strings(value)
    assert "secret" in texts[0]
