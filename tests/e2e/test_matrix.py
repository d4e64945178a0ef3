"""The matrix: each provider through its own SDK in the current major version, whole and streamed.
Its previous version is run by clients/test_matrix_before.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import Agent, Daemon
from matrix import CURRENT, FORMS, Row, check_cell
from matrix_cell import COLUMNS, run

from agentwatch.standin.process import StandinProcess


@pytest.fixture(scope="module")
def module_daemon(module_start: Callable[..., Daemon]) -> Daemon:
    """One that reads an answer to its end after its client has gone."""
    return module_start(enforcement_drain_s="10")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", CURRENT, ids=lambda row: f"{row.title}, {row.sdk}")
def test_what_is_settled_is_what_was_billed(
    daemon: Daemon, standin: StandinProcess, row: Row, column: str, form: str
) -> None:
    def do(base: str, agent: Agent) -> None:
        run(row.provider, base, agent.token, column, form == "streamed")

    check_cell(daemon, standin, row, column, do)
