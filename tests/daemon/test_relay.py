"""An answer's way back, broken at every place: settled first, then told."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import pytest
from workbench import (
    DONE,
    END,
    LOST,
    NOT_SENT,
    Bench,
    FakeAnswer,
    FakeClient,
    bench,
    event,
    said,
    until,
    usage,
)

from agentwatch.daemon import relay

RATE = 60_000  # gpt-4, nanos for a token of output
STREAM = {"stream": True, "stream_options": {"include_usage": True}}
UNASKED = {"stream": True}
PACK = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress}
REPORT = event(choices=[], usage=usage(8, 2))


async def ended(here: Bench, client: FakeClient, **fields: Any) -> Any:
    """Serve one call to its end; the session."""
    session = here.store.ledger.sessions.get("s") or here.open()
    await asyncio.wait_for(here.governor.serve(here.call(**fields), client), 10)
    assert (session.held, here.governor.calls) == (0, 0)
    return session


async def test_a_whole_stream() -> None:
    client = FakeClient()
    async with bench(FakeAnswer(said("a", "b") + REPORT + DONE, END)) as here:
        session = await ended(here, client, **STREAM)
    assert client.body == said("a", "b") + REPORT + DONE and client.finished
    assert session.settled == 8 * 30_000 + 2 * RATE


async def test_a_client_is_told_the_end_before_it_is_paid() -> None:
    """A session's balance is right when the agent has its answer."""
    seen = []

    class Client(FakeClient):
        async def finish(self) -> None:
            seen.append(here.store.ledger.session("s").settled)

    answers = FakeAnswer(REPORT + DONE, END), FakeAnswer(Content_Type="application/json")
    answers[1].put(b'{"usage":{"prompt_tokens":8,"completion_tokens":2}}')
    answers[1].put(END)
    async with bench(*answers) as here:
        await ended(here, Client(), **STREAM)
        await ended(here, Client())
    assert seen == [360_000, 720_000]


async def test_what_is_past_the_hold_goes_out_before_that_is_written() -> None:
    answer, client = FakeAnswer(said(*"x" * 100)), FakeClient()
    async with bench(answer) as here:
        session = here.open()
        serving = here.start(client, **STREAM)
        await until(lambda: client.body == said(*"x" * 100))
        here.journal.stuck = True
        before = session.held
        answer.put(said("beyond"))
        await until(lambda: session.held > before)
        assert b"beyond" not in client.body
        here.journal.release()
        await until(lambda: b"beyond" in client.body)
        answer.put(event(choices=[], usage=usage(8, 101)) + DONE)
        answer.put(END)
        await serving
    assert session.settled == 8 * 30_000 + 101 * RATE


@pytest.mark.parametrize("fail_open", ["true", "false"])
async def test_a_stream_past_its_hold_goes_on_though_nothing_can_be_written(fail_open: str) -> None:
    """With fail-open it does, and is counted as one call; else it is ended as a call is refused."""
    answer, client = FakeAnswer(said(*"x" * 100)), FakeClient()
    async with bench(answer, enforcement_fail_open=fail_open) as here:
        session = here.open()
        serving = here.start(client, **STREAM)
        await until(lambda: client.body == said(*"x" * 100))
        here.journal.broken = True
        answer.put(said(*"y" * 5_000))
        answer.put(said("z"))
        answer.put(END)
        await serving
        assert (b"z" in client.body) == (fail_open == "true")
        assert (b"governance_unavailable" in client.body) == (fail_open == "false")
        assert here.governor.passes.get("undurable", 0) == (fail_open == "true")
        assert session.settled >= 5_100 * RATE
        here.journal.broken = False


async def test_not_sent_is_charged() -> None:
    client = FakeClient()
    async with bench(NOT_SENT) as here:
        session = await ended(here, client)
    assert (session.settled, client.status) == (0, 502)
    assert client.headers["x-agentwatch-iteration"] == "1"


async def test_lost_is_free() -> None:
    client = FakeClient()
    async with bench(LOST) as here:
        session = await ended(here, client)
    assert (client.status, session.settled > 100 * RATE) == (502, True)


async def test_a_failure_of_ours_after_the_sending_is_free() -> None:
    async with bench(ZeroDivisionError("a defect")) as here:
        session = here.open()
        with pytest.raises(ZeroDivisionError):
            await here.governor.serve(here.call(), FakeClient())
        assert session.settled > 100 * RATE
        assert (session.held, here.governor.calls) == (0, 0)


