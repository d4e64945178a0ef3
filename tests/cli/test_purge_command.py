"""`agentwatch purge`: what it is told to remove, and that it never takes silence for everything.

That what is removed is gone is tested on a real daemon in e2e/test_telemetry.py.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from agentwatch.errors import UsageError
from agentwatch_cli import client
from agentwatch_cli.commands import purge
from agentwatch_cli.main import build


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """What the daemon is asked for."""
    bodies: list[dict[str, Any]] = []

    def request(self: object, method: str, path: str, body: Any, **_: Any) -> dict[str, Any]:
        assert (method, path) == ("POST", "/v1/purge")
        bodies.append(body)
        return {"schema_version": 1, "removed": 1234}

    monkeypatch.setenv("AGENTWATCH_HOME", str(tmp_path))
    monkeypatch.setattr(client.Control, "request", request)
    return bodies


def run(*arguments: str) -> Any:
    return CliRunner().invoke(build(), ["purge", *arguments])


def test_what_is_given_is_asked_for(asked: list[dict[str, Any]]) -> None:
    done = run("--session", "s-1", "--project", "p", "--before", "2026-11-23T12:30")
    assert done.output == "1,234 records removed\n"
    moment = datetime(2026, 11, 23, 12, 30).timestamp()  # noqa: DTZ001 - this machine's
    assert asked == [{"session_id": "s-1", "project": "p", "before": moment}]


def test_everything_must_be_said_and_nothing_beside_it(asked: list[dict[str, Any]]) -> None:
    for arguments in ((), ("--all", "--session", "s")):
        assert isinstance(run(*arguments).exception, UsageError)
    assert run("--all", "--yes", "--json").exit_code == 0
    assert asked == [{"all": True}]


@pytest.mark.parametrize("described", [["--all"], ["--project", "p"], ["--before", "2026-11-23"]])
def test_without_a_terminal_what_was_only_described_is_not_removed(
    asked: list[dict[str, Any]], described: list[str]
) -> None:
    assert "--yes" in str(run(*described).exception)
    assert asked == []
    assert run(*described, "-y").exit_code == 0


def test_on_a_terminal_it_asks_and_an_enter_is_a_no(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    for arguments in (["--session", "s-1"], ["--all"]):
        command = ["purge", *arguments]
        assert CliRunner().invoke(build(), command, input="\n").exit_code == 1
        assert asked == []
    assert CliRunner().invoke(build(), ["purge", "--session", "s-1"], input="y\n").exit_code == 0
    assert asked == [{"session_id": "s-1"}]


def test_what_is_no_date_or_id_is_told_before_anything_is_removed(
    asked: list[dict[str, Any]],
) -> None:
    for arguments in (("--before", "yesterday"), ("--session", "../x")):
        assert isinstance(run(*arguments).exception, UsageError)
    assert asked == []
