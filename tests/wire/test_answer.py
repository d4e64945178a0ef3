"""What all meters share: they never raise, keep little, and hand on what they were given."""

from __future__ import annotations

from agentwatch.wire.answer import FRAME_TOKENS, Answer, StreamedAnswer, WholeAnswer


class Broken(StreamedAnswer):
    def _read(self, data: bytes) -> bool:
        raise RuntimeError("a fault of ours")


class Stripping(StreamedAnswer):
    def _read(self, data: bytes) -> bool:
        self._saw_text(len(data))
        return data != b"drop"


class Whole(WholeAnswer):
    read: bytes | None = None

    def _read(self, body: bytes) -> None:
        if body == b"bad":
            raise ValueError(body)
        self.read = body


def test_a_meter_that_fails_hands_the_stream_on_and_counts_it() -> None:
    meter = Broken()
    assert meter.feed(b"data: 12345\n\n") + meter.close() == b"data: 12345\n\n"
    assert meter.output_ceiling == 5 + FRAME_TOKENS


def test_an_event_that_is_taken_out_leaves_the_others_as_they_were() -> None:
    meter = Stripping()
    assert meter.feed(b": hi\n\ndata: a\n\ndata: dr") == b": hi\n\ndata: a\n\n"
    assert meter.feed(b"op\n\ndata: b") == b""
    assert meter.close() == b"data: b"


def test_half_an_event_is_kept_so_that_a_stream_can_be_ended_between_events() -> None:
    meter = Stripping()
    assert meter.feed(b"data: a\n\ndata: {") == b"data: a\n\n"


def test_an_event_too_long_to_be_read_counts_as_output() -> None:
    meter = Stripping(limit=10)
    meter.feed(b"data: " + b"x" * 100 + b"\n\n")
    assert meter.output_ceiling > 100


def test_a_body_is_handed_on_at_once_and_read_at_its_end() -> None:
    meter = Whole()
    assert meter.feed(b"ab") + meter.feed(b"c") == b"abc"
    assert meter.read is None
    assert (meter.close(), meter.read) == (b"", b"abc")


def test_a_body_that_cannot_be_read_counts_as_output() -> None:
    meter = Whole()
    meter.feed(b"bad")
    meter.close()
    assert meter.output_ceiling == 3 + FRAME_TOKENS


def test_a_body_without_end_takes_no_memory_and_counts_as_output() -> None:
    meter = Whole(limit=1000)
    for _ in range(100):
        assert meter.feed(b"x" * 100) == b"x" * 100
        assert len(meter._kept) <= 1000
    meter.close()
    assert (meter.read, meter.output_ceiling) == (None, 10_000 + FRAME_TOKENS)


def test_names_and_errors_of_an_upstream_are_bounded_and_never_raise() -> None:
    answer = Answer()
    answer._name("m" * 1000, {"tier": 1})
    answer._failed(b'{"message":"' + b"e" * 5000 + b'"}')
    assert (len(answer.model or ""), answer.service_tier, len(answer.error or "")) == (
        256,
        None,
        500,
    )
    answer._failed(b"{")
    answer._failed(b'{"code":5}')
    assert answer.error == "an error without a message"


def test_the_floor_counts_events_and_never_more_than_the_longest_tokens_allow() -> None:
    answer = Answer()
    answer._saw_text(0)
    answer._saw_text(3)
    answer._saw_text(4)
    assert answer.output_floor == 2
    answer._saw_text(1280)
    assert answer.output_floor == 10
