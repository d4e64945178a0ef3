"""The ledger's verbs: each decides once, and a repeat answers as the first did."""

import statistics
import sys
import time
from types import FrameType

import pytest

from agentwatch.core import accounts as acc
from agentwatch.core import entries as e
from agentwatch.core.admission import Admitted, Policy, Refused, Waits
from agentwatch.core.estimate import Quote
from agentwatch.core.ledger import SESSION_VERBS, Ledger
from agentwatch.core.money import TOKENS_PER_RATE
from agentwatch.errors import BarredError, LedgerError, UnknownAccount, UnknownHold, UsageError

AT = 1_768_000_000.0
POLICY = Policy()


def cost(nanos: int) -> Quote:
    """A request that costs exactly so much, whatever limit is put in."""
    return Quote(fixed=nanos * TOKENS_PER_RATE, per_token=0, asked=0, most=0)


def ledger(ceiling: int | None = 1_000, **terms: object) -> Ledger:
    made = Ledger()
    made.open("s", at=AT, ceiling=ceiling, **terms)  # type: ignore[arg-type]
    return made


def hold(book: Ledger, hold_id: str, nanos: int, session: str = "s") -> object:
    return book.hold(session, cost(nanos), POLICY, hold_id=hold_id, at=AT)[0]


def settle(book: Ledger, hold_id: str, nanos: int) -> acc.Outcome:
    return book.settle(hold_id, nanos, "usage", at=AT)[0]


# ---- opening


def test_opening_again_never_raises_the_ceiling_nor_forgets_what_was_spent() -> None:
    book = ledger()
    hold(book, "h", 400)
    settle(book, "h", 400)
    assert book.open("s", at=AT, ceiling=5_000) == []
    assert book.open("s", at=AT) == []
    session = book.session("s")
    assert (session.ceiling, session.settled) == (1_000, 400)
    book.open("s", at=AT, ceiling=300)
    assert (session.ceiling, session.state) == (300, "exhausted")


def test_opening_again_only_makes_the_mode_stricter() -> None:
    book = ledger(mode="soft")
    book.open("s", at=AT, mode="observe")
    assert book.session("s").mode == "soft"
    book.open("s", at=AT, mode="enforce")
    assert book.session("s").mode == "enforce"


def test_opening_again_forgets_that_it_was_to_fail_closed() -> None:
    """What is asked for on opening again counts where it is stricter, and only there."""
    book = ledger(fail_open=True)
    book.open("s", at=AT, fail_open=False, on_anomaly="kill")
    session = book.session("s")
    assert (session.fail_open, session.on_anomaly, session.mode) == (False, "kill", "enforce")
    assert book.open("s", at=AT, fail_open=True, on_anomaly="alert") == []
    assert (session.fail_open, session.on_anomaly) == (False, "kill")


def test_a_session_whose_time_is_up_is_closed_for_all() -> None:
    book = ledger(ttl_s=60.0)
    session = book.session("s")
    assert session.state_at(AT + 59) == "active"
    assert session.state_at(AT + 60) == "closed"
    with pytest.raises(LedgerError):
        book.set_state("s", "resume", at=AT + 60)
    book.set_state("s", "kill", at=AT + 61)
    assert session.state_at(AT + 62) == "killed"


def test_opening_again_leaves_project_and_team_for_good() -> None:
    book = ledger(project="web")
    book.open("s", at=AT, project="other", team="t")
    assert (book.session("s").project, book.session("s").team) == ("web", None)


def test_a_session_without_a_ceiling_is_given_one_by_opening_it_again() -> None:
    book = ledger(ceiling=None)
    book.open("s", at=AT, ceiling=10)
    assert book.session("s").ceiling == 10


@pytest.mark.parametrize(
    "terms",
    [{"mode": "strict"}, {"on_anomaly": "shrug"}, {"project": "a@2026-01"}, {"team": ""}],
    ids=str,
)
def test_terms_that_can_not_be_are_refused_and_nothing_is_opened(terms: dict[str, str]) -> None:
    book = Ledger()
    with pytest.raises(UsageError):
        book.open("s", at=AT, **terms)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        book.open("../s", at=AT)
    assert book.sessions == {}


