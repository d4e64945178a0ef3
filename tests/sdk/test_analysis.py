"""`analyze_text`: the tags that aw-sdk gives, in its order."""

from __future__ import annotations

import pytest

import agentwatch
from agentwatch import analyze_text

EMAIL = "write to ada.lovelace@analytical-engines.com today"
CARD = "card 4111 1111 1111 1111, valid"
AWS = "key AKIAQ3EGRIAXK7LP9ZTM here"
STRIPE = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"
GITHUB = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("", []),
        ("nothing to see", []),
        (EMAIL, ["PII_EMAIL"]),
        (CARD, ["FINANCIAL_CREDIT_CARD"]),
        (AWS, ["SECRET_AWS_ACCESS_KEY"]),
        (f"{GITHUB} {STRIPE}", ["SECRET_STRIPE", "SECRET_GITHUB"]),
        ("my SSN is 536-22-8721", ["PII_SSN"]),
    ],
)
def test_each_tag_in_its_order(text: str, tags: list[str]) -> None:
    assert analyze_text(text) == tags


def test_a_long_text_is_looked_at_from_both_ends() -> None:
    filler = "word " * 60_000
    assert analyze_text(f"{EMAIL} {filler} {STRIPE}") == ["PII_EMAIL", "SECRET_STRIPE"]
    assert analyze_text(f"{filler} {EMAIL} {filler}") == []


def test_the_constants_have_aw_sdk_s_values() -> None:
    assert agentwatch.MAX_SCAN_CHARS == 262_144
    assert agentwatch.MAX_PENDING_LOGS == 1024
    assert agentwatch.TAG_ORDER[0] == "PII_EMAIL"
