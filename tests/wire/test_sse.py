"""The stream parser: the same events however the bytes were cut, and no memory for endless ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.wire.sse import Event, EventStream

PIECES = st.sampled_from(
    b"\n|\r|\r\n|data: |data:|data|: ping|event: x|{}|\xe2|\xe2\x80\xa8|aaaaaaaaa".split(b"|")
)
STREAMS = st.lists(PIECES, max_size=40).map(b"".join)


def parse(stream: bytes, cuts: list[int], limit: int = 1 << 20) -> list[Event]:
    parser, events, start = EventStream(limit), [], 0
    for cut in sorted({min(cut, len(stream)) for cut in cuts}):
        events += parser.feed(stream[start:cut])
        start = cut
    return events + parser.feed(stream[start:]) + parser.close()


@given(STREAMS, st.lists(st.integers(0, 200), max_size=8))
def test_a_stream_cut_anywhere_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    assert parse(stream, cuts) == parse(stream, [])


@given(STREAMS)
def test_a_stream_fed_byte_by_byte_gives_the_same_events(stream: bytes) -> None:
    assert parse(stream, list(range(len(stream)))) == parse(stream, [])


@given(STREAMS, st.lists(st.integers(0, 200), max_size=8), st.integers(1, 20))
def test_no_byte_is_lost_or_added_even_in_events_over_the_limit(
    stream: bytes, cuts: list[int], limit: int
) -> None:
    assert b"".join(event.raw for event in parse(stream, cuts, limit)) == stream


@given(STREAMS, st.lists(st.integers(0, 200), max_size=8), st.integers(1, 20))
def test_which_events_are_read_does_not_depend_on_the_cuts(
    stream: bytes, cuts: list[int], limit: int
) -> None:
    def read(events: list[Event]) -> list[bytes | None]:
        return [event.data for event in events if not event.unread]

    assert read(parse(stream, cuts, limit)) == read(parse(stream, [], limit))


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n", b"\n\r"])
def test_every_line_end_of_the_standard_ends_an_event(end: bytes) -> None:
    events = parse(b"data: a" + end + b"data: b" + end, [])
    assert [event.data for event in events if event.data] == [b"a", b"b"]


def test_a_line_separator_inside_a_string_does_not_split_the_event() -> None:
    payload = '{"text":"a\u2028b\u0085c"}'.encode()
    assert parse(b"data: " + payload + b"\n\n", [])[0].data == payload


def test_data_of_many_lines_is_joined_and_comments_are_none() -> None:
    events = parse(b"event: x\ndata: a\ndata:b\nid: 1\n\n: ping\n\n", [])
    assert [event.data for event in events] == [b"a\nb", None]


def test_an_event_comes_out_as_soon_as_it_is_whole() -> None:
    assert [event.data for event in EventStream().feed(b"data: a\n\ndata: b\n")] == [b"a"]


def test_a_crlf_that_is_split_between_chunks_is_one_line_end() -> None:
    parser = EventStream()
    assert parser.feed(b"data: a\r\n\r") == []
    assert [event.raw for event in parser.feed(b"\ndata: b")] == [b"data: a\r\n\r\n"]


def test_a_line_without_end_takes_no_memory() -> None:
    parser, handed_on = EventStream(limit=1000), 0
    for _ in range(1000):
        for event in parser.feed(b"x" * 1000):
            assert event.unread
            handed_on += len(event.raw)
        assert len(parser._kept) <= 1004
    assert handed_on > 990_000


def test_the_event_after_one_that_is_too_long_is_read() -> None:
    events = parse(b"data: " + b"x" * 50 + b"\n\ndata: b\n\n", [20, 40, 57], limit=20)
    assert [event.data for event in events if not event.unread] == [b"b"]
