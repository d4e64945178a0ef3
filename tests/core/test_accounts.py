"""Which accounts a call is charged to, and what an account still has."""

from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core.accounts import (
    Account,
    Session,
    charged_accounts,
    month_account,
    session_account,
)

JAN_31_LAST_SECOND = 1_769_903_999.999
FEB_1 = 1_769_904_000.0


def session(**terms: str) -> Session:
    return Session(id=session_account("s"), name="s", **terms)  # type: ignore[arg-type]


def test_a_month_ends_at_midnight_utc_and_not_a_second_before() -> None:
    assert month_account("project:web", JAN_31_LAST_SECOND) == "project:web@2026-01"
    assert month_account("project:web", FEB_1) == "project:web@2026-02"


def test_a_call_is_charged_to_session_project_and_team_its_own_first() -> None:
    charged = charged_accounts(session(project="web", team="core"), FEB_1)
    assert charged == ("session:s", "project:web@2026-02", "team:core@2026-02")
    assert charged_accounts(session(), FEB_1) == ("session:s",)


def test_an_account_without_a_ceiling_has_no_end_of_money_and_not_none_of_it() -> None:
    unbound = Account(id="a", settled=10**15, held=10**15)
    assert unbound.free is None
    assert unbound.room is None


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**12))
def test_what_is_free_and_what_is_held_make_the_room(ceiling: int, settled: int, held: int) -> None:
    account = Account(id="a", ceiling=ceiling, settled=settled, held=held)
    assert account.free is not None and account.room is not None
    assert account.free + held == account.room == ceiling - settled
