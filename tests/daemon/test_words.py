"""What a refused agent is told: the sum, which adds up, and the command that helps."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from agentwatch.core.admission import Policy, Refused
from agentwatch.core.estimate import quote
from agentwatch.core.ledger import Ledger
from agentwatch.daemon import words
from agentwatch.sdk.denial import cut


def ledger() -> Ledger:
    made = Ledger()
    made.open("s-1", at=0.0, ceiling=2_000_000_000, project="web")
    made.set_ceiling("project:web", 1_500_000_000, at=0.0)
    dear = quote(
        input_bound=1_000_000, input_rate=1_250_000_000, output_rate=0, choices=1,
        asked=1, model_max=None, has_output=True,
    )  # fmt: skip
    made.hold("s-1", dear, Policy(), hold_id="h", at=0.0)
    return made


def test_a_refusal_names_no_sum_and_no_remedy() -> None:
    told = words.exceeded(ledger(), Refused("session:s-1", 900_000_000))
    assert "agentwatch sessions budget s-1 USD" in told or "session s-1" in told
    numbers = [Decimal(text) for text in re.findall(r"\$([0-9.]*[0-9])", told)]
    spent, held, asked, total, ceiling = numbers
    assert spent + held + asked == total > ceiling == 2


def test_a_projects_refusal_sends_to_the_session() -> None:
    made = ledger()
    account = next(name for name in made.accounts if name.startswith("project:web@"))
    told = words.exceeded(made, Refused(account, 300_000_000))
    assert "agentwatch budgets set project:web --monthly USD" in told
    assert re.search(r"project:web in \d{4}-\d\d", told)


@pytest.mark.parametrize(
    ("state", "remedy"),
    [("killed", "open a new one"), ("paused", "sessions resume s-1"), ("closed", "open a new one")],
)
def test_a_state_is_told_without_what_to_do(state: str, remedy: str) -> None:
    told = words.barred(ledger().session("s-1"), state)
    assert state in told and remedy in told


def test_a_part_is_sent_to_the_budget_of_nobody() -> None:
    """The whole has no money for its part: it is the whole's ceiling that is told, and raised."""
    made = ledger()
    made.open("s-2", at=0.0, ceiling=5_000_000_000, parent="s-1")
    told = words.exceeded(made, Refused("session:s-1", 900_000_000))
    assert "the budget of session s-1 does not allow" in told
    assert told.endswith("To go on: agentwatch sessions budget s-1 USD")
    assert words.standing(made, Refused("session:s-1", 1)) == ("session:s-1", 0, 2_000_000_000)


def test_a_cut_stream_is_told_why() -> None:
    made = ledger()
    told = words.cut(made.session("s-1"))
    assert "used up during this answer" in told and "sessions budget s-1 USD" in told
    month = next(made.accounts[name] for name in made.accounts if name.startswith("project:web@"))
    assert "budgets set project:web --monthly USD" in words.cut(month)


def test_the_sdk_reads_other_amounts_in_a_cut_than_were_told() -> None:
    made = ledger()
    session = made.session("s-1")
    session.settled = 1_999_999_990
    month = next(made.accounts[name] for name in made.accounts if name.startswith("project:web@"))
    for account, whose in ((session, "s-1"), (month, "s-2")):
        denial = cut("agent_budget_exceeded", words.cut(account), "s-2")
        assert denial.session_id == whose
        assert (denial.spent, denial.limit) == (account.settled / 1e9, account.ceiling / 1e9)
