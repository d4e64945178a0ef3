"""Every mutant of the ledger is caught, and a mutant that escapes is told with its remedy."""

from __future__ import annotations

import pytest

from prove.mutants import Escaped, applied, killer_of, main
from prove.mutation import Change, Mutant, one
from prove.mutations import MUTANTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_mutant_survives(mutant: Mutant) -> None:
    assert killer_of(mutant).startswith(("tests/", "the simulator"))


def test_there_are_mutants_enough_and_no_two_alike() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 12
    assert len({mutant.changes for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("text", ["", "a b b", "b"])
def test_a_mutant_that_no_longer_applies_is_told_with_its_remedy(text: str) -> None:
    if text == "b":
        assert applied(Change("x.py", "b", "c"), text) == "c"
        return
    with pytest.raises(Escaped, match=r"x\.py has its text [02] times.*prove/mutations\.py"):
        applied(Change("x.py", "b", "c"), text)


@pytest.mark.parametrize(
    ("new", "told"), [("return scaled and -(-scaled", "SURVIVED"), ("return )", "does not run")]
)
def test_a_mutant_that_changes_nothing_or_does_not_run_is_not_taken_for_caught(
    new: str, told: str
) -> None:
    harmless = one(
        *("harmless", "none", "agentwatch/core/money.py", "return -(-scaled", new),
        "tests/core/test_money.py",
    )
    with pytest.raises(Escaped, match=told):
        killer_of(harmless)


def test_a_mutant_of_another_name_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no_such"]) == 2
    assert "no such mutant: no_such" in capsys.readouterr().err
