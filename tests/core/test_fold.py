"""The fold of entries to balances, and what it refuses to follow."""

import msgspec
import pytest

from agentwatch.core import entries as e
from agentwatch.core.accounts import MODELS_KEPT, PROMPT_WINDOW, TOKENS_PER_SESSION, Account
from agentwatch.core.fold import REMEMBERED_ENDS, Balances
from agentwatch.errors import LedgerError, UnknownAccount, UnknownHold

SESSION, PROJECT = "session:s", "project:p@2026-01"
BOTH = (SESSION, PROJECT)
JAN, FEB = 1_768_000_000.0, 1_770_500_000.0


def held(hold: str = "h1", nanos: int = 100, iteration: int = 1) -> e.Held:
    return e.Held(
        at=JAN, hold=hold, session="s", accounts=BOTH, nanos=nanos, iteration=iteration, model="m"
    )


def settled(hold: str = "h1", nanos: int = 40, **details: int) -> e.Settled:
    return e.Settled(at=JAN + 2, hold=hold, nanos=nanos, basis="usage", model="m", **details)  # type: ignore[arg-type]


def fold(*entries: e.AnyEntry, ceiling: int | None = 1_000) -> Balances:
    balances = Balances()
    balances.apply(e.Opened(at=JAN, session="s", ceiling=ceiling, project="p"))
    for entry in entries:
        balances.apply(entry)
    return balances


def money(balances: Balances, account: str) -> tuple[int, int, int]:
    found = balances.account(account)
    return found.settled, found.held, found.overdraft


def test_a_hold_is_on_all_accounts_and_its_settle_is_too() -> None:
    for account in BOTH:
        assert money(fold(held()), account) == (0, 100, 0)
        assert money(fold(held(), settled()), account) == (40, 0, 0)


def test_an_extended_hold_is_given_back_whole() -> None:
    entries = held(), e.Extended(at=JAN, hold="h1", nanos=50)
    assert money(fold(*entries), PROJECT) == (0, 150, 0)
    assert money(fold(*entries, e.Voided(at=JAN, hold="h1", reason="r")), PROJECT) == (0, 0, 0)


def test_a_settle_above_its_hold_is_charged_in_full_and_the_excess_told() -> None:
    assert money(fold(held(), settled(nanos=130)), SESSION) == (130, 0, 30)


def test_a_late_report_is_charged_once_more_and_remembered() -> None:
    late = e.Adjusted(at=JAN, hold="h1", session="s", accounts=BOTH, nanos=5, evidence="bill")
    balances = fold(held(), settled(), late)
    assert money(balances, PROJECT) == (45, 0, 5)
    assert (balances.outcome("h1").nanos, balances.outcome("h1").basis) == (45, "late")


@pytest.mark.parametrize(
    "entry",
    [
        e.Extended(at=JAN, hold="nobody", nanos=1),
        e.Settled(at=JAN, hold="nobody", nanos=1, basis="usage"),
        e.Voided(at=JAN, hold="nobody", reason=""),
        e.StateSet(at=JAN, session="nobody", state="killed"),
        e.TokenMinted(at=JAN, session="nobody", sha256="x"),
        e.CeilingSet(at=JAN, account="session:nobody", ceiling=1),
        e.Held(at=JAN, hold="h", session="nobody", accounts=(), nanos=1, iteration=1),
    ],
    ids=e.kind,
)
def test_an_entry_about_what_never_was_is_refused_and_changes_nothing(entry: e.AnyEntry) -> None:
    balances = fold(held())
    with pytest.raises(LedgerError):
        balances.apply(entry)
    assert money(balances, SESSION) == (0, 100, 0)


@pytest.mark.parametrize("again", [held(), settled(), e.Voided(at=JAN, hold="h1", reason="")])
def test_a_call_that_has_ended_can_not_be_held_or_ended_again(again: e.AnyEntry) -> None:
    balances = fold(held(), settled())
    with pytest.raises(LedgerError):
        balances.apply(again)
    assert money(balances, SESSION) == (40, 0, 0)


