"""A call from its hold to its one terminal entry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
from workbench import Bench, bench, book, until

from agentwatch.core.admission import Admitted, Policy
from agentwatch.daemon.flight import Flight, OutOfMoney
from agentwatch.daemon.quoting import priced, quote_for
from agentwatch.store.store import Written

RATE = 60_000  # gpt-4, nanos for a token of output


class Seen:
    """A meter that has seen this much."""

    usage = begun = model = service_tier = error = step = None
    complete = False

    def __init__(self, floor: int, ceiling: int | None = None) -> None:
        self.output_floor = floor
        self.output_ceiling = floor if ceiling is None else ceiling

    def head(self, headers: Mapping[str, str]) -> None: ...

    def last_word(self, event: bytes) -> bytes:
        return event

    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def close(self) -> bytes:
        return b""


@pytest.fixture
async def here() -> AsyncIterator[Bench]:
    async with bench() as made:
        yield made


def take_off(here: Bench, **fields: object) -> Flight:
    ask = here.call(**fields).ask  # type: ignore[arg-type]
    quoted = quote_for(ask, priced(ask, book()), None)
    verdict, _ = here.store.hold("s", quoted, Policy(), "h1")
    assert isinstance(verdict, Admitted)
    return Flight("h1", "s", ask, quoted, here.store, book(), until_written)


async def until_written(flight: Flight, written: Written) -> None:
    await written


async def paid_up_to(flight: Flight) -> int:
    """Tokens of a stream without end that there is money for."""
    for floor in range(1, 10_000):
        try:
            await flight.pay_for(Seen(floor))
        except OutOfMoney:
            return floor - 1
    raise AssertionError("there was money for all of it")


async def test_a_hold_has_two_ends(here: Bench) -> None:
    session = here.open()
    flight = take_off(here)
    first = flight.settle(Seen(3))
    assert first == session.settled > 0
    assert flight.settle(Seen(90)) == flight.settle_in_doubt("hold") == first
    flight.void("too late")
    flight.abandon()
    assert (session.settled, session.held) == (first, 0)


async def test_what_was_voided_is_charged_after_all(here: Bench) -> None:
    session = here.open()
    flight = take_off(here)
    flight.void("refused by the provider: 429")
    flight.leave()
    flight.settle(Seen(50))
    flight.abandon()
    assert (session.settled, session.held) == (0, 0)


async def test_a_call_that_failed_in_the_daemon_is_free(here: Bench) -> None:
    session = here.open()
    flight = take_off(here)
    held = flight.held
    flight.leave()
    flight.abandon()
    assert session.settled == held > 0


async def test_a_hold_leaks_when_nothing_was_sent(here: Bench) -> None:
    session = here.open()
    take_off(here).abandon()
    assert (session.settled, session.held) == (0, 0)


async def test_a_stream_within_its_limit_asks_for_more(here: Bench) -> None:
    here.open()
    flight = take_off(here, max_tokens=100)
    held = flight.held
    await flight.pay_for(Seen(100))
    assert flight.held == held
    await flight.pay_for(Seen(101))
    assert flight.held > held


async def test_extensions_go_beyond_the_ceiling(here: Bench) -> None:
    session = here.open(0.02)
    flight = take_off(here, max_tokens=100)
    floor = await paid_up_to(flight)
    assert session.held <= 20_000_000
    # to the last token that there is money for
    assert session.free is not None and session.free < RATE
    assert 100 < floor < 20_000_000 // RATE


async def test_choices_are_paid_for_once(here: Bench) -> None:
    """The limit is each choice's, what was seen is of all."""
    here.open()
    flight = take_off(here, max_tokens=100, n=4)
    held = flight.held
    await flight.pay_for(Seen(400))
    assert flight.held == held
    await flight.pay_for(Seen(401))
    assert flight.held - held == 2048 * RATE


async def test_a_stream_waits_for_the_disk_at_each_extension(here: Bench) -> None:
    """But for the first, which nobody could foresee, it is extended ahead of what comes."""
    here.open()
    flight = take_off(here, max_tokens=100)
    first = asyncio.create_task(pay_to(flight, 101))
    here.journal.stuck = True
    await until(lambda: flight.held > 100 * RATE + 2048 * RATE)
    assert not first.done()
    here.journal.release()
    await first
    here.journal.stuck = True
    for made in range(102, 2148 + 1):
        await asyncio.wait_for(flight.pay_for(Seen(made)), 1)
    assert flight.held > 2 * 2048 * RATE
    beyond = asyncio.create_task(pay_to(flight, 2149))
    await asyncio.sleep(0)
    assert not beyond.done()
    here.journal.release()
    await beyond


async def pay_to(flight: Flight, made: int) -> None:
    await flight.pay_for(Seen(made))


async def test_what_came_beyond_the_hold_is_given_away(here: Bench) -> None:
    """A stream may outrun its hold in one piece: what was certainly made is charged."""
    session = here.open()
    flight = take_off(here, max_tokens=100)
    held = flight.held
    cost = flight.settle(Seen(300, 9_000))
    assert cost >= 300 * RATE > held
    assert session.overdraft == cost - held


async def test_a_guess_goes_beyond_the_hold(here: Bench) -> None:
    here.open()
    flight = take_off(here, max_tokens=100)
    held = flight.held
    assert flight.settle(Seen(50, 9_000)) == held


async def test_in_doubt_the_rule_decides(here: Bench) -> None:
    here.open()
    flight = take_off(here, max_tokens=100)
    held = flight.held
    assert flight.settle_in_doubt("input") == held - 100 * RATE


async def test_the_last_reason_for_an_end_counts(here: Bench) -> None:
    here.open()
    flight = take_off(here)
    flight.end("client_gone")
    assert flight.ended_by is None  # it flies in no task yet
    task = asyncio.create_task(asyncio.sleep(60))
    flight.flies_in(task)
    flight.end("killed")
    flight.end("client_gone")
    assert flight.ended_by == "killed"
    with pytest.raises(asyncio.CancelledError):
        await task
