"""Each call that docs/sdk.md lists, in each of its columns, through the real SDK."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from harness import Daemon, environment, nanos, new_home, running, wait_until
from sdk_calls import ROWS, Row

from agentwatch import (
    AgentBudgetCheckUnavailable,
    AgentBudgetExceeded,
    AgentSessionKilled,
)
from agentwatch.standin.process import StandinProcess

OTHERS = ("OPENAI_", "ANTHROPIC_", "GROQ_", "XAI_", "GEMINI_", "GOOGLE_", "AGENTWATCH_")

each_row = pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])


def shown(daemon: Daemon, session_id: str) -> dict[str, Any]:
    """The session, once nothing is held any more."""

    def rest() -> dict[str, Any] | None:
        found: dict[str, Any] = daemon.get(f"/v1/sessions/{session_id}")
        return found if not found["held_usd"] else None

    found = wait_until(rest, what="a hold is left")
    assert found is not None
    return found


@each_row
def test_governed_and_metered(beside: Daemon, standin: StandinProcess, row: Row) -> None:
    client = row.client(agentwatch_session_budget_usd=1.0)
    row.run(client)
    told = shown(beside, client.agentwatch_session.id)
    bill = standin.bill()
    assert told["iterations"] == 1
    assert nanos(told["settled_usd"]) == bill["billed_nanos"] > 0
    assert [each["leaks"] for each in standin.requests()] == [[]]


@each_row
def test_refused(beside: Daemon, standin: StandinProcess, row: Row) -> None:
    client = row.client(agentwatch_session_budget_usd=0.000000001)
    with pytest.raises(AgentBudgetExceeded) as refused:
        row.run(client)
    error = refused.value
    assert (error.session_id, error.spent, error.limit) == (
        client.agentwatch_session.id,
        0.0,
        0.000000001,
    )
    assert "agentwatch sessions budget" in str(error)
    # once, and nothing went out
    assert shown(beside, error.session_id)["refusals"] == 1
    assert standin.bill()["requests"] == 0


@each_row
def test_killed(beside: Daemon, standin: StandinProcess, row: Row) -> None:
    client = row.client(agentwatch_session_budget_usd=5.0)
    standin.script("endless delay=0.005" if row.streams else "head_delay=30")
    raised: list[BaseException] = []

    def call() -> None:
        try:
            row.run(client)
        except BaseException as error:
            raised.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    wait_until(lambda: _is_out(standin, row), what="the call is out")
    session_id = client.agentwatch_session.id
    beside.call("POST", f"/v1/sessions/{session_id}/kill")
    caller.join(20)
    (error,) = raised
    assert isinstance(error, AgentSessionKilled), error
    assert error.session_id == session_id
    assert standin.bill()["requests"] == 1


def _is_out(standin: StandinProcess, row: Row) -> bool:
    rows = standin.bill()["by_request"]
    if row.streams:
        return any(each["completion_tokens"] > 5 for each in rows)
    return len(rows) == 1


# ---- the daemon is away


@pytest.fixture(scope="module")
def straight(module_standin: StandinProcess) -> Iterator[dict[str, tuple[str, int, Daemon]]]:
    """Every row was called once with no daemon there, and then the daemon came: by the row's id,
    its session, what the stand-in billed for it, and the daemon."""
    with ExitStack() as stack:
        home = stack.enter_context(new_home())
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in list(os.environ):
            if name.startswith(OTHERS):
                patch.delenv(name)
        patch.setenv("AGENTWATCH_HOME", str(home))
        made = {row.id: _alone(row, module_standin) for row in ROWS}
        daemon = stack.enter_context(running(Daemon(home, environment(home, module_standin))))
        yield {row: (session, billed, daemon) for row, (session, billed) in made.items()}


def _base(standin: StandinProcess, row: Row) -> str:
    """The provider's own address, as that one's SDK takes it."""
    return standin.of(row.provider) + ("/v1" if row.provider == "xai" else "")


def _alone(row: Row, standin: StandinProcess) -> tuple[str, int]:
    standin.reset()
    client = row.client(
        api_key=standin.key, base_url=_base(standin, row), agentwatch_session_budget_usd=1.0
    )
    row.run(client)
    bill = standin.bill()
    assert bill["requests"] == 1
    return client.agentwatch_session.id, bill["billed_nanos"]


@each_row
def test_away_and_fail_open(straight: dict[str, tuple[str, int, Daemon]], row: Row) -> None:
    session_id, billed, daemon = straight[row.id]
    told = shown(daemon, session_id)
    assert nanos(told["settled_usd"]) == billed > 0
    assert told["iterations"] == 1
    assert told["fail_open"] == {"daemon_away": 1}
    assert told["budget_usd"] == 1.0
    assert list((daemon.home / "spool").iterdir()) == []


@each_row
def test_away_and_fail_closed(
    alone: object, standin: StandinProcess, row: Row, caplog: pytest.LogCaptureFixture
) -> None:
    client = row.client(
        api_key=standin.key,
        base_url=_base(standin, row),
        agentwatch_session_id="closed",
        agentwatch_enforcement_fail_open=False,
    )
    with pytest.raises(AgentBudgetCheckUnavailable) as refused:
        row.run(client)
    assert refused.value.session_id == "closed"
    assert "no daemon is running" in refused.value.reason
    assert standin.bill()["requests"] == 0


def test_the_page_s_table_has_these_rows() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sdk.md").read_text(encoding="utf-8")
    listed = [line.split(" | ")[0].removeprefix("| ") for line in page.splitlines() if "✓" in line]
    assert [each.removesuffix(" |") for each in listed] == [row.id for row in ROWS]
