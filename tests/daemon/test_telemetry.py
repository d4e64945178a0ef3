"""The queue in front of the telemetry process: it never waits, and counts what it lets fall."""

from __future__ import annotations

import asyncio

import pytest
from workbench import settings, until

from agentwatch.core.call_record import CallRecord
from agentwatch.daemon import telemetry as module
from agentwatch.daemon.tasks import Tasks
from agentwatch.daemon.telemetry import Telemetry
from agentwatch.daemon.telemetry_frames import Ask, Item, Written
from agentwatch.errors import AgentWatchError, Refusal


def item(request: bytes | None = None) -> Item:
    return Item(CallRecord(request_id="h", session_id="s", at=0.0), request)


def waiting(**variables: str) -> tuple[Telemetry, list[tuple[str, list[str]]]]:
    """A telemetry that was not opened, and what it tells of risks."""
    seen: list[tuple[str, list[str]]] = []
    made = Telemetry(settings(**variables), Tasks(), lambda *told: seen.append(told))
    return made, seen


async def test_a_full_queue_drops_what_was_said_first_and_then_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_RECORDS", 4)
    monkeypatch.setattr(module, "MOST_BYTES", 25)
    telemetry, _ = waiting()
    for _ in range(6):
        telemetry.put(item(b"0123456789"))
    assert (telemetry.stripped, telemetry.dropped, telemetry.waiting) == (2, 2, 4)
    batch = telemetry._next_batch()
    assert [each.request for each in batch] == [b"0123456789"] * 2 + [None] * 2
    telemetry.put(item(b"0123456789"))
    assert telemetry.stripped == 2


async def test_a_batch_ends_before_a_question_so_that_its_answer_knows_all_before_it() -> None:
    telemetry, _ = waiting()
    telemetry.put(item())
    telemetry._ask("stats", {})
    telemetry.put(item())
    assert len(telemetry._next_batch()) == 1
    assert isinstance(telemetry._queue[0], Ask)


async def test_what_could_not_be_written_is_counted() -> None:
    telemetry, seen = waiting()
    telemetry._heard(Written(3, risks=[("s", ["PII_IP"])]))
    telemetry._heard(Written(2, "the disk is full"))
    assert (telemetry.written, telemetry.dropped) == (3, 2)
    assert seen == [("s", ["PII_IP"])]


async def test_texts_are_asked_for_only_where_somebody_looks_at_them() -> None:
    assert waiting()[0].wants_text
    assert not waiting(risks_action="off")[0].wants_text
    assert waiting(risks_action="off", telemetry_payloads="full")[0].wants_text
    assert not waiting()[0].blocks
    assert waiting(risks_tags='{PII_IP = "block"}')[0].blocks


async def test_a_request_that_can_t_be_looked_at_in_time_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    telemetry, _ = waiting(risks_action="block", risks_block_within_s="0.05")

    async def never(ask: Ask) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(telemetry._gate, "put", never)
    monkeypatch.setattr(telemetry, "_warmed", True)
    with pytest.raises(Refusal, match="block_within_s") as refused:
        await telemetry.check(b"{}")
    assert refused.value.reason == "bad_request"
    with pytest.raises(Refusal, match="too large"):
        await telemetry.check(b"x" * (module.LARGEST_BODY + 1))


async def test_the_first_calls_wait_for_the_start_of_its_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It starts later, or when somebody asks; records that came before a question are in time."""
    monkeypatch.setattr(module, "LATER_S", 3_600.0)
    telemetry, seen = waiting()
    telemetry.open()
    try:
        telemetry.put(item(b'{"text": "alice@example.com"}'))
        for _ in range(20):
            await asyncio.sleep(0)
        assert telemetry.waiting == 1
        with pytest.raises(AgentWatchError, match="can't be opened"):
            await telemetry.ask("stats")
        assert seen == [("s", ["PII_EMAIL"])] and telemetry.waiting == 0
    finally:
        await telemetry.close()


async def test_the_process_answers_looks_and_is_started_again(tmp_path: object) -> None:
    """The real process, without a home: it can't write, says so, and still looks."""
    telemetry, seen = waiting(risks_tags='{PII_IP = "block"}', risks_block_within_s="30")
    telemetry.open()
    try:
        with pytest.raises(Refusal, match="PII_IP"):
            await telemetry.check(b'{"text": "84.23.91.17"}')
        await telemetry.check(b'{"text": "nothing"}')
        telemetry.put(item(b'{"text": "alice@example.com"}'))
        await until(lambda: telemetry.dropped, 20)
        assert seen == [("s", ["PII_EMAIL"])]
        with pytest.raises(AgentWatchError, match="can't be opened"):
            await telemetry.ask("stats")
        process = telemetry._link._process
        assert process is not None
        process.kill()
        telemetry.put(item(b'{"text": "alice@example.com"}'))
        await until(lambda: telemetry.dropped == 2, 20)
        assert process.returncode == -9
    finally:
        await telemetry.close()
