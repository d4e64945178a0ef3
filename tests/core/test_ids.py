"""Ids and names: one rule at every door."""

from __future__ import annotations

import pytest

from agentwatch.core.ids import NAME, SESSION_ID


@pytest.mark.parametrize("good", ["a", "0", "run:2026-01-01.1", "A" * 128, "a_b-c.d:e"])
def test_ids_that_the_contract_allows(good: str) -> None:
    assert SESSION_ID.fullmatch(good)


@pytest.mark.parametrize(
    "bad", ["", ".a", "-a", ":a", "a" * 129, "a b", "a/b", "ä", "a\n", "a\0", "٣", "a@2026-01"]
)
def test_ids_that_would_break_a_path_a_log_or_a_key(bad: str) -> None:
    assert not SESSION_ID.fullmatch(bad)


def test_a_projects_name_can_never_look_like_its_month() -> None:
    assert not NAME.fullmatch("web@2026-01")
    assert NAME.fullmatch("Web team/api: v2")
