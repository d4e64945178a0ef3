"""The old client's wire: its very bytes, on the port, priced and charged once."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any

import pytest
from harness import PATIENCE_S, Daemon, chat, nanos

from agentwatch.core.usage import Usage
from agentwatch.daemon.elsewhere import bill_of
from agentwatch.pricing import load_book

#: what aw-sdk 1.0.1 sends for a chat
RECORD = {
    "model": "gpt-4o",
    "latency_ms": 812,
    "prompt_tokens": 1000,
    "completion_tokens": 200,
    "identified_risks": ["PII_EMAIL"],
    "project": "checkout-service",
    "team": "payments-eng",
    "session_id": "ci-run-123",
    "iteration_index": 1,
}
KEY = "awk_of-the-old-client"
#: RECORD by the price of gpt-4o
USD = (1000 * 2.5 + 200 * 10) / 1e6


@pytest.fixture(scope="module")
def module_daemon(module_start: Callable[..., Daemon]) -> Daemon:
    """A daemon that knows one key."""
    return module_start(api_key=KEY)


@pytest.fixture
def key() -> str:
    return KEY


def call(daemon: Daemon, key: str | None, method: str, path: str, body: Any = None) -> Any:
    """As httpx sends it: status and JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=PATIENCE_S)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def check(daemon: Daemon, key: str, session_id: str, limit: Any = 2.0) -> Any:
    """As aw-sdk asks before each call."""
    path = f"/v1/budget-check?session_id={session_id}&limit_usd={limit}"
    status, told = call(daemon, key, "GET", path)
    assert status == 200
    return told


def test_the_old_client_s_round(daemon: Daemon, key: str) -> None:
    told = check(daemon, key, "ci-run-123")
    assert {**told, "schema_version": 1} == {
        "schema_version": 1,
        "exceeded": False,
        "spent_usd": 0.0,
        "limit_usd": 2.0,
        "remaining_usd": 2.0,
        "state": "active",
    }
    status, told = call(daemon, key, "POST", "/v1/ingest", RECORD)
    assert (status, told["accepted"], told["charged_usd"]) == (202, True, USD)
    told = check(daemon, key, "ci-run-123")
    assert (told["exceeded"], told["spent_usd"], told["remaining_usd"]) == (False, USD, 2.0 - USD)
    assert check(daemon, key, "ci-run-123", USD)["exceeded"] is True
    shown = daemon.get("/v1/sessions/ci-run-123")
    assert (shown["project"], shown["team"]) == ("checkout-service", "payments-eng")
    assert (shown["iterations"], shown["input_tokens"], shown["output_tokens"]) == (1, 1000, 200)
    assert shown["risks"] == {"PII_EMAIL": 1}
    budgets = {each["name"]: each for each in daemon.get("/v1/budgets")["budgets"]}
    assert budgets["project:checkout-service"]["settled_usd"] == USD
    assert budgets["team:payments-eng"]["settled_usd"] == USD


def test_a_check_moves_a_ceiling(daemon: Daemon, key: str) -> None:
    agent = daemon.open(1.0)
    assert check(daemon, key, agent.id, 0.5)["limit_usd"] == 0.5
    assert check(daemon, key, agent.id, 99)["limit_usd"] == 1.0
    assert agent.show()["budget_usd"] == 1.0


def test_a_session_that_is_over_looks_like_an_outage(daemon: Daemon, key: str) -> None:
    """The old client takes anything but a 200 for one, and lets the call through."""
    agent = daemon.open(1.0)
    agent.do("kill")
    told = check(daemon, key, agent.id)
    assert (told["exceeded"], told["state"]) == (True, "killed")


def test_a_call_that_came_through_the_daemon_is_charged_twice(daemon: Daemon, key: str) -> None:
    agent = daemon.open(1.0)
    assert agent.post(body=chat()).status == 200
    settled = nanos(agent.at_rest()["settled_usd"])
    record = {**RECORD, "session_id": agent.id}
    status, told = call(daemon, key, "POST", "/v1/ingest", record)
    assert (status, told["charged_usd"]) == (202, 0)
    assert agent.settled == settled > 0
    assert agent.show()["iterations"] == 1


def test_it_is_told_of_and_so_never_refused(daemon: Daemon, key: str) -> None:
    agent = daemon.open(0.001)
    for _ in range(2):
        record = {**RECORD, "session_id": agent.id}
        assert call(daemon, key, "POST", "/v1/ingest", record)[0] == 202
    agent.do("kill")
    assert call(daemon, key, "POST", "/v1/ingest", {**RECORD, "session_id": agent.id})[0] == 202
    shown = agent.show()
    assert shown["settled_usd"] == pytest.approx(3 * USD)
    # what the ceiling had no room for
    assert shown["overdraft_usd"] == pytest.approx(3 * USD - 0.001)


def test_a_model_without_a_price_is_counted_and_shown(daemon: Daemon, key: str) -> None:
    record = {**RECORD, "model": "made-up-9", "session_id": "unpriced"}
    status, told = call(daemon, key, "POST", "/v1/ingest", record)
    assert (status, told["charged_usd"], told["reason"]) == (202, 0, "unpriced")
    shown = daemon.get("/v1/sessions/unpriced")
    assert (shown["iterations"], shown["fail_open"]) == (1, {"unpriced": 1})


def test_a_record_without_a_session_is_lost(daemon: Daemon, key: str) -> None:
    record = {name: RECORD[name] for name in ("model", "prompt_tokens", "completion_tokens")}
    assert call(daemon, key, "POST", "/v1/ingest", record)[0] == 202
    assert daemon.get("/v1/sessions/elsewhere")["settled_usd"] == USD


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": None},
        {"model": 7},
        {"prompt_tokens": -1},
        {"prompt_tokens": 1.5},
        {"completion_tokens": None},
        {"completion_tokens": 10**9},
        {"identified_risks": "PII_EMAIL"},
        {"identified_risks": [7]},
        {"latency_ms": "fast"},
        {"session_id": "no/id"},
        {"project": "\n"},
    ],
)
def test_a_record_that_can_t_be_meant_is_charged(
    daemon: Daemon, key: str, wrong: dict[str, Any]
) -> None:
    status, told = call(daemon, key, "POST", "/v1/ingest", {**RECORD, "session_id": "w", **wrong})
    assert (status, told["error"]["code"]) == (400, "bad_request")


@pytest.mark.parametrize("presented", [None, "awk_wrong", "aws_x", "sk-real"])
def test_who_has_no_key_writes_bills(daemon: Daemon, presented: str | None) -> None:
    assert call(daemon, presented, "POST", "/v1/ingest", RECORD)[0] == 401
    path = "/v1/budget-check?session_id=s&limit_usd=2"
    assert call(daemon, presented, "GET", path)[0] == 401


def test_a_model_is_priced_by_whoever_has_it() -> None:
    book = load_book(None)
    usage = Usage(input_tokens=1_000_000, output_tokens=0)
    assert bill_of(book, "claude-opus-4-5", usage).ask.provider == "anthropic"
    assert bill_of(book, "gpt-4o", usage).charge.nanos == 2_500_000_000
    unknown = bill_of(book.with_unknown(7_000_000_000), "made-up", usage).charge
    assert (unknown.nanos, unknown.basis) == (7_000_000_000, "usage")
