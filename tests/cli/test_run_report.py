"""A run's figures are the run's own, and its reports can be shown anywhere."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from agentwatch.errors import UsageError
from agentwatch_cli.report_formats import FORMS, form_of, render
from agentwatch_cli.run_report import (
    build_report,
    ci_line,
    closing_line,
    nothing_governed,
    stopped_for,
    to_go_on,
)

EVIL = 'gpt\x1b]0;x\x07\u202e|<script>alert(1)</script>"&[a](http://x)\n::error::'


def _session(**more):
    return {
        "session_id": "s-1",
        "state": "active",
        "budget_usd": 2.0,
        "settled_usd": 0.5,
        "remaining_usd": 1.5,
        "iterations": 10,
        "input_tokens": 1000,
        "output_tokens": 100,
        "refusals": 2,
        "fail_open": {"journal": 1},
        "by_model": {
            "a": {"calls": 6, "input_tokens": 600, "output_tokens": 60, "cost_usd": 0.3},
            "b": {"calls": 4, "input_tokens": 400, "output_tokens": 40, "cost_usd": 0.2},
        },
        "token": "aws_secret",
        **more,
    }


BEFORE = _session(
    settled_usd=0.2,
    iterations=4,
    input_tokens=400,
    output_tokens=40,
    refusals=2,
    by_model={"b": {"calls": 4, "input_tokens": 400, "output_tokens": 40, "cost_usd": 0.2}},
)


def test_what_is_advised_after_a_refusal_works_for_a_session_that_was_closed():
    report = build_report(_session())
    assert "with a higher --budget" in to_go_on(report, exceeded=True, closed=True)
    assert "sessions budget s-1 USD" in to_go_on(report, exceeded=True, closed=False)
    assert to_go_on(report, exceeded=False, closed=True) is None
    of_a_project = build_report(_session(budget_usd=None))
    assert "agentwatch budgets ls" in to_go_on(of_a_project, exceeded=True, closed=True)


def test_what_is_advised_after_a_pause_is_no_higher_budget():
    report = build_report(_session(state="paused", refusals=0))
    closed = to_go_on(report, exceeded=False, closed=True)
    assert "run it again; under `--session NAME`" in closed and "--budget" not in closed
    assert "sessions resume s-1`" in to_go_on(report, exceeded=False, closed=False)


def test_a_ceiling_that_nobody_enforced_is_not_taken_for_one_that_held():
    observed = closing_line(build_report(_session(mode="observe")))
    assert "spent $0.5000 of $2.00 · mode observe · " in observed
    assert "mode" not in closing_line(build_report(_session(mode="enforce")))


def test_a_joined_session_is_charged_with_what_this_run_added_only():
    report = build_report(_session(), BEFORE, 0)
    assert (report["calls"], report["refusals"], report["total_cost_usd"]) == (6, 0, 0.3)
    assert list(report["by_model"]) == ["a"]
    assert report["settled_usd"] == 0.5
    assert "spent $0.3000 now, $0.5000 of $2.00 in all" in closing_line(report)


def test_the_token_is_in_no_report():
    report = build_report(_session(), None, 0)
    for form in FORMS:
        assert "aws_secret" not in render(report, form)


def test_passes_that_were_not_governed_are_told():
    assert "1 not fully governed" in closing_line(build_report(_session()))


def test_nothing_seen_is_told_but_a_refusal_is_something_seen():
    nothing = build_report(_session(), _session(), 0)
    assert "nothing was governed" in (nothing_governed(nothing) or "")
    refused = build_report(_session(refusals=3), _session(), 0)
    assert nothing_governed(refused) is None


def test_a_ci_line_holds_no_command():
    assert "::" not in ci_line("a ::error::: x")
    assert "##[" not in ci_line("x ##[error] y") and "##vso[" not in ci_line("##vso[task]")


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_strangers_name_does_no_harm(form):
    row = {"calls": 10, "input_tokens": 1, "output_tokens": 1, "cost_usd": 0.5}
    report = build_report(_session(by_model={EVIL: row}, models=[EVIL]), None, 0)
    text = render(report, form)
    assert "\x1b" not in text and "\u202e" not in text and "\x07" not in text
    if form in ("markdown", "html", "junit"):
        assert "<script>" not in text
        assert "[a](http" not in text or form != "markdown"
    assert "\n::" not in closing_line(report)


def test_markdown_rows_keep_their_cells():
    row = {"calls": 1, "input_tokens": 1, "output_tokens": 1, "cost_usd": 0.5}
    text = render(build_report(_session(by_model={"a|b": row})), "markdown")
    (line,) = [line for line in text.splitlines() if "a&#124;b" in line]
    assert line.count("|") == 6


def test_json_and_junit_and_html_parse():
    report = build_report(_session(state="exhausted"), None, 3)
    assert json.loads(render(report, "json"))["schema_version"] == 1
    suite = ET.fromstring(render(report, "junit").encode())
    assert suite.find("testsuite").get("failures") == "1"
    HTMLParser().feed(render(report, "html"))


def test_junit_passes_where_nothing_went_wrong():
    report = build_report(_session(refusals=0), None, 0)
    assert ET.fromstring(render(report, "junit").encode()).find("*/*/failure") is None


def test_the_ending_of_a_file_tells_the_format():
    names = {"a.json": "json", "a.md": "markdown", "a.XML": "junit", "a.html": "html"}
    assert {name: form_of(name) for name in names} == names
    with pytest.raises(UsageError, match=r"\.json"):
        form_of("report")


def _alert(number, action="alert", kind="cycle"):
    message = "the same 2 steps in the same order, 3 times"
    return {"id": f"al{number}", "kind": kind, "action": action, "message": message}


def test_alerts_of_before_are_told_as_this_run_s():
    before = _session(alerts=[_alert(1)])
    after = _session(alerts=[_alert(1), _alert(2), _alert(3, "pause", "burst")])
    report = build_report(after, before)
    assert [alert["id"] for alert in report["alerts"]] == ["al2", "al3"]
    assert "2 alerts (burst, cycle)" in closing_line(report)
    assert "alerts     burst, cycle" in render(report, "text")
    assert stopped_for(report) == [
        "the session was paused for burst: the same 2 steps in the same order, 3 times"
    ]
    assert stopped_for(build_report(_session())) == []
