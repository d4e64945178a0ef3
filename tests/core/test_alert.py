"""The words of alerts: each kind is in one family, and the stronger action wins."""

from __future__ import annotations

import pytest

from agentwatch.core import accounts as acc
from agentwatch.core.alert import ACTIONS, FAMILIES, FAMILY_OF, KINDS, stronger
from agentwatch.sections import AnomaliesSettings


def test_a_kind_is_in_no_family_or_in_two() -> None:
    assert sorted(KINDS) == sorted(FAMILY_OF)
    assert sum(len(kinds) for kinds in FAMILIES.values()) == len(set(KINDS))


def test_a_kind_has_no_setting() -> None:
    assert set(KINDS) <= set(AnomaliesSettings.__struct_fields__)


def test_the_actions_are_those_that_a_session_knows() -> None:
    assert ACTIONS == acc.ANOMALY_ACTIONS


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [("alert", "pause", "pause"), ("kill", "pause", "kill"), ("alert", "alert", "alert")],
)
def test_the_weaker_action_is_taken(one: str, other: str, both: str) -> None:
    assert stronger(one, other) == stronger(other, one) == both
