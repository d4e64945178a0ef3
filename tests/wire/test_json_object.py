"""Reading a request's top level: nothing that two parsers could read differently gets through."""

from __future__ import annotations

import contextlib
import importlib
import json
import pkgutil
import re

import msgspec
import pytest
from hypothesis import given as examples
from hypothesis import strategies as st
from msgspec import Raw

from agentwatch import wire
from agentwatch.errors import Refusal
from agentwatch.wire.json_object import (
    boolean,
    has,
    read_json,
    read_object,
    refuse_look_alikes,
    strict,
    strict_list,
    strict_object,
    text,
    whole,
)


def reason(call: object, *arguments: object) -> str:
    with pytest.raises(Refusal) as refused:
        call(*arguments)  # type: ignore[operator]
    assert refused.value.message
    return refused.value.reason


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b'"text"',
        b"null",
        b'{"a":1} {"a":2}',
        b'{"a":1,}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-le"),
        '{"a":1}'.encode("utf-16-be"),
        '{"a":1}'.encode("utf-32-le"),
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a":' + b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    assert reason(read_object, body) == "bad_request"


@examples(st.binary(max_size=60))
def test_no_bytes_raise_anything_but_a_refusal(body: bytes) -> None:
    with contextlib.suppress(Refusal):
        read_object(body)


VALUES = st.recursive(st.integers() | st.text(max_size=9), st.lists, max_leaves=8)


@examples(st.dictionaries(st.text(max_size=5), VALUES))
def test_what_is_sent_on_is_what_was_read(value: dict[str, object]) -> None:
    sent = msgspec.json.encode(read_object(json.dumps(value, ensure_ascii=False).encode()))
    assert json.loads(sent) == value


def test_of_a_key_given_twice_only_the_one_that_was_read_is_sent_on() -> None:
    fields = read_object(b'{"max_tokens":1,"m\\u0061x_tokens":99}')
    assert msgspec.json.encode(fields) == b'{"max_tokens":99}'


def test_a_nested_value_is_kept_byte_for_byte() -> None:
    assert bytes(read_object(b'{"a" : { "b":1.50,  "b": "\\u0041" } }')["a"]) == (
        b'{ "b":1.50,  "b": "\\u0041" }'
    )


@pytest.mark.parametrize(
    "number",
    [
        "0",
        "-1",
        "1.0",
        "1.5",
        "1e3",
        "1e400",
        "true",
        '"5"',
        "[]",
        "{}",
        "9007199254740993",
        "9" * 5000,
    ],
)
def test_a_limit_that_is_no_whole_number_is_refused(number: str) -> None:
    assert reason(whole, {"n": Raw(number.encode())}, "n") == "bad_request"


@examples(st.integers(1, 1 << 53))
def test_a_whole_number_is_read(number: int) -> None:
    assert whole({"n": Raw(str(number).encode())}, "n") == number


def test_null_is_the_same_as_nothing() -> None:
    fields = {"n": Raw(b"null")}
    assert (whole(fields, "n"), text(fields, "n"), boolean(fields, "n")) == (None, None, False)
    assert strict_object(fields, "n") == {}


@pytest.mark.parametrize("value", [b"1", b"0", b'"true"', b"[]"])
def test_a_stream_that_is_no_boolean_is_refused(value: bytes) -> None:
    assert reason(boolean, {"stream": Raw(value)}, "stream") == "bad_request"


def test_a_model_that_is_no_text_is_refused() -> None:
    assert reason(text, {"model": Raw(b"7")}, "model") == "bad_request"


@pytest.mark.parametrize("key", ["Max_Tokens", "MAX_TOKENS", "max_to\u212aens", "max_token\u017f"])
def test_a_priced_key_in_other_letters_is_refused(key: str) -> None:
    assert reason(refuse_look_alikes, {key: Raw(b"1")}, ["max_tokens"]) == "bad_request"


@pytest.mark.parametrize(
    "value",
    [
        b'[{"a":1,"a":2}]',
        b'[{"type":"text","t\\u0079pe":"image_url"}]',
        b'[{"a":NaN}]',
        b"[1]",
        b"{}",
        b"[" * 5000 + b"]" * 5000,
        b'[{"a":' + b"9" * 5000 + b"}]",
    ],
    ids=lambda value: repr(value[:20]),
)
def test_a_nested_list_with_a_second_reading_is_refused(value: bytes) -> None:
    assert reason(strict_list, value, "tools") == "bad_request"


def test_a_nested_value_is_parsed_as_it_stands() -> None:
    assert strict(b'{"a":[1,"\\u0062"]}', "x") == {"a": [1, "b"]}


def test_what_is_no_json_reads_as_nothing() -> None:
    assert read_json(b"{") is None
    assert read_json(b"[" * 100_000) is None


_SPELT = re.compile(rb'"type"(?!\s*:\s*"text")')


@examples(
    st.integers(0, 3 * (256 << 10)),
    st.sampled_from([b'"type":"image"', b'"type" : "text"', b'"type"', b""]),
)
def test_a_pattern_is_found_wherever_it_stands(before: int, what: bytes) -> None:
    raw = b"x" * before + what + b"x" * 2_000
    assert has(raw, _SPELT) == bool(_SPELT.search(raw))
    assert has(Raw(raw), _SPELT) == has(raw, _SPELT)


@pytest.mark.parametrize("cut", range(20))
def test_a_pattern_is_found_where_two_pieces_meet(cut: int) -> None:
    for what in (b'"type":"image"', b'"type":"text"'):
        raw = b"x" * ((256 << 10) - cut) + what + b"x" * (256 << 10)
        assert has(raw, _SPELT) == (what == b'"type":"image"')


def searched_for() -> dict[str, bytes]:
    """All patterns of bytes in the modules that search by `has`."""
    found: dict[str, bytes] = {}
    for each in pkgutil.iter_modules(wire.__path__):
        module = importlib.import_module(f"{wire.__name__}.{each.name}")
        if {"has", "has_escape"} & vars(module).keys():
            for name, value in vars(module).items():
                if isinstance(value, re.Pattern) and isinstance(value.pattern, bytes):
                    found[f"{each.name}.{name}"] = value.pattern
    return found


@pytest.mark.parametrize(("name", "pattern"), searched_for().items())
def test_a_find_is_longer_than_what_pieces_have_in_common(name: str, pattern: bytes) -> None:
    """Then one that is cut in two would be missed, and with it what has to be paid for."""
    # the parser's own reckoning, in which look-arounds have no width
    _, longest = importlib.import_module("re._parser").parse(pattern).getwidth()
    assert longest < 1 << 10
    assert b"(?=" not in pattern
