"""The matrix through the SDKs' previous major versions, each in an environment of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import matrix_cell
import pytest
from harness import Agent, Daemon
from matrix import FORMS, PREVIOUS, Row, check_cell
from matrix_cell import COLUMNS

from agentwatch.standin.process import StandinProcess

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def module_daemon(module_start: Callable[..., Daemon]) -> Daemon:
    """One that reads an answer to its end after its client has gone."""
    return module_start(enforcement_drain_s="10")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", PREVIOUS, ids=lambda row: f"{row.title}, {row.sdk}")
def test_what_is_settled_is_what_was_billed(
    daemon: Daemon,
    standin: StandinProcess,
    client: Callable[[str], Path],
    row: Row,
    column: str,
    form: str,
) -> None:
    assert row.environment is not None
    python = client(row.environment) / "python"

    def do(base: str, agent: Agent) -> None:
        cell = [row.provider, base, agent.token, column, form]
        done = subprocess.run(
            [str(python), matrix_cell.__file__, *cell],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    check_cell(daemon, standin, row, column, do)