def test_spent_to_the_ceiling_is_exhausted_and_a_raised_ceiling_is_active_again() -> None:
    balances = fold(held(), settled(nanos=1_000))
    assert balances.session("s").state == "exhausted"
    balances.apply(e.CeilingSet(at=JAN, account=SESSION, ceiling=1_001))
    assert balances.session("s").state == "active"
    balances.apply(e.CeilingSet(at=JAN, account=SESSION, ceiling=1_000))
    assert balances.session("s").state == "exhausted"


def test_money_that_a_void_gives_back_leaves_no_session_exhausted() -> None:
    exhausted = e.StateSet(at=JAN, session="s", state="exhausted", reason="refused")
    balances = fold(held(nanos=1_000), exhausted, e.Voided(at=JAN, hold="h1", reason="429"))
    assert balances.session("s").state == "active"


@pytest.mark.parametrize("state", ["killed", "paused", "closed"])
def test_no_settle_wakes_a_session_that_was_told_to_stop(state: str) -> None:
    balances = fold(held(), e.StateSet(at=JAN, session="s", state=state), settled())
    assert balances.session("s").state == state


def test_resumed_with_nothing_left_is_exhausted() -> None:
    paused = e.StateSet(at=JAN, session="s", state="paused")
    resumed = e.StateSet(at=JAN, session="s", state="active")
    balances = fold(held(), settled(nanos=1_000), paused, resumed)
    assert balances.session("s").state == "exhausted"


def test_a_month_begins_with_nothing_spent_and_the_ceiling_that_was_set() -> None:
    balances = fold(e.CeilingSet(at=JAN, account="project:p", ceiling=500), held(), settled())
    assert balances.account(PROJECT) == Account(id=PROJECT, ceiling=500, settled=40)
    february = balances.account("project:p@2026-02")
    assert (february.ceiling, february.settled) == (500, 0)


def test_a_new_monthly_ceiling_leaves_the_months_before_as_they_were() -> None:
    balances = fold(
        e.CeilingSet(at=JAN, account="project:p", ceiling=500),
        e.CeilingSet(at=FEB, account="project:p", ceiling=900),
    )
    assert balances.account(PROJECT).ceiling == 500
    assert balances.account("project:p@2026-02").ceiling == 900


def test_reading_a_month_that_nothing_was_charged_to_opens_no_account() -> None:
    balances = fold()
    balances.account("project:p@2031-01")
    assert set(balances.accounts) == {SESSION}


def test_the_oldest_token_stops_opening_the_door() -> None:
    minted = [e.TokenMinted(at=JAN, session="s", sha256=f"t{n}") for n in range(10)]
    balances = fold(*minted)
    assert sorted(balances.tokens) == sorted(f"t{n}" for n in range(10))[-TOKENS_PER_SESSION:]


def test_the_last_prompts_models_and_tokens_of_a_session_add_up() -> None:
    entries: list[e.AnyEntry] = []
    for number in range(1, 8):
        entries.append(held(f"h{number}", iteration=number))
        entries.append(settled(f"h{number}", 10, input_tokens=number, output_tokens=2))
    session = fold(*entries).session("s")
    assert session.prompt_tokens_window == [3, 4, 5, 6, 7][-PROMPT_WINDOW:]
    assert (session.iterations, session.input_tokens, session.output_tokens) == (7, 28, 14)
    assert (session.by_model["m"].calls, session.by_model["m"].nanos) == (7, 70)


def prompt(number: int, tokens: int, lane: str = "a", counted: int = 0) -> list[e.AnyEntry]:
    replace = msgspec.structs.replace
    hold = replace(held(f"h{number}", iteration=number), lane=lane, input_tokens=counted)
    return [hold, settled(f"h{number}", input_tokens=tokens)]


def test_the_prompts_of_one_lane_are_compared_with_another_s() -> None:
    entries = prompt(1, 10) + prompt(2, 70, "b") + prompt(3, 20) + prompt(4, 5, "")
    assert fold(*entries).session("s").prompt_sizes == {"b": [(2, 70)], "a": [(1, 10), (3, 20)]}


