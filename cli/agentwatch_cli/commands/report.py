"""`agentwatch report`: what a session did and cost, for people, pull requests and CI."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from agentwatch.errors import AgentWatchError


class Form(StrEnum):
    """How the report is written."""

    text = "text"
    json = "json"
    markdown = "markdown"
    junit = "junit"
    html = "html"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(
    session_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", show_default=False, help="Default: the last.")
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="How it is written.")] = Form.text,
    as_json: Annotated[bool, typer.Option("--json", help="Same as --format json.")] = False,
) -> None:
    """Report what a session did and cost."""
    from agentwatch_cli.report_formats import render
    from agentwatch_cli.run_report import build_report

    session = _session(session_id)
    text = render(build_report(session), Form.json if as_json else form)
    sys.stdout.write(text)


def _session(session_id: str | None) -> dict[str, Any]:
    from agentwatch.settings import load_settings
    from agentwatch_cli.client import Control, session_path

    control = Control(load_settings())
    return control.request("GET", session_path(session_id or _last(control)))


def _last(control: Any) -> str:
    """The session that was opened last."""
    sessions = control.request("GET", "/v1/sessions")["sessions"]
    if not sessions:
        raise AgentWatchError("no session yet: open one with `agentwatch run --budget 2 -- CMD`")
    return str(max(sessions, key=lambda session: session.get("opened_at") or 0)["session_id"])
