"""A path that was opened knowingly: sent on as it came, and no line of the answer is lost."""

from agentwatch.wire.unmetered import UnmeteredRequest


def test_a_body_that_is_not_read_goes_out_as_it_came():
    request = UnmeteredRequest(b'{"a":1,"a":2}')
    assert request.body() == b'{"a":1,"a":2}'
    assert request.body(output_limit=5) == b'{"a":1,"a":2}'
    assert request.text() is None


def test_an_answer_that_nobody_can_read_passes_and_counts_as_output_at_most():
    meter = UnmeteredRequest(b"").meter(streamed=False)
    assert meter.feed(b"\x00 no ") + meter.feed(b"JSON") + meter.close() == b"\x00 no JSON"
    assert meter.usage is None
    assert meter.output_ceiling >= len(b"\x00 no JSON")
    assert meter.output_floor == 0