def test_a_prompt_of_which_nothing_was_reported_counts_by_what_may_be_made_up() -> None:
    counted, _ = prompt(1, 0, counted=90)
    uncounted, _ = prompt(2, 0)
    ends = [
        e.Settled(at=JAN, hold=hold, nanos=9, basis=basis, input_tokens=4_000)
        for hold, basis in (("h1", "crash"), ("h2", "estimate"))
    ]
    session = fold(counted, uncounted, *ends).session("s")
    assert session.prompt_sizes == {"a": [(1, 90)]}


def test_a_prompt_that_was_given_back_counts() -> None:
    again, _ = prompt(2, 0, counted=500)
    void = e.Voided(at=JAN, hold="h2", reason="429")
    other = [held("h3", iteration=3), e.Voided(at=JAN, hold="h3", reason="429")]
    session = fold(*prompt(1, 10), again, void, *other).session("s")
    assert session.prompt_sizes == {"a": [(1, 10)]}


@pytest.mark.parametrize(
    ("state", "left"),
    [("active", 0), ("killed", 0), ("closed", 0), ("paused", 1), ("exhausted", 1)],
)
def test_a_session_that_goes_on_is_compared_with_what_it_did_before(state: str, left: int) -> None:
    entries = [*prompt(1, 10), e.StateSet(at=JAN, session="s", state=state)]
    assert len(fold(*entries).session("s").prompt_sizes) == left


def test_only_so_many_ends_are_remembered() -> None:
    balances = fold()
    for number in range(REMEMBERED_ENDS + 1):
        balances.apply(held(f"h{number}", nanos=0))
        balances.apply(e.Voided(at=JAN, hold=f"h{number}", reason=""))
    assert len(balances.ended) == REMEMBERED_ENDS
    with pytest.raises(UnknownHold):
        balances.outcome("h0")
    assert balances.outcome("h1").basis == "void"


def test_what_nobody_knows_is_named_in_the_error() -> None:
    with pytest.raises(UnknownAccount, match=r"nobody.*sessions ls"):
        fold().session("nobody")
    with pytest.raises(UnknownHold, match="h9"):
        fold(held()).outcome("h9")


def test_every_entry_tells_which_accounts_it_touched() -> None:
    balances = fold()
    late = e.Adjusted(at=JAN, hold="h1", session="s", accounts=BOTH, nanos=5, evidence="x")
    budget = e.CeilingSet(at=JAN, account="project:p", ceiling=5)
    for entry, touched in (
        (held(), BOTH),
        (e.Extended(at=JAN, hold="h1", nanos=1), BOTH),
        (settled(), BOTH),
        (late, BOTH),
        (budget, (PROJECT,)),
        (e.CeilingSet(at=JAN, account=SESSION, ceiling=5), (SESSION,)),
        (e.StateSet(at=JAN, session="s", state="killed"), (SESSION,)),
    ):
        balances.apply(entry)
        assert tuple(account.id for account in balances.touched(entry)) == touched


def test_a_budget_set_by_a_clock_that_was_put_back_counts_for_the_months_that_are_there() -> None:
    balances = Balances()
    balances.apply(e.CeilingSet(at=FEB, account="team:t", ceiling=10))
    earlier = e.CeilingSet(at=JAN, account="team:t", ceiling=4)
    balances.apply(earlier)
    assert balances.account("team:t@2026-01").ceiling == 4
    assert balances.account("team:t@2026-02").ceiling == 4
    assert len(balances.touched(earlier)) == 2


def test_made_up_models_do_not_make_a_session_grow_without_end() -> None:
    balances = fold()
    for number in range(3 * MODELS_KEPT):
        balances.apply(held(f"h{number}", iteration=number + 1))
        entry = settled(f"h{number}")
        balances.apply(msgspec.structs.replace(entry, model=f"made-up-{number}"))
    by_model = balances.session("s").by_model
    assert len(by_model) == MODELS_KEPT + 1
    assert by_model["others"].calls == 2 * MODELS_KEPT
