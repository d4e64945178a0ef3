"""A JSON array in pieces: the same elements however it is cut, and not a byte lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.wire.json_array import ArrayStream
from agentwatch.wire.sse import Event

TEXT = st.text() | st.sampled_from(['"', "\\", "}{][,", '\\"', "\\\\", "{[", "日本"])
OBJECTS = st.dictionaries(
    TEXT, TEXT | st.lists(TEXT | st.dictionaries(TEXT, TEXT, max_size=2), max_size=3), max_size=4
)


def cut(stream: bytes, sizes: list[int], limit: int = 1 << 20) -> list[Event]:
    cutter, at, events = ArrayStream(limit), 0, []
    for size in [*sizes, len(stream)]:
        events += cutter.feed(stream[at : at + size])
        at += size
    return events + cutter.close()


@given(
    st.lists(OBJECTS, max_size=5),
    st.lists(st.integers(1, 9), max_size=80),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_the_elements_are_those_that_were_sent(
    sent: list[dict[str, Any]], sizes: list[int], indent: int | None, ascii_only: bool
) -> None:
    stream = json.dumps(sent, indent=indent, ensure_ascii=ascii_only).encode(errors="replace")
    events = cut(stream, sizes)
    assert b"".join(event.raw for event in events) == stream
    read = [json.loads(event.data) for event in events if event.data is not None]
    assert read == json.loads(stream)


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=30), st.integers(1, 64))
def test_of_any_bytes_none_is_lost_or_put_in(stream: bytes, sizes: list[int], limit: int) -> None:
    assert b"".join(event.raw for event in cut(stream, sizes, limit)) == stream


def test_a_lone_object_is_an_element() -> None:
    events = cut(b'{"error": {"code": 503}}\n', [3, 3])
    assert events[0].data == b'{"error": {"code": 503}}'


def test_an_element_without_end_is_handed_on_and_not_kept() -> None:
    cutter = ArrayStream(1_000)
    handed = 0
    for chunk in [b'[{"text":"', *[b"x" * 100] * 1_000]:
        handed += sum(len(event.raw) for event in cutter.feed(chunk))
        assert len(cutter._kept) <= 1_200
    events = cutter.feed(b'"},{"a":1}]')
    assert [event.data for event in events if event.data] == [b'{"a":1}']
    assert handed + sum(len(event.raw) for event in events) == 10 + 100_000 + 11


def test_an_element_is_handed_on_with_what_stands_before_it() -> None:
    cutter = ArrayStream()
    assert cutter.feed(b"[\n") == [] and not cutter.opened
    assert [event.raw for event in cutter.feed(b'{"a":1}\n,\n{"b":2}')] == [
        b'[\n{"a":1}',
        b'\n,\n{"b":2}',
    ]
    assert cutter.opened and not cutter.closed
    assert [event.raw for event in cutter.feed(b"\n]")] == [b"\n]"]
    assert cutter.closed


@pytest.mark.parametrize("endless", [b"1,", b" ", b'"x",'])
def test_what_is_no_object_is_handed_on_as_well(endless: bytes) -> None:
    stream, given, got = ArrayStream(limit=1_000), 0, 0
    for chunk in [b"[", *[endless * 500] * 20]:
        given += len(chunk)
        got += sum(len(event.raw) for event in stream.feed(chunk))
        assert given - got <= 2_500, "it is kept, without end"
    got += sum(len(event.raw) for event in stream.close())
    assert got == given