def test_a_budget_that_is_neither_project_nor_team_is_refused() -> None:
    book = ledger()
    for name in ("web", "user:x", "project:", "team:a@2026-01", "project:a@2026-01"):
        with pytest.raises(UsageError):
            book.set_ceiling(name, 5, at=AT)
    with pytest.raises(UnknownAccount):
        book.set_ceiling("session:nobody", 5, at=AT)
    assert book.monthly == {}


# ---- holding


def test_held_on_all_accounts_or_on_none() -> None:
    book = ledger(project="web", team="core")
    book.set_ceiling("team:core", 500, at=AT)
    assert isinstance(hold(book, "h1", 501), Refused)
    assert [account.held for account in book.accounts.values()] == [0] * len(book.accounts)
    assert isinstance(hold(book, "h2", 500), Admitted)
    held = {name: account.held for name, account in book.accounts.items()}
    assert held == {"session:s": 500, "team:core@2026-01": 500, "project:web@2026-01": 500}


def test_a_budget_shared_by_sessions_is_not_spent_twice() -> None:
    book = ledger(project="web")
    book.open("other", at=AT, ceiling=1_000, project="web")
    book.set_ceiling("project:web", 1_000, at=AT)
    assert isinstance(hold(book, "h1", 600), Admitted)
    assert isinstance(hold(book, "h2", 600, "other"), Waits)
    settle(book, "h1", 600)
    refused = hold(book, "h3", 600, "other")
    assert refused == Refused("project:web@2026-01", 600)
    assert book.session("other").state == "active", "it is the project's money that is gone"


def test_a_repeated_hold_is_answered_as_the_first_and_holds_no_more() -> None:
    book = ledger()
    first = book.hold(
        "s",
        Quote(fixed=0, per_token=TOKENS_PER_RATE, asked=None, most=None),
        Policy(useful_output_tokens=100),
        hold_id="h",
        at=AT,
    )
    assert first[0] == Admitted(250, 250)
    again = book.hold("s", cost(999), POLICY, hold_id="h", at=AT)
    assert again == (Admitted(250, 250), [])
    assert (book.session("s").held, book.session("s").iterations) == (250, 1)


def test_a_call_that_has_ended_is_not_held_again() -> None:
    book = ledger()
    hold(book, "h", 10)
    settle(book, "h", 10)
    with pytest.raises(LedgerError, match="held before"):
        hold(book, "h", 10)
    assert book.session("s").held == 0


def test_iterations_are_numbered_by_the_ledger_without_a_gap_for_refusals() -> None:
    book = ledger()
    hold(book, "a", 400)
    hold(book, "b", 5_000)
    hold(book, "c", 400)
    assert (book.holds["a"].iteration, book.holds["c"].iteration) == (1, 2)
    assert book.session("s").refusals == 1


def test_refused_is_exhausted_and_a_smaller_call_for_which_there_is_money_is_served() -> None:
    book = ledger()
    assert isinstance(hold(book, "big", 1_001), Refused)
    assert book.session("s").state == "exhausted"
    assert isinstance(hold(book, "small", 1_000), Admitted)
    assert book.session("s").state == "active"


@pytest.mark.parametrize("verb", ["kill", "pause", "close"])
def test_no_hold_on_a_session_that_was_told_to_stop_in_any_mode(verb: str) -> None:
    for mode in acc.MODES:
        book = ledger(mode=mode)
        hold(book, "before", 10)
        book.set_state("s", verb, at=AT)
        with pytest.raises(BarredError):
            hold(book, "after", 1)
        assert settle(book, "before", 7).nanos == 7


# ---- modes


