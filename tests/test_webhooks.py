"""Webhooks' addresses, secrets and waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.errors import SettingsError
from agentwatch.webhooks import WAITS_S, check_url, is_public, secret_bytes, wait_before


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::", True),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hooks.example.com/",
        "https://user:word@hooks.example.com/",
        "https:///path",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:port/",
        "hooks.example.com",
        "http://hooks.example.com/s3cr3t-path",
        "https://hooks.example.com/a b",
    ],
)
def test_an_address_that_cannot_be_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        check_url(url, allow_private=False)
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!!!", "whsec_c2hvcnQ=", "s3cr3t" * 9])
def test_a_secret_that_cannot_be_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(SettingsError, match="make one") as refused:
        secret_bytes(secret)
    assert "s3cr3t" not in str(refused.value)


@given(st.integers(1, 40), st.floats(0, 1, exclude_max=True))
def test_each_wait_is_longer_and_none_is_endless(tries: int, lot: float) -> None:
    assert wait_before(tries, lot) <= 1.2 * WAITS_S[-1]
    assert wait_before(tries, 0.0) <= wait_before(tries + 1, lot)
