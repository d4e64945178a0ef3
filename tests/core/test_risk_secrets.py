"""Secrets: fillers are none, and a private key is covered to its end."""

from __future__ import annotations

import secrets
import string

import pytest

from agentwatch.core import risk
from agentwatch.core.risk_secrets import entropy


def _key(prefix: str, size: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return prefix + "".join(secrets.choice(alphabet) for _ in range(size))


@pytest.mark.parametrize(
    ("tag", "prefix", "size"),
    [
        ("SECRET_OPENAI", "sk-proj-", 120),
        ("SECRET_OPENAI", "sk-", 48),
        ("SECRET_ANTHROPIC", "sk-ant-api03-", 95),
        ("SECRET_GITHUB", "ghp_", 36),
        ("SECRET_GOOGLE", "AIza", 35),
        ("SECRET_GROQ", "gsk_", 52),
        ("SECRET_XAI", "xai-", 80),
        ("SECRET_STRIPE", "sk_live_", 24),
        ("SECRET_AGENTWATCH", "awk_", 43),
    ],
)
def test_a_drawn_key_is_found_whole_wherever_it_stands(tag: str, prefix: str, size: int) -> None:
    for around in ("{}", "key={};", '"{}"', "({})", "Bearer {}\n", "a\t{}, b"):
        key = _key(prefix, size)
        (found,) = risk.scan(around.format(key))
        assert found.tag == tag
        assert around.format(key)[found.start : found.end] == key
        assert risk.tags_in(around.format(prefix + "x" * size)) == ()


def test_a_private_key_is_covered_from_its_first_to_its_last_line() -> None:
    kind = "RSA PRIVATE KEY"
    lines = "\n".join(_key("", 64) for _ in range(25))
    pem = f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----"
    text = f"before\n{pem}\nafter"
    assert risk.redacted(text, risk.scan(text)) == "before\n[SECRET_PRIVATE_KEY]\nafter"
    quoted = text.replace("\n", "\\n")
    assert risk.redacted(quoted, risk.scan(quoted)) == "before\\n[SECRET_PRIVATE_KEY]\\nafter"


def test_a_key_under_a_telling_name_is_told_once() -> None:
    (found,) = risk.scan("api_key = " + _key("sk-ant-api03-", 95))
    assert found.tag == "SECRET_ANTHROPIC"


def test_entropy_is_bits_a_character() -> None:
    assert entropy("") == 0
    assert entropy("aaaa") == 0
    assert entropy("abcd") == 2
