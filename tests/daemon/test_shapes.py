"""What is shown of a session or a budget: every field of the contract, and no token."""

from __future__ import annotations

import json

from agentwatch.core.accounts import ModelTotals, Session
from agentwatch.core.ledger import Ledger
from agentwatch.daemon.shapes import budget_shape, budgets_shape, session_shape

AT = 1_700_000_000.0


def test_a_session_is_shown_without_what_opens_it() -> None:
    session = Session(
        id="session:a",
        name="a",
        ceiling=2_000_000_000,
        settled=13_200,
        held=500_000_001,
        tokens=["secret-hash"],
        by_model={"gpt-4o": ModelTotals(calls=1, input_tokens=2, output_tokens=3, nanos=13_200)},
        passes={"undurable": 2},
    )
    shown = session_shape(session, AT)
    assert "secret-hash" not in json.dumps(shown)
    assert (shown["budget_usd"], shown["settled_usd"], shown["held_usd"]) == (
        2.0,
        0.0000132,
        0.500000001,
    )
    assert shown["remaining_usd"] == 1.499986799
    assert shown["models"] == ["gpt-4o"]
    assert shown["by_model"]["gpt-4o"]["cost_usd"] == 0.0000132
    assert shown["fail_open"] == {"undurable": 2}


def test_no_ceiling_is_null_and_an_overdrawn_one_leaves_nothing() -> None:
    free = session_shape(Session(id="session:a", name="a"), AT)
    assert (free["budget_usd"], free["remaining_usd"]) == (None, None)
    spent = session_shape(Session(id="session:a", name="a", ceiling=5, settled=9, overdraft=4), AT)
    assert (spent["remaining_usd"], spent["overdraft_usd"]) == (0, 4e-9)


def test_a_session_whose_time_is_up_looks_alive() -> None:
    session = Session(id="session:a", name="a", expires_at=AT)
    assert session_shape(session, AT)["state"] == "closed"
    assert session_shape(session, AT - 1)["state"] == "active"


def test_a_month_s_budget_is_shown_where_it_was_set_or_charged() -> None:
    ledger = Ledger()
    ledger.set_ceiling("project:b", 3_000_000_000, at=AT)
    ledger.set_ceiling("team:a", None, at=AT)
    rows = budgets_shape(ledger, AT)
    assert [row["name"] for row in rows] == ["project:b", "team:a"]
    assert rows[0] == budget_shape(ledger, "project:b", AT)
    assert (rows[0]["month"], rows[0]["monthly_usd"], rows[0]["remaining_usd"]) == ("2023-11", 3, 3)
    assert rows[1]["monthly_usd"] is None
