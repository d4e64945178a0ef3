"""Sessions that are parts of others: held and spent on all of them, or on none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core import accounts as acc
from agentwatch.core.admission import Admitted, Policy, Refused
from agentwatch.core.estimate import Quote, quote
from agentwatch.core.ledger import Ledger
from agentwatch.errors import BarredError, UsageError

POLICY = Policy(clamp=False)
#: one nano a token of output
MILLION = 1_000_000
_COSTS_ONE = Quote(fixed=MILLION, per_token=0, asked=0, most=0)


def ledger_of(*ceilings: int | None) -> Ledger:
    """Sessions s0, s1, …, each a part of the one before."""
    made = Ledger()
    for number, ceiling in enumerate(ceilings):
        parent = f"s{number - 1}" if number else None
        made.open(f"s{number}", at=1.0, ceiling=ceiling, parent=parent, project="p")
    return made


def states(ledger: Ledger) -> list[str]:
    return [session.state for session in ledger.sessions.values()]


def hold(ledger: Ledger, session: str, nanos: int, hold_id: str) -> Admitted | Refused:
    asked = quote(
        input_bound=0,
        input_rate=0,
        output_rate=MILLION,
        choices=1,
        asked=nanos,
        model_max=None,
        has_output=True,
        extra_output=0,
        fees_nanos=0,
    )
    verdict, _ = ledger.hold(session, asked, POLICY, hold_id=hold_id, at=2.0, may_wait=False)
    assert isinstance(verdict, (Admitted, Refused))
    return verdict


def test_a_call_is_held_on_the_part_alone() -> None:
    ledger = ledger_of(100, 100, 100)
    assert isinstance(hold(ledger, "s2", 30, "h1"), Admitted)
    assert [ledger.session(f"s{n}").held for n in range(3)] == [30, 30, 30]
    ledger.settle("h1", 20, "usage", at=3.0)
    assert [ledger.session(f"s{n}").settled for n in range(3)] == [20, 20, 20]
    assert [ledger.session(f"s{n}").iterations for n in range(3)] == [1, 1, 1]


def test_a_part_has_more_than_the_whole() -> None:
    ledger = ledger_of(50, 100)
    verdict = hold(ledger, "s1", 60, "h1")
    assert verdict == Refused("session:s0", 60)
    assert [ledger.session(f"s{n}").held for n in range(2)] == [0, 0]


def test_a_part_goes_on_when_the_whole_is_stopped() -> None:
    ledger = ledger_of(100, 100, 100)
    ledger.set_state("s0", "kill", at=2.0)
    with pytest.raises(BarredError, match=acc.KILLED):
        hold(ledger, "s2", 1, "h1")
    other = ledger_of(100, 100)
    other.set_state("s1", "kill", at=2.0)
    assert isinstance(hold(other, "s0", 1, "h1"), Admitted)


def test_a_project_is_left_by_a_part() -> None:
    ledger = ledger_of(100)
    ledger.open("part", at=1.0, parent="s0", project="another")
    assert ledger.session("part").project == "p"


def test_parts_without_end_are_made() -> None:
    ledger = ledger_of(*[None] * acc.DEEPEST)
    with pytest.raises(UsageError, match="any deeper"):
        ledger.open("more", at=1.0, parent=f"s{acc.DEEPEST - 1}")


def test_parts_that_are_over_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acc, "MOST_CHILDREN", 3)
    ledger = ledger_of(100)
    for number in range(3):
        ledger.open(f"part{number}", at=1.0, parent="s0")
    ledger.open("below", at=1.0, parent="part0")
    with pytest.raises(UsageError, match="more parts"):
        ledger.open("more", at=1.0, parent="s0")
    for number in range(3):
        ledger.set_state(f"part{number}", "close", at=2.0)
        ledger.open(f"next{number}", at=2.0, parent="s0")
    with pytest.raises(UsageError, match="more parts"):
        ledger.open("more", at=3.0, parent="s0")


def test_a_session_becomes_a_part_of_another_later() -> None:
    ledger = ledger_of(100)
    ledger.open("alone", at=1.0)
    with pytest.raises(UsageError, match="no part of"):
        ledger.open("alone", at=1.0, parent="s0")


def test_a_charge_is_made_twice() -> None:
    ledger = ledger_of(100, 100)
    assert len(ledger.charge("s1", 130, "usage", hold_id="i1", at=2.0)) == 2
    assert ledger.charge("s1", 130, "usage", hold_id="i1", at=3.0) == []
    for name in ("s0", "s1"):
        session = ledger.session(name)
        assert (session.settled, session.overdraft, session.held) == (130, 30, 0)


CALLS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60), st.integers(0, 60)), max_size=25)


@given(st.tuples(*[st.integers(0, 200)] * 4), CALLS)
def test_the_whole_has_what_its_parts_have_and_keeps_its_ceiling(
    ceilings: tuple[int, ...], calls: list[tuple[int, int, int]]
) -> None:
    ledger = ledger_of(*ceilings)
    own = [0] * 4
    for number, (which, worst, cost) in enumerate(calls):
        name = f"h{number}"
        if isinstance(hold(ledger, f"s{which}", worst, name), Admitted):
            spent = min(worst, cost)
            ledger.settle(name, spent, "usage", at=3.0)
            own[which] += spent
    for number in range(4):
        session = ledger.session(f"s{number}")
        assert session.settled == sum(own[number:]) <= ceilings[number]
        assert session.held == 0


def test_a_paused_part_of_a_killed_whole_may_hope_to_go_on() -> None:
    """What no one comes back from is told first, wherever it is."""
    ledger = ledger_of(100, 100, 100)
    ledger.set_state("s2", "pause", at=2.0)
    part = ledger.session("s2")
    assert ledger.state_at(part, 2.0) == (part, acc.PAUSED)
    assert not ledger.is_hopeless(part, _COSTS_ONE, POLICY, at=2.0)
    # its time was up: no verb was told, which would have ended the parts as well
    whole = ledger.session("s0")
    whole.expires_at = 3.0
    assert ledger.state_at(part, 3.0) == (whole, acc.CLOSED)
    assert ledger.is_hopeless(part, _COSTS_ONE, POLICY, at=3.0)


def test_a_whole_does_not_know_that_its_ceiling_refused_a_part() -> None:
    ledger = ledger_of(100, 50, 100)
    assert hold(ledger, "s2", 60, "h1") == Refused("session:s1", 60)
    assert states(ledger) == [acc.ACTIVE, acc.EXHAUSTED, acc.ACTIVE]
    assert [ledger.session(f"s{n}").refusals for n in range(3)] == [1, 1, 1]
    # as for its own calls: a smaller one fits, and it goes on
    assert isinstance(hold(ledger, "s2", 50, "h2"), Admitted)
    assert states(ledger) == [acc.ACTIVE] * 3


def test_a_part_s_own_ceiling_stops_the_whole() -> None:
    ledger = ledger_of(100, 50)
    assert hold(ledger, "s1", 60, "h1") == Refused("session:s1", 60)
    assert states(ledger) == [acc.ACTIVE, acc.EXHAUSTED]


def test_a_refusal_concerns_who_does_not_draw_on_the_account() -> None:
    ledger = ledger_of(100, 100, 100)
    part = ledger.session("s2")
    concerned = {
        account: [each.name for each in ledger.short_of(part, account)]
        for account in ("session:s2", "session:s1", "session:s0", "project:p@1970-01")
    }
    assert concerned == {
        "session:s2": ["s2"],
        "session:s1": ["s2", "s1"],
        "session:s0": ["s2", "s1", "s0"],
        "project:p@1970-01": ["s2", "s1", "s0"],
    }


@pytest.mark.parametrize(("verb", "ended"), [("close", acc.CLOSED), ("kill", acc.KILLED)])
def test_parts_outlive_their_whole(verb: str, ended: str) -> None:
    ledger = ledger_of(100, 100, 100, 100)
    ledger.set_state("s2", "pause", at=2.0)
    ledger.set_state("s3", "close", at=2.0)
    hold(ledger, "s1", 30, "h1")
    done = ledger.set_state("s1", verb, at=2.0, reason="asked")
    assert [(entry.session, entry.reason) for entry in done] == [("s1", "asked"), ("s2", "asked")]
    assert states(ledger) == [acc.ACTIVE, ended, ended, acc.CLOSED]
    assert ledger.set_state("s1", verb, at=2.0) == []
    # what is out goes on being paid for
    ledger.settle("h1", 30, "usage", at=3.0)
    assert [ledger.session(f"s{n}").settled for n in range(4)] == [30, 30, 0, 0]


@pytest.mark.parametrize(("verb", "ended"), [("close", acc.CLOSED), ("kill", acc.KILLED)])
def test_a_part_is_opened_alive_after_its_whole_has_ended(verb: str, ended: str) -> None:
    ledger = ledger_of(100, 100)
    ledger.set_state("s0", verb, at=2.0)
    ledger.open("late", at=3.0, parent="s1")
    assert ledger.session("late").state == ended


def test_a_pause_of_the_whole_is_the_part_s_own_and_its_end_is_not() -> None:
    ledger = ledger_of(100, 100, 100)
    ledger.set_state("s2", "pause", at=2.0)
    ledger.set_state("s0", "pause", at=2.0)
    assert states(ledger) == [acc.PAUSED, acc.ACTIVE, acc.PAUSED]
    ledger.session("s1").prompt_sizes["lane"] = [[1, 10]]
    ledger.set_state("s0", "resume", at=2.0)
    assert states(ledger) == [acc.ACTIVE, acc.ACTIVE, acc.PAUSED]
    assert not ledger.session("s1").prompt_sizes, "it is judged anew with its whole"


def test_a_part_waits_for_money_that_its_whole_has_spent() -> None:
    ledger = ledger_of(50, 100)
    hold(ledger, "s0", 50, "h1")
    part = ledger.session("s1")
    assert not ledger.is_hopeless(part, _COSTS_ONE, POLICY, at=2.0)
    ledger.settle("h1", 50, "usage", at=2.0)
    assert ledger.is_hopeless(part, _COSTS_ONE, POLICY, at=2.0)


def test_a_stream_of_a_closed_part_outlives_the_kill_of_its_whole() -> None:
    """The part had ended before, and is not killed with it; its call was still out."""
    ledger = ledger_of(100, 100)
    hold(ledger, "s1", 30, "h1")
    ledger.set_state("s1", "close", at=2.0)
    assert ledger.extend("h1", 5, at=2.0)[0]
    ledger.set_state("s0", "kill", at=2.0)
    assert ledger.extend("h1", 5, at=2.0) == (False, [])
