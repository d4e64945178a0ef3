"""What is done about risks: actions by tag, patterns in linear time, what is allowed."""

from __future__ import annotations

import sys
import time

import pytest

from agentwatch.core.risk import TAGS
from agentwatch.core.risk_policy import RiskPolicy
from agentwatch.errors import UsageError

TEXT = "alice@example.com from 84.23.91.17, EMP-123456"


def tags(policy: RiskPolicy, text: str = TEXT) -> list[str]:
    return [each.tag for each in policy.look(text)]


def test_an_action_is_for_all_tags_but_those_that_have_one() -> None:
    assert tags(RiskPolicy()) == ["PII_EMAIL", "PII_IP"]
    assert tags(RiskPolicy("off")) == []
    assert tags(RiskPolicy("off", {"PII_IP": "tag"})) == ["PII_IP"]
    assert RiskPolicy("block", {"PII_IP": "tag"}).blocked == set(TAGS) - {"PII_IP"}
    assert RiskPolicy("off").tags == ()


def test_what_is_redacted_follows_the_action_unless_everything_is() -> None:
    policy = RiskPolicy("tag", {"PII_IP": "redact"})
    found = policy.look(TEXT)
    assert [each.tag for each in policy.taken_out(found, everything=False)] == ["PII_IP"]
    assert policy.taken_out(found, everything=True) == found


def test_what_is_allowed_is_no_risk() -> None:
    assert tags(RiskPolicy(allow=["*@example.com"])) == ["PII_IP"]
    assert tags(RiskPolicy(allow=["84.23.91.1?", "alice"])) == ["PII_EMAIL"]


def test_patterns_of_one_s_own_have_places_in_any_script() -> None:
    policy = RiskPolicy(patterns={"EMPLOYEE_ID": r"EMP-\d{6}"})
    text = "\u00e9\u2603\U0001f600 EMP-123456 EMP-12"
    (found,) = policy.look(text)
    assert text[found.start : found.end] == "EMP-123456"
    assert policy.in_order({"EMPLOYEE_ID", "PII_IP"}) == ["PII_IP", "EMPLOYEE_ID"]


@pytest.mark.parametrize(
    ("name", "pattern", "why"),
    [
        ("OWN", r"(?=a)b", "linear time"),
        ("OWN", r"(a)\1", "linear time"),
        ("OWN", "(", "linear time"),
        ("OWN", "a*", "everywhere"),
        ("own", "a", "capitals"),
        ("PII_EMAIL", "a", "new"),
    ],
)
def test_a_pattern_that_can_t_be_taken_is_refused_with_its_reason(
    name: str, pattern: str, why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        RiskPolicy(patterns={name: pattern})


def test_a_tag_that_is_not_known_is_refused() -> None:
    with pytest.raises(UsageError, match="PII_MAIL"):
        RiskPolicy(by_tag={"PII_MAIL": "off"})


def test_without_the_extra_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(UsageError, match=r"'\.\[patterns\]'"):
        RiskPolicy(patterns={"OWN": "a"})


def test_a_pattern_that_stalls_other_engines_does_not_stall_this_one() -> None:
    policy = RiskPolicy("off", patterns={"OWN": r"(a+)+b"}, by_tag={"OWN": "tag"})
    begun = time.process_time()
    assert policy.look("a" * 50_000) == []
    assert time.process_time() - begun < 2