async def test_a_cut_stream_looks_complete() -> None:
    client = FakeClient()
    async with bench(FakeAnswer(said("a", "b") + b'data: {"cho', LOST)) as here:
        session = await ended(here, client, **STREAM)
    assert client.broken_off and not client.finished
    assert client.body == said("a", "b") + b'data: {"cho'
    assert session.estimated == 1 and session.settled >= 2 * RATE


@pytest.mark.parametrize("takes", range(0, 400, 37))
async def test_a_client_goes_away_at_any_byte(takes: int) -> None:
    """The rest is read, and its usage charged."""
    client = FakeClient(takes)
    report = event(choices=[], usage=usage(8, 9))
    answer = FakeAnswer(*(said(str(number)) for number in range(9)), report + DONE, END)
    async with bench(answer) as here:
        session = await ended(here, client, **STREAM)
    assert session.settled == 8 * 30_000 + 9 * RATE
    assert answer.aborted


async def test_a_client_that_went_is_read_for_for_ever() -> None:
    answer = FakeAnswer(said("a", "b"))
    client = FakeClient(takes=10)
    async with bench(answer, enforcement_drain_s="0.05") as here:
        session = await ended(here, client, **STREAM)
    assert answer.aborted and not client.finished
    # two words and the frame around them, not the hold of 100
    assert 2 * RATE <= session.settled < 60 * RATE + 5_000_000


async def test_an_answer_that_is_not_whole_is_taken_for_all() -> None:
    answer = FakeAnswer(b'{"choices":[{"message":{"content":"h', END, Content_Type="a/json")
    client = FakeClient()
    async with bench(answer) as here:
        session = await ended(here, client)
    assert client.body == b'{"choices":[{"message":{"content":"h'
    assert session.settled > 100 * RATE


@pytest.mark.parametrize("fields", [STREAM, UNASKED])
@pytest.mark.parametrize("encoding", ["mystery", "br", "gzip"])
async def test_what_can_not_be_read_costs_32_tokens(encoding: str, fields: dict[str, Any]) -> None:
    answer = FakeAnswer(b"\xffnonsense", END, Content_Encoding=encoding)
    client = FakeClient()
    async with bench(answer) as here:
        session = await ended(here, client, **fields)
    assert session.settled > 100 * RATE
    if fields is UNASKED and encoding != "mystery":
        # a usage chunk is to be taken out, so that it was promised decoded
        assert client.broken_off and client.body == b""
    else:
        assert client.body == b"\xffnonsense" and client.headers["Content-Encoding"] == encoding


@pytest.mark.parametrize(("name", "pack"), PACK.items())
async def test_an_encoded_stream_is_unpacked_on_its_way(
    name: str, pack: Callable[[bytes], bytes]
) -> None:
    """Nothing is taken out of it: it comes as it was sent, and a copy of it is metered."""
    packed = pack(said("a", "b") + REPORT + DONE)
    answer = FakeAnswer(packed[:20], packed[20:], END, Content_Encoding=name)
    client = FakeClient()
    async with bench(answer) as here:
        session = await ended(here, client, **STREAM)
    assert (client.body, client.headers["Content-Encoding"]) == (packed, name)
    assert session.settled == 8 * 30_000 + 2 * RATE


async def test_an_encoded_stream_is_decoded_where_something_is_taken_out() -> None:
    packed = brotli.compress(said("a") + REPORT + DONE)
    client = FakeClient()
    async with bench(FakeAnswer(packed, END, Content_Encoding="br")) as here:
        await ended(here, client, **UNASKED)
    assert client.body == said("a") + DONE
    assert "Content-Encoding" not in client.headers


async def test_garbage_follows_what_could_be_decoded() -> None:
    packed = gzip.compress(said("a", "b"))
    answer = FakeAnswer(packed[:-8], b"\xff" * 64, said("never"), END, Content_Encoding="gzip")
    client = FakeClient()
    async with bench(answer) as here:
        session = await ended(here, client, **UNASKED)
    assert client.body == said("a", "b") and client.broken_off
    assert "Content-Encoding" not in client.headers
    assert session.settled > 100 * RATE


