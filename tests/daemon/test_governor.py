"""The order of steps: hold, written, sent, settled; and what happens in between."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import weakref
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from workbench import (
    DONE,
    END,
    Bench,
    FakeAnswer,
    FakeClient,
    FakeUpstream,
    bench,
    event,
    until,
    usage,
)

from agentwatch import tokens
from agentwatch.daemon.upstream import Upstream, open_session
from agentwatch.errors import Refusal
from agentwatch.standin.process import StandinProcess

RATE = 60_000
ANSWER = json.dumps({"usage": usage(8, 2)}).encode()


def whole() -> FakeAnswer:
    return FakeAnswer(ANSWER, END, Content_Type="application/json")


async def refused(here: Bench, **fields: Any) -> Refusal:
    with pytest.raises(Refusal) as raised:
        await asyncio.wait_for(here.governor.serve(here.call(**fields), FakeClient()), 10)
    return raised.value


async def test_a_request_is_sent_before_its_hold_is_durable() -> None:
    """I4: for every upstream byte an earlier durable hold."""

    async with bench(whole()) as here:
        here.open()
        here.journal.stuck = True
        call = here.start()
        await until(lambda: here.governor.calls)
        for _ in range(20):
            await asyncio.sleep(0)
        assert here.upstream.sent == []
        here.journal.release()
        await asyncio.wait_for(call, 10)
        assert len(here.upstream.sent) == 1


async def test_the_clients_credential_goes_upstream() -> None:
    async with bench(whole()) as here:
        here.open()
        await here.governor.serve(here.call(), FakeClient())
        assert here.upstream.credentials == [("Authorization", "Bearer sk-real")]


@pytest.mark.parametrize("fail_open", [True, False])
async def test_a_journal_that_can_not_be_written(fail_open: bool) -> None:
    """Open: served, and counted as not durable. Closed: 503, and nothing is sent."""
    async with bench(whole(), whole(), whole()) as here:
        session = here.open(fail_open=fail_open)
        here.journal.broken = True
        if fail_open:
            for _ in range(2):
                await here.governor.serve(here.call(), FakeClient())
            assert here.governor.passes == session.passes == {"undurable": 2}
            assert session.settled == 2 * 360_000
        else:
            for _ in range(2):
                assert (await refused(here)).reason == "governance_unavailable"
            assert here.upstream.sent == [] and here.governor.passes == {}
            assert session.settled == 0
        assert session.held == 0
        here.journal.broken = False
        await until(lambda: here.store.failed is None)
        await here.governor.serve(here.call(), FakeClient())
        assert await here.store.verify() > 0


@pytest.mark.parametrize("fail_open", [True, False])
async def test_fail_open_lets_the_exhausted_and_the_killed_through(fail_open: bool) -> None:
    """litellm#33923, #34238."""
    async with bench() as here:
        here.open(0.0, "s", fail_open=fail_open)
        here.open(1.0, "k", fail_open=fail_open)
        assert (await refused(here)).reason == "agent_budget_exceeded"
        here.store.set_state("k", "kill")
        here.journal.broken = True
        here.store.touch(here.store.ledger.session("s"))
        await until(lambda: here.store.failed is not None)
        expected = "agent_budget_exceeded" if fail_open else "governance_unavailable"
        assert (await refused(here)).reason == expected
        assert (await refused(here, name="k")).reason == "session_killed"
        assert here.upstream.sent == []


async def test_a_kill_between_hold_and_sending_closes_the_line_without_a_word() -> None:
    async with bench(whole()) as here:
        session = here.open()
        here.journal.stuck = True
        asked = asyncio.create_task(refused(here))
        await until(lambda: here.governor.calls)
        here.store.set_state("s", "kill")
        assert (await asked).reason == "session_killed"
        assert (here.upstream.sent, session.held, session.settled) == ([], 0, 0)


async def test_a_client_that_goes_while_it_waits_is_sent_for() -> None:
    first = FakeAnswer()
    async with bench(first, whole()) as here:
        session = here.open(0.02)
        out = here.start(stream=True, max_tokens=150)
        await until(lambda: here.upstream.sent)
        client = FakeClient()
        waits = here.start(client, max_tokens=150)
        await until(lambda: here.governor.waiting == 1)
        client.go()
        with pytest.raises(asyncio.CancelledError):
            await waits
        assert here.governor.waiting == 0
        first.put(event(choices=[], usage=usage(8, 2)) + DONE)
        first.put(END)
        await out
        assert (session.held, session.iterations, len(here.upstream.sent)) == (0, 1, 1)


async def test_a_client_that_was_gone_before_it_was_served() -> None:
    class Gone(FakeClient):
        def when_gone(self, do: Any) -> None:
            do()

    async with bench() as here:
        session = here.open()
        with pytest.raises(asyncio.CancelledError):
            await here.governor.serve(here.call(), Gone())
        assert (session.held, session.iterations, here.upstream.sent) == (0, 0, [])


async def test_no_provider_key_is_told_with_its_remedy() -> None:
    async with bench() as here:
        here.open()
        here.governor._keys.provider = lambda name: None  # type: ignore[method-assign]
        refusal = await refused(here)
        assert refusal.reason == "unknown_credential"
        assert "agentwatch keys set openai" in refusal.message


async def test_refusals_are_not_told_to_who_follows() -> None:
    async with bench(whole()) as here:
        here.open(0.0)
        with here.events.follow("s") as follower:
            refusal = await refused(here)
            kinds = [(await follower.next())["kind"], (await follower.next())["kind"]]
            assert sorted(kinds) == ["refusal", "state"]
            here.store.set_ceiling("session:s", 10**9)
            assert (await follower.next())["kind"] == "budget"
            await here.governor.serve(here.call(), FakeClient())
            told = {event["kind"]: event for event in here.events.past("s")}
            assert told["call"]["cost_usd"] == 0.00036
            assert told["refusal"]["message"] == refusal.message


