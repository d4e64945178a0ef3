"""Arguments under aw-sdk's names: what they mean, and what can't be meant."""

from __future__ import annotations

from typing import Any

import pytest

from agentwatch.errors import UsageError
from agentwatch.sdk.terms import INGEST_URL, new_session_id, outer_session, terms_of


def test_nothing_is_required() -> None:
    terms = terms_of()
    assert terms.body == {}
    assert (terms.fail_open, terms.origin, terms.timeout_s) == (True, None, 2.0)


def test_each_argument_says_what_it_said_in_aw_sdk() -> None:
    terms = terms_of(
        agentwatch_api_key="awk_x",
        agentwatch_project="p",
        agentwatch_team="t",
        agentwatch_session_id="ci-run-123",
        agentwatch_session_budget_usd=2.00,
        agentwatch_monthly_budget_usd=500,
        agentwatch_enforcement_mode=True,
        agentwatch_enforcement_fail_open=False,
        ingest_url="http://127.0.0.1:9999/v1/ingest",
        timeout_seconds=0.5,
    )
    assert terms.body == {
        "budget_usd": 2.0,
        "monthly_usd": 500.0,
        "project": "p",
        "team": "t",
        "fail_open": False,
    }
    assert (terms.api_key, terms.session_id) == ("awk_x", "ci-run-123")
    assert (terms.origin, terms.timeout_s) == ("http://127.0.0.1:9999", 0.5)


@pytest.mark.parametrize(("mode", "meant"), [(None, None), (True, None), (False, "observe")])
def test_a_ceiling_is_enforced_unless_it_is_said_outright(mode: Any, meant: str | None) -> None:
    assert terms_of(agentwatch_enforcement_mode=mode).body.get("mode") == meant


def test_a_monthly_budget_without_a_name_is_the_default_project_s() -> None:
    assert terms_of(agentwatch_monthly_budget_usd=5).project == "default"
    named = terms_of(agentwatch_monthly_budget_usd=5, agentwatch_team="t")
    assert (named.project, named.team) == (None, "t")


def test_the_usual_ingest_url_names_no_daemon_of_its_own() -> None:
    assert terms_of(ingest_url=INGEST_URL).origin is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"agentwatch_session_budget_usd": -1},
        {"agentwatch_session_budget_usd": float("nan")},
        {"agentwatch_session_budget_usd": True},
        {"agentwatch_session_budget_usd": "two"},
        {"agentwatch_monthly_budget_usd": float("inf")},
        {"agentwatch_enforcement_fail_open": "false"},
        {"agentwatch_enforcement_fail_open": None},
        {"timeout_seconds": 0},
        {"timeout_seconds": "1"},
        {"ingest_url": "https://elsewhere.example/v1/ingest"},
        {"agentwatch_api_key": "awk_\n"},
        {"agentwatch_session_id": "k\u00e4se"},
        {"agentwatch_session_id": "-a"},
        {"agentwatch_project": "-x"},
        {"agentwatch_team": "\u00e9"},
        {"agentwatch_team": 7},
    ],
)
def test_what_can_t_be_meant_is_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        terms_of(**wrong)


def test_a_session_id_is_new_each_time() -> None:
    assert new_session_id() != new_session_id()


def test_half_of_an_outer_session_is_none() -> None:
    told = {"AGENTWATCH_SESSION_ID": "s", "AGENTWATCH_SESSION_TOKEN": "aws_x"}
    assert outer_session(told) == ("s", "aws_x")
    assert outer_session({"AGENTWATCH_SESSION_ID": "s"}) is None