def test_soft_serves_until_the_ceiling_is_spent_and_no_call_after() -> None:
    book = ledger(ceiling=100, mode="soft")
    assert isinstance(hold(book, "h1", 5_000), Admitted)
    assert isinstance(hold(book, "h2", 5_000), Admitted)
    settle(book, "h1", 100)
    assert isinstance(hold(book, "h3", 1), Refused)
    assert isinstance(hold(book, "h4", 0), Refused)


def test_observe_counts_and_never_refuses_for_its_own_ceiling() -> None:
    book = ledger(ceiling=100, mode="observe")
    for number in range(3):
        assert isinstance(hold(book, f"h{number}", 5_000), Admitted)
        settle(book, f"h{number}", 5_000)
    session = book.session("s")
    assert (session.settled, session.state) == (15_000, "active")


def test_a_projects_ceiling_binds_a_session_that_only_observes() -> None:
    book = ledger(mode="observe", project="web")
    book.set_ceiling("project:web", 50, at=AT)
    assert isinstance(hold(book, "h", 51), Refused)


# ---- extending and ending


def test_an_extension_is_all_or_nothing_and_never_above_what_is_free() -> None:
    book = ledger()
    hold(book, "h", 400)
    assert book.extend("h", 601, at=AT) == (False, [])
    granted, _ = book.extend("h", 600, at=AT)
    assert granted and book.session("s").held == 1_000
    assert book.extend("h", 1, at=AT) == (False, [])


def test_an_extension_by_nothing_or_less_takes_no_money_from_the_hold() -> None:
    book = ledger()
    hold(book, "h", 1_000)
    for nothing in (0, -500):
        assert book.extend("h", nothing, at=AT) == (True, [])
    assert book.holds["h"].nanos == 1_000


def test_no_extension_for_a_killed_session_nor_for_a_call_that_ended() -> None:
    book = ledger()
    hold(book, "h", 1)
    hold(book, "ended", 1)
    settle(book, "ended", 1)
    book.set_state("s", "kill", at=AT)
    assert book.extend("h", 1, at=AT) == (False, [])
    assert book.extend("ended", 1, at=AT) == (False, [])


def test_a_call_is_ended_once_whatever_is_said_after() -> None:
    book = ledger()
    hold(book, "h", 100)
    first = settle(book, "h", 60)
    assert book.settle("h", 99, "estimate", at=AT) == (first, [])
    assert book.void("h", "too late", at=AT) == (first, [])
    assert book.session("s").settled == 60

    hold(book, "v", 100)
    voided, _ = book.void("v", "429", at=AT)
    assert book.settle("v", 100, "usage", at=AT) == (voided, [])
    assert (book.session("s").settled, book.session("s").held) == (60, 0)


def test_a_settle_is_never_cut_and_never_below_nothing() -> None:
    book = ledger()
    hold(book, "h1", 100)
    hold(book, "h2", 100)
    assert settle(book, "h1", 9_999).nanos == 9_999
    assert settle(book, "h2", -5).nanos == 0
    session = book.session("s")
    assert (session.settled, session.overdraft) == (9_999, 9_899)


def test_what_is_settled_never_falls_by_a_late_report() -> None:
    book = ledger()
    hold(book, "h", 100)
    settle(book, "h", 60)
    assert book.adjust("h", 10, "late", at=AT)[0].nanos == 60
    late, entries = book.adjust("h", 75, "late", at=AT)
    assert (late.nanos, len(entries)) == (75, 1)
    assert book.adjust("h", 75, "late", at=AT) == (late, [])
    assert book.session("s").settled == 75


def test_verbs_on_a_hold_that_never_was_say_so() -> None:
    book = ledger()
    with pytest.raises(UnknownHold):
        settle(book, "never", 1)
    with pytest.raises(UnknownHold):
        book.void("never", "", at=AT)
    with pytest.raises(UnknownHold):
        book.adjust("never", 1, "", at=AT)


def test_a_call_over_midnight_of_a_month_is_charged_where_it_was_held() -> None:
    book = ledger(project="web")
    hold(book, "h", 100)
    book.settle("h", 80, "usage", at=AT + 40 * 86_400)
    assert book.account("project:web@2026-01").settled == 80