async def test_a_count_of_tokens_that_would_let_it_through_is_not_made() -> None:
    """A text of 40 KB is about 5,000 tokens: by its bytes it would not fit."""
    text = "What a wonderful world it would be. " * 1_100
    messages = [{"role": "user", "content": text}]
    async with bench(whole()) as here:
        session = here.open(0.06)
        fields = {"model": "gpt-4o", "max_tokens": 100, "messages": messages}
        assert len(text) * 2_500 > 60_000_000
        await here.governor.serve(here.call(**fields), FakeClient())
        assert session.settled == 8 * 2_500 + 2 * 10_000


async def test_a_count_that_changes_nothing_refuses_all_the_same() -> None:
    async with bench() as here:
        here.open(0.0001)
        messages = [{"role": "user", "content": "What a wonderful world. " * 500}]
        refusal = await refused(here, model="gpt-4o", max_tokens=100, messages=messages)
        assert refusal.reason == "agent_budget_exceeded"


async def test_free_calls_are_held_for() -> None:
    async with bench(FakeAnswer(b"{}", END, Content_Type="application/json")) as here:
        session = here.open(0.0)
        client = FakeClient()
        await here.governor.serve(here.call("/moderations", input="x"), client)
        assert (client.status, client.body, session.iterations) == (200, b"{}", 0)
        here.store.set_state("s", "kill")
        with pytest.raises(Refusal):
            await here.governor.serve(here.call("/moderations", input="x"), client)


async def test_a_hundred_calls_at_once_leave_something_behind() -> None:
    class Upstreams(FakeUpstream):
        async def send(self, *request: Any) -> FakeAnswer:
            self.sent.append({})
            await asyncio.sleep(0.001)
            return whole()

    async with bench(upstream=Upstreams()) as here:
        session = here.open(0.05)
        calls = [here.start() for _ in range(100)]
        await asyncio.wait_for(asyncio.gather(*calls), 30)
        assert session.settled == 100 * 360_000
        assert (session.held, here.governor.calls, here.governor.waiting) == (0, 0, 0)
        assert len(here.tasks) == 0
        assert await here.store.verify() == 1 + 200


async def test_two_calls_at_once_spend_the_last_money_twice() -> None:
    async with bench(*[None] * 10) as here:
        session = here.open(0.015)
        for _ in range(10):
            here.start()
        await until(lambda: here.governor.waiting == 9 and here.upstream.sent)
        assert len(here.upstream.sent) == 1
        assert 7_500_000 < session.held <= 15_000_000, "one fits, and no second"


async def test_the_loop_is_blocked_by_a_call() -> None:
    """No file, lock or sleep on a call's path, from the hold to the settled answer."""
    with StandinProcess() as standin:
        async with open_session() as session:
            upstream = Upstream("openai", standin.url, session)
            async with bench(upstream=upstream) as here:
                here.governor._keys.provider = lambda name: standin.key  # type: ignore[method-assign]
                agent = here.open(5.0)
                await here.governor.serve(here.call(), FakeClient())  # warm
                with blockbuster_ctx("agentwatch"):
                    for stream in (False, True):
                        for _ in range(5):
                            await here.governor.serve(here.call(stream=stream), FakeClient())
                    hang = [{"role": "user", "content": "[[standin: endless delay=0.001]]"}]
                    client = FakeClient()
                    out = here.start(client, messages=hang, stream=True, max_tokens=4_000)
                    await until(lambda: client.body)
                    here.store.set_state("s", "kill")
                    await asyncio.wait_for(out, 10)
        assert agent.settled >= standin.bill()["billed_nanos"] > 0


async def test_a_spent_session_that_goes_on_asking_has_its_text_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No count could make it fit, and a megabyte of text takes a processor's second."""
    counted: list[str] = []
    monkeypatch.setattr(tokens, "tokenizer_of", lambda model: "any")
    monkeypatch.setattr(tokens, "count", counted.append)
    async with bench() as here:
        here.open(usd=0.0)
        assert (await refused(here)).reason == "agent_budget_exceeded"
        assert counted == []
        here.open(usd=0.000001, name="nearly")
        assert (await refused(here, name="nearly")).reason == "agent_budget_exceeded"
        assert len(counted) == 1


async def test_a_refused_body_of_ten_megabytes_stays_until_the_collector_comes() -> None:
    """Measured: 200 of them held 2.3 GB, as the error and the frame that raised it kept each
    other."""
    async with bench() as here:
        here.open(usd=0.000_001)
        gc.collect()
        gc.disable()
        try:
            call = here.call()
            request = weakref.ref(call.request)
            client = FakeClient()
            with contextlib.suppress(Refusal):
                await here.governor.serve(call, client)
            assert client.status is None
            del call
            await until(lambda: request() is None)
        finally:
            gc.enable()


async def test_a_call_whose_client_left_before_its_hold_was_written_is_sent() -> None:
    answer, client = FakeAnswer(END), FakeClient()
    async with bench(answer) as here:
        session = here.open()
        here.journal.stuck = True
        call = here.start(client)
        await until(lambda: session.held > 0)
        client.go()
        await asyncio.wait([call], timeout=10)
        here.journal.release()
        await until(lambda: session.held == 0)
        assert here.upstream.sent == []
    assert session.settled == 0
