"""Fingerprints: the same for what is the same, and nothing in them that could be read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core.anomaly import Step, Text, alike
from agentwatch.wire.dialect import Meter
from agentwatch.wire.fingerprint import InputMarks, input_marks, sketch
from agentwatch.wire.openai import OpenAI

ERROR = "FileNotFoundError: [Errno 2] No such file or directory: 'shop/basket.py', line 17"


def marks(*messages: dict[str, Any]) -> InputMarks:
    return input_marks(json.dumps(list(messages)).encode())


def tool(said: str, call_id: str = "call_1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": said}


USER = {"role": "user", "content": "hello"}


def test_the_id_of_a_call_makes_the_same_result_another() -> None:
    first = marks(USER, tool(ERROR, "call_8HdK"))
    second = marks(USER, tool(ERROR, "call_8HdK"), tool(ERROR, "call_1xYz"))
    assert first.last == second.last
    assert first.request != second.request
    assert first.error == second.error != ()


def test_numbers_make_the_same_result_another() -> None:
    assert marks(tool("3 failed in 0.53 s")).last == marks(tool("3 failed in 1.07 s")).last
    assert marks(tool("3 failed")).last != marks(tool("3 passed")).last


def test_a_result_that_went_well_is_an_error() -> None:
    assert marks(tool("the file was written")).error == ()
    assert marks(tool("Traceback (most recent call last):")).error != ()


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": [{"type": "text", "text": ERROR}]}],
        [{"content": ERROR, "role": "tool", "tool_call_id": "call_2"}],
        [{"type": "function_call_output", "call_id": "fc_3", "output": ERROR}],
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": ERROR,
          "is_error": True, "cache_control": {"type": "ephemeral"}}]}],
        [{"role": "user", "parts": [{"functionResponse": {"name": "f", "response":
          {"result": ERROR}}}]}],
    ],
    ids=["parts", "content first", "responses", "anthropic", "gemini"],
)  # fmt: skip
def test_what_was_said_last_is_not_found_on_some_wire(messages: list[dict[str, Any]]) -> None:
    assert marks(*messages).last == marks(tool(ERROR)).last


def test_a_message_within_a_text_is_taken_for_one() -> None:
    inner = json.dumps([tool("inner")])
    assert marks(tool(inner)).last != marks(tool("inner")).last


def test_a_result_longer_than_what_is_looked_at_is_not_compared() -> None:
    long = "x y z " * 2_000
    assert marks(tool("a" + long + ERROR)).last == marks(tool("b" + long + ERROR)).last


def test_the_id_behind_a_long_result_makes_it_another() -> None:
    long = "x y z " * 2_000
    results = [{"content": long, "role": "tool", "tool_call_id": f"call_{n}abc"} for n in "pqr"]
    assert len({marks(result).last for result in results}) == 1


@given(st.binary(max_size=3_000))
def test_some_bytes_can_t_be_looked_at(raw: bytes) -> None:
    one, other = input_marks(raw), input_marks(bytes(bytearray(raw)))
    assert one[:3] == other[:3]
    assert one.text is not None and other.text is not None
    assert one.text.spine() == other.text.spine()
    for bare in (False, True):
        Text(raw, bare=bare).goes_on_with(Text(raw[:100], bare=bare).spine())
    sketch(raw)


def test_a_request_that_only_grew_is_the_same() -> None:
    assert marks(USER).request != marks(USER, USER).request
    assert marks(USER).request == marks(USER).request
    assert input_marks(b'"go on"', b'"r1"').request != input_marks(b'"go on"', b'"r2"').request
    assert input_marks(None) == InputMarks()


def test_texts_that_differ_in_a_word_differ() -> None:
    one = "I could not find the file basket.py, so I will look for it in another folder of the shop"
    assert alike(sketch(one.encode()), sketch(one.replace("another", "some").encode()))
    other = "All tests pass now: the discount is taken off once, after the sum of all the items"
    assert not alike(sketch(one.encode()), sketch(other.encode()))


def test_a_fingerprint_holds_text() -> None:
    found = marks(tool(ERROR))
    assert all(isinstance(number, int) for number in (found.request, found.last, *found.error))
    assert not any(word in repr(found) for word in ("basket", "Errno", "shop"))


# ---- what answers did, on OpenAI's wires


def answer(api: str, streamed: bool, *chunks: Any) -> Step | None:
    path, key = ("/chat/completions", "messages") if api == "chat" else ("/responses", "input")
    asked = {"model": "gpt-4o", key: [USER], "stream": streamed}
    _, request = OpenAI().read("POST", path, "", {}, json.dumps(asked).encode())
    meter: Meter = request.meter(streamed)
    for chunk in chunks:
        raw = chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode()
        meter.feed(b"data: " + raw + b"\n\n" if streamed else raw)
    meter.close()
    return meter.step


def delta(**said: Any) -> dict[str, Any]:
    return {"choices": [{"delta": said}]}


def call_delta(index: int, name: str | None, arguments: str) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return delta(tool_calls=[{"index": index, "function": function}])


def whole(**said: Any) -> dict[str, Any]:
    return {"choices": [{"message": said}]}


CALL = {"id": "c", "type": "function", "function": {"name": "read", "arguments": '{"at":1}'}}


def test_a_streamed_call_is_another_than_a_whole_one_or_for_its_chunks() -> None:
    at_once = answer("chat", True, call_delta(0, "read", '{"at":1}'), b"[DONE]")
    in_bits = answer(
        "chat", True, call_delta(0, "read", ""), call_delta(0, None, '{"a'),
        call_delta(0, None, 't":1}'), b"[DONE]",
    )  # fmt: skip
    assert at_once == in_bits == answer("chat", False, whole(tool_calls=[CALL]))
    assert at_once is not None and at_once.calls


def test_the_next_page_is_the_same_page() -> None:
    pages = {
        answer("chat", True, call_delta(0, "read", json.dumps({"at": n})), b"[DONE]")
        for n in range(9)
    }
    assert len(pages) == 9


def test_what_is_said_beside_a_call_makes_it_another() -> None:
    one = answer("chat", False, whole(content="now I read", tool_calls=[CALL]))
    other = answer("chat", False, whole(content="I read again", tool_calls=[CALL]))
    assert one == other


def test_an_answer_s_chunks_make_it_another() -> None:
    words = answer("chat", True, delta(content="all is "), delta(content="well now"), b"[DONE]")
    assert words == answer("chat", False, whole(content="all is well now"))
    assert words is not None and words.said and not words.calls


def test_an_empty_answer_is_not_known_to_be_one() -> None:
    assert answer("chat", True, delta(role="assistant"), b"[DONE]") == Step()
    assert answer("chat", False, whole(content="")) == Step()


def test_half_an_answer_is_a_step() -> None:
    assert answer("chat", True, delta(content="half an")) is None
    assert answer("chat", False, b'{"choices": [') is None
    assert answer("chat", True, delta(content="x"), {"error": {"message": "no"}}, b"[DONE]") is None


ITEM = {"type": "function_call", "name": "read", "arguments": '{"at":1}', "call_id": "x"}
SAID = {"type": "message", "content": [{"type": "output_text", "text": "all is well now"}]}


def test_responses_do_nothing() -> None:
    done = {"type": "response.completed", "response": {"output": []}}
    item = {"type": "response.output_item.done", "item": ITEM}
    assert answer("responses", True, item, done) == answer("chat", False, whole(tool_calls=[CALL]))
    assert answer("responses", False, {"output": [ITEM]}) == answer("responses", True, item, done)
    text = {"type": "response.output_text.delta", "delta": "all is well now"}
    assert answer("responses", True, text, done) == answer("responses", False, {"output": [SAID]})
    assert answer("responses", True, done) == Step()


def test_embeddings_are_taken_for_empty_answers() -> None:
    asked = {"model": "text-embedding-3-small", "input": "x"}
    _, request = OpenAI().read("POST", "/embeddings", "", {}, json.dumps(asked).encode())
    meter = request.meter(False)
    meter.feed(b'{"data": [], "model": "m"}')
    meter.close()
    assert meter.step is None


def test_a_long_answer_is_kept() -> None:
    _, request = OpenAI().read(
        "POST", "/chat/completions", "", {},
        json.dumps({"model": "gpt-4o", "messages": [USER], "stream": True}).encode(),
    )  # fmt: skip
    meter = request.meter(True)
    for _ in range(2_000):
        meter.feed(b"data: " + json.dumps(delta(content="word " * 10)).encode() + b"\n\n")
    assert sum(map(len, meter._said)) <= 1_000  # type: ignore[attr-defined]
