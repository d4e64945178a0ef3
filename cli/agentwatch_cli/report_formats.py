"""A report as text, JSON, Markdown, JUnit or HTML. Pure; strangers' names are escaped in each."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any
from xml.sax.saxutils import quoteattr

from agentwatch.errors import UsageError
from agentwatch_cli.output import SCHEMA_VERSION, Column, aligned, harmless, usd
from agentwatch_cli.views import alerts_by_kind

Report = Mapping[str, Any]

_MODEL_COLUMNS = [
    Column("model"),
    Column("calls", right=True),
    Column("tokens in", right=True),
    Column("tokens out", right=True),
    Column("cost", right=True),
]


def render(report: Report, form: str) -> str:
    """The report in one of FORMS, with a newline at its end. Raises UsageError for another."""
    if form not in FORMS:
        raise UsageError(f"unknown format {form!r}: known are {', '.join(FORMS)}")
    return FORMS[form](report).rstrip("\n") + "\n"


def form_of(name: str) -> str:
    """The format that a file's ending means. Raises UsageError where it means none."""
    ending = PurePath(name).suffix.lower()
    if ending not in _ENDINGS:
        known = ", ".join(_ENDINGS)
        raise UsageError(f"--report {name}: its ending tells the format, one of {known}")
    return _ENDINGS[ending]


def _facts(report: Report) -> list[tuple[str, str]]:
    facts = [
        ("session", report["session_id"]),
        ("state", report.get("state", "-")),
        ("spent", usd(report["total_cost_usd"])),
        ("ceiling", usd(report.get("budget_usd"), "none")),
        ("remaining", usd(report.get("remaining_usd"))),
        ("calls", f"{report['calls']:,}"),
        ("refused", f"{report['refusals']:,}"),
        ("tokens", _tokens(report)),
    ]
    if report.get("exit_code") is not None:
        facts.append(("exit code", report["exit_code"]))
    if report.get("fail_open"):
        facts.append(("fail-open", _counts(report["fail_open"])))
    if report.get("risks"):
        facts.append(("risks", _counts(report["risks"])))
    if report.get("alerts"):
        facts.append(("alerts", alerts_by_kind(report["alerts"])))
    return [(name, harmless(value)) for name, value in facts]


def _tokens(report: Report) -> str:
    return f"{report['run_input_tokens']:,} in, {report['run_output_tokens']:,} out"


def _counts(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    return ", ".join(f"{name} {count}" for name, count in value.items() if count)


def _model_rows(report: Report) -> list[list[str]]:
    return [
        [
            harmless(model),
            f"{row['calls']:,}",
            f"{row['input_tokens']:,}",
            f"{row['output_tokens']:,}",
            usd(row["cost_usd"]),
        ]
        for model, row in report["by_model"].items()
    ]


def _text(report: Report) -> str:
    lines = [f"{name:<10} {value}" for name, value in _facts(report)]
    rows = _model_rows(report)
    if rows:
        lines += ["", *aligned(_MODEL_COLUMNS, rows)]
    return "\n".join(lines)


def _json(report: Report) -> str:
    return json.dumps({"schema_version": SCHEMA_VERSION, **report}, indent=2)


def _markdown(report: Report) -> str:
    lines = ["### AgentWatch", "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {_md(value)} |" for name, value in _facts(report)]
    rows = _model_rows(report)
    if rows:
        lines += ["", "| " + " | ".join(c.heading for c in _MODEL_COLUMNS) + " |"]
        lines.append("| --- | ---: | ---: | ---: | ---: |")
        lines += ["| " + " | ".join(_md(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _md(text: str) -> str:
    """Text that Markdown shows as it is: no link, no mention, no HTML, no cell's end."""
    escaped = re.sub(r"([\\`*_{}\[\]()<>#+!|~@&$-])", lambda found: _entity(found.group()), text)
    return escaped.replace("://", "&#58;//")


def _entity(character: str) -> str:
    # a bare minus or dollar is harmless inside a cell, and amounts should stay readable
    return character if character in "-$+()#!" else f"&#{ord(character)};"


def _junit(report: Report) -> str:
    failure = _failure(report)
    name = quoteattr(report["session_id"])
    body = f"<failure message={quoteattr(failure)}/>" if failure else ""
    properties = "".join(
        f"<property name={quoteattr(key)} value={quoteattr(value)}/>"
        for key, value in _facts(report)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuites><testsuite name="agentwatch" tests="1" failures="{int(bool(failure))}">'
        f"<properties>{properties}</properties>"
        f'<testcase classname="agentwatch.budget" name={name}>{body}</testcase>'
        "</testsuite></testsuites>"
    )


def _failure(report: Report) -> str:
    state = report.get("state")
    if state in ("killed", "exhausted"):
        return f"the session is {state}: {usd(report['total_cost_usd'])} spent"
    if report["refusals"]:
        return f"{report['refusals']} calls were refused"
    return f"the command ended with {report['exit_code']}" if report.get("exit_code") else ""


def _html(report: Report) -> str:
    facts = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in _facts(report)
    )
    heads = "".join(f"<th>{column.heading}</th>" for column in _MODEL_COLUMNS)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in _model_rows(report)
    )
    models = f"<table><tr>{heads}</tr>{rows}</table>" if rows else ""
    return _PAGE.format(title=html.escape(report["session_id"]), facts=facts, models=models)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>AgentWatch: {title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>body{{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:44rem}}
table{{border-collapse:collapse;margin:1rem 0}}th,td{{text-align:left;padding:.25rem 1rem .25rem 0;
border-bottom:1px solid #8884}}td{{font-variant-numeric:tabular-nums}}</style></head>
<body><h1>AgentWatch</h1><table>{facts}</table>{models}</body></html>
"""

FORMS: dict[str, Callable[[Report], str]] = {
    "text": _text,
    "json": _json,
    "markdown": _markdown,
    "junit": _junit,
    "html": _html,
}
_ENDINGS = {
    ".json": "json",
    ".md": "markdown",
    ".xml": "junit",
    ".html": "html",
    ".txt": "text",
}
