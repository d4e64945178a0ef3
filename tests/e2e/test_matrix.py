"""The matrix: each provider through its own SDK in the current major version, whole and streamed.
Its previous version is run by clients/test_matrix_before.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import Agent, Daemon, nanos
from matrix import CURRENT, FORMS, Row, is_exact
from matrix_cell import COLUMNS, run

from agentwatch.standin.process import StandinProcess


@pytest.fixture(scope="module")
def module_daemon(module_start: Callable[..., Daemon]) -> Daemon:
    """One that reads an answer to its end after its client has gone."""
    return module_start(enforcement_drain_s="10")


def check_cell(
    daemon: Daemon,
    standin: StandinProcess,
    row: Row,
    column: str,
    do: Callable[[str, Agent], None],
) -> None:
    """Run one cell by `do`, which is given the base URL and the agent, and compare the books."""
    agent = daemon.open(50.0)
    if column == "errors":
        standin.script({"status": 503}, count=1)
    do(f"http://127.0.0.1:{daemon.port}{row.base}", agent)
    shown, bill = agent.at_rest(), standin.bill()
    settled = nanos(shown["settled_usd"])
    assert bill["leaks"] == [] and bill["wrong_key"] == 0
    assert shown["overdraft_usd"] == 0
    # each of the SDK's tries is a call of its own
    assert shown["iterations"] == bill["requests"]
    assert bill["refused"] == (1 if column == "errors" else 0)
    if is_exact(column):
        assert settled == bill["billed_nanos"] > 0, bill["by_request"]
        assert shown["estimated"] == 0
    else:
        assert settled >= bill["billed_nanos"] > 0, bill["by_request"]
        assert shown["estimated"] == bill["requests"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", CURRENT, ids=lambda row: f"{row.title}, {row.sdk}")
def test_what_is_settled_is_what_was_billed(
    daemon: Daemon, standin: StandinProcess, row: Row, column: str, form: str
) -> None:
    def do(base: str, agent: Agent) -> None:
        run(row.provider, base, agent.token, column, form == "streamed")

    check_cell(daemon, standin, row, column, do)
