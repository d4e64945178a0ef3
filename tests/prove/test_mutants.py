"""Faults that were made in other limits, put into this one: none survives (`make mutants`)."""

from __future__ import annotations

import pytest

from prove.mutants import CALLS, MUTANTS, Mutant, catcher


def test_there_are_enough_of_them_and_none_twice() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 12


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_caught(mutant: Mutant) -> None:
    assert catcher(mutant) is not None


def test_a_core_without_a_fault_is_caught() -> None:
    """Else a catch would say nothing: what catches must pass where nothing was changed."""
    unchanged = Mutant("none", "agentwatch/core/ledger.py", "class Ledger", "class Ledger", CALLS)
    assert catcher(unchanged) is None