# ---- states


@pytest.mark.parametrize("state", sorted(acc.STATES))
@pytest.mark.parametrize("verb", sorted(SESSION_VERBS))
def test_what_a_person_may_do_to_a_session_in_each_state(verb: str, state: str) -> None:
    book = ledger()
    book.apply(e.StateSet(at=AT, session="s", state=state))
    if state == "exhausted":
        book.session("s").state = state
    refused = {("pause", "killed"), ("resume", "killed"), ("close", "killed")} | {
        ("pause", "closed"),
        ("resume", "closed"),
    }
    if (verb, state) in refused:
        with pytest.raises(LedgerError, match=f"is {state}"):
            book.set_state("s", verb, at=AT)
        return
    book.set_state("s", verb, at=AT)
    after = {"pause": "paused", "resume": "active", "kill": "killed", "close": "closed"}[verb]
    expected = state if (verb, state) == ("resume", "exhausted") else after
    assert book.session("s").state == expected
    assert book.set_state("s", verb, at=AT) == [], "said twice is done once"


# ---- cost


def calls_made(book: Ledger, session: str, hold_id: str) -> int:
    """How many functions, Python's and C's, one hold and its settle call."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        hold(book, hold_id, 1, session)
        settle(book, hold_id, 1)
    finally:
        sys.setprofile(None)
    return count


def median_s(book: Ledger, session: str, tag: str) -> float:
    taken = []
    for number in range(200):
        began = time.perf_counter()
        hold(book, f"{tag}{number}", 1, session)
        settle(book, f"{tag}{number}", 1)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def test_the_ten_thousandth_call_costs_what_the_first_did_among_ten_thousand_sessions() -> None:
    small, large = ledger(ceiling=10**9, project="p"), ledger(ceiling=10**9, project="p")
    for number in range(10_000):
        large.open(f"s{number}", at=AT, ceiling=10**9, project="p")
        hold(large, f"open{number}", 1, f"s{number}")
        hold(large, f"mine{number}", 1)
        settle(large, f"mine{number}", 1)
    hold(small, "warm", 1)
    settle(small, "warm", 1)
    assert calls_made(large, "s", "x") == calls_made(small, "s", "x")
    assert median_s(large, "s", "y") < 5 * median_s(small, "s", "y")


def test_a_crash_gives_no_open_hold_back() -> None:
    book = ledger()
    hold(book, "out", 400)
    hold(book, "done", 100)
    settle(book, "done", 30)
    (recovered,) = book.recover(at=AT + 60)
    outcome, entries = recovered
    assert (outcome.hold, outcome.nanos, outcome.basis) == ("out", 400, "crash")
    assert [e.kind(entry) for entry in entries] == ["settled"]
    assert (book.session("s").settled, book.session("s").held) == (430, 0)
    assert list(book.recover(at=AT + 61)) == []


def test_a_part_is_treated_no_more_gently_than_the_whole() -> None:
    ledger = Ledger()
    ledger.open("whole", at=0, on_anomaly="kill", fail_open=False)
    ledger.open("part", at=0, parent="whole", on_anomaly="alert", fail_open=True)
    part = ledger.session("part")
    assert (part.on_anomaly, part.fail_open) == ("kill", False)
    ledger.open("plain", at=0)
    ledger.open("stricter", at=0, parent="plain", on_anomaly="pause", fail_open=False)
    ledger.open("as-it-is", at=0, parent="plain", fail_open=True)
    stricter = ledger.session("stricter")
    assert (stricter.on_anomaly, stricter.fail_open) == ("pause", False)
    assert ledger.session("as-it-is").fail_open is None


def test_a_charge_never_gives_money_back() -> None:
    ledger = Ledger()
    ledger.open("s", at=0, ceiling=100)
    ledger.charge("s", 30, "usage", hold_id="f1", at=0)
    ledger.charge("s", -1_000, "usage", hold_id="f2", at=0)
    assert ledger.session("s").settled == 30