async def test_headers_that_come_twice_come_once() -> None:
    answer = FakeAnswer(DONE, END)
    answer.headers.extend([("Vary", "a"), ("Vary", "b"), ("x-agentwatch-iteration", "99")])
    client = FakeClient()
    async with bench(answer) as here:
        await ended(here, client, **STREAM)
    assert client.headers.getall("Vary") == ["a", "b"]
    assert client.headers.getall("x-agentwatch-iteration") == ["1"]


@pytest.mark.parametrize("status", [301, 404, 429, 500])
async def test_an_error_that_comes_slowly_is_answered_twice(status: int) -> None:
    """A kill in the middle of a provider's error finds an answer that was begun."""
    answer = FakeAnswer(b'{"error":', status=status, Content_Type="application/json")
    client = FakeClient()
    async with bench(answer) as here:
        session = here.open()
        call = here.start(client)
        await until(lambda: client.body)
        assert (session.held, session.settled) == (0, 0)
        here.store.set_state("s", "kill")
        await asyncio.wait_for(call, 10)
    assert (client.status, client.body, client.broken_off) == (status, b'{"error":', True)
    assert session.settled == 0


@pytest.mark.parametrize("why", ["killed", "stopping"])
async def test_an_end_from_outside_looks_like_an_end(why: str) -> None:
    answer = FakeAnswer(said("a"))
    client = FakeClient()
    async with bench(answer) as here:
        session = here.open()
        call = here.start(client, **STREAM)
        await until(lambda: client.body)
        here.governor.end_calls(why)
        await asyncio.wait_for(call, 10)
    assert client.finished and answer.aborted
    told = client.body.removeprefix(said("a"))
    assert told.startswith(b'data: {"error":') and told.endswith(b"\n\n")
    # of a hold of more than 12 million
    assert 0 < session.settled < 9_000_000


async def test_a_last_word_is_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "LAST_WORD_S", 0.02)

    class Stuck(FakeClient):
        async def write(self, data: bytes) -> None:
            if b"error" in data:
                await asyncio.Event().wait()
            await super().write(data)

    client = Stuck()
    async with bench(FakeAnswer(said("a"))) as here:
        here.open()
        call = here.start(client, **STREAM)
        await until(lambda: client.body)
        here.store.set_state("s", "kill")
        await asyncio.wait_for(call, 10)
    assert client.broken_off


async def test_a_large_body_is_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "WHOLE_LIMIT", 50)
    body = b'{"usage":{"prompt_tokens":8,"completion_tokens":2},"pad":"' + b"x" * 200 + b'"}'
    answer = FakeAnswer(Content_Type="application/json")
    client = FakeClient()
    async with bench(answer) as here:
        session = here.open()
        call = here.start(client)
        answer.put(body[:100])
        await until(lambda: client.body)
        assert client.body == body[:100]
        for part in (body[100:150], body[150:], END):
            answer.put(part)
        await asyncio.wait_for(call, 10)
    assert client.body == body and client.finished
    assert "x-agentwatch-cost-usd" not in client.headers
    assert session.settled == 360_000


async def test_a_stream_outruns_its_money() -> None:
    answer = FakeAnswer(*(said(f"{number} ") for number in range(2_000)), END)
    client = FakeClient()
    async with bench(answer) as here:
        here.open(0.03)
        session = await ended(here, client, **STREAM)
    words = client.body.count(b'"content"')
    assert 100 < words < 500 and client.finished and answer.aborted
    assert b"agent_budget_exceeded" in client.body[-600:]
    assert session.settled >= words * RATE
    # the word at which the money ended was made, and not handed on
    assert 30_000_000 - RATE <= session.settled <= 30_000_000 + RATE


async def test_what_cost_more_than_was_held_is_told_before_it_is_written() -> None:
    answer, client = FakeAnswer(Content_Type="application/json"), FakeClient()
    async with bench(answer) as here:
        session = here.open()
        call = here.start(client)
        await until(lambda: here.upstream.sent)
        held = session.held
        here.journal.stuck = True
        answer.put(b'{"usage":{"prompt_tokens":8,"completion_tokens":5000}}')
        answer.put(END)
        await until(lambda: session.settled > held > 0)
        await asyncio.sleep(0.05)
        assert client.body == b""
        here.journal.release()
        await asyncio.wait_for(call, 10)
    assert client.body and client.finished
