"""The books: nothing is billed before it is accepted, or twice, or lost while it runs."""

from __future__ import annotations

import json
from pathlib import Path

from agentwatch.standin.bill import Bill, Entry
from agentwatch.standin.openai import OpenAI


def working(bill: Bill, prompt: int = 100) -> Entry:
    entry = bill.start("POST", "/v1/chat/completions", 1.0)
    entry.model, entry.prompt_tokens, entry.reckon = "gpt-4o-mini", prompt, OpenAI().cost
    return entry


def test_a_call_that_is_still_being_answered_is_on_the_bill_already() -> None:
    bill = Bill()
    entry = working(bill)
    bill.accept(entry)
    entry.completion_tokens = 10
    assert bill.summary()["billed_nanos"] == 100 * 150 + 10 * 600
    assert bill.summary()["by_request"][0]["ended"] is None


def test_what_was_refused_costs_nothing() -> None:
    bill = Bill()
    entry = working(bill)
    entry.status = 429
    bill.end(entry, "refused", 2.0)
    assert bill.summary()["billed_nanos"] == 0
    assert bill.summary()["refused"] == 1


def test_ending_a_call_twice_bills_it_once_and_keeps_the_first_reason() -> None:
    bill = Bill()
    entry = working(bill)
    bill.accept(entry)
    bill.end(entry, "done", 2.0)
    bill.end(entry, "client_gone", 3.0)
    assert bill.summary()["billed_nanos"] == 15_000
    assert bill.summary()["by_request"][0]["ended"] == "done"


def test_what_is_no_longer_kept_in_detail_stays_in_the_sum() -> None:
    bill = Bill(keep=1)
    for _ in range(3):
        entry = working(bill)
        bill.accept(entry)
        bill.end(entry, "done", 2.0)
    assert bill.summary()["billed_nanos"] == 45_000
    assert len(bill.summary()["by_request"]) == 1


def test_a_call_from_before_a_reset_does_not_end_on_the_new_bill() -> None:
    bill = Bill()
    entry = working(bill)
    bill.accept(entry)
    bill.reset()
    bill.end(entry, "done", 2.0)
    newer = working(bill)
    bill.accept(newer)
    assert bill.summary()["max_in_flight"] == 1
    assert bill.summary()["requests"] == 1


def test_the_file_has_every_call_that_ended_and_those_that_a_stop_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "bill.jsonl"
    bill = Bill(path=path)
    done, hanging = working(bill), working(bill)
    bill.accept(done)
    bill.end(done, "done", 2.0)
    assert json.loads(path.read_text())["nanos"] == 15_000
    bill.accept(hanging)
    bill.close(3.0)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["ended"] for row in rows] == ["done", "shutdown"]
    assert sum(row["nanos"] for row in rows) == bill.summary()["billed_nanos"]


def test_the_most_calls_at_once_are_remembered() -> None:
    bill = Bill()
    entries = [working(bill) for _ in range(3)]
    for entry in entries:
        bill.accept(entry)
    for entry in entries:
        bill.end(entry, "done", 2.0)
    assert bill.summary()["max_in_flight"] == 3
    assert [entry.in_flight for entry in entries] == [1, 2, 3]
