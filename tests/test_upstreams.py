"""Upstream addresses: taken as the SDKs take them, and never to a stranger in plain text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.errors import SettingsError
from agentwatch.upstreams import PROVIDERS, PUBLIC_UPSTREAMS, is_loopback, upstream_base


@pytest.mark.parametrize(
    ("provider", "text", "base"),
    [
        ("openai", "https://api.openai.com", "https://api.openai.com/v1"),
        ("openai", "https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("openai", "https://gw.example/openai", "https://gw.example/openai/v1"),
        ("openai", "https://gw.example/openai/v1", "https://gw.example/openai/v1"),
        ("openai", "HTTPS://GW.example:8443/Path/v2", "https://gw.example:8443/Path/v2"),
        ("openai", "http://localhost:9", "http://localhost:9/v1"),
        ("openai", "http://[::1]:9/v1", "http://[::1]:9/v1"),
        ("xai", "https://api.x.ai", "https://api.x.ai/v1"),
        ("anthropic", "https://api.anthropic.com/v1", "https://api.anthropic.com"),
        ("anthropic", "http://127.0.0.1:9", "http://127.0.0.1:9"),
        ("groq", "https://api.groq.com/openai/v1", "https://api.groq.com"),
        ("groq", "https://api.groq.com/v1/", "https://api.groq.com"),
        ("groq", "https://api.groq.com/openai", "https://api.groq.com"),
        ("gemini", "https://g.example/v1beta", "https://g.example"),
        ("gemini", "https://g.example/v1beta/openai/", "https://g.example"),
        ("gemini", "https://g.example/v1", "https://g.example"),
    ],
)
def test_with_or_without_the_version_it_is_understood(provider: str, text: str, base: str) -> None:
    assert upstream_base(provider, text) == base


@pytest.mark.parametrize(
    "text",
    [
        "http://api.openai.com/v1",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://127.1",
        "http://0x7f.0.0.1",
        "http://10.0.0.1",
        "http://[::ffff:10.0.0.1]",
        "https://user:canary@host",
        "https://canary@host",
        "https://host/v1?key=canary",
        "https://host/v1?",
        "https://host/#canary",
        "https://host/a/../canary",
        "https://host/%2e%2e/canary",
        "https://host//canary",
        "https://ho st/canary",
        "https://host\\canary",
        "https://host\n/canary",
        "https://host:0",
        "https://host:99999",
        "https://host:canary",
        "https://hö.example",
        "https://",
        "ftp://canary",
        "//canary",
        "canary",
        "",
        "https://[::1",
    ],
)
def test_the_key_goes_to_a_stranger(text: str) -> None:
    for provider in PROVIDERS:
        with pytest.raises(SettingsError) as caught:
            upstream_base(provider, text)
        assert "canary" not in str(caught.value)


def test_the_public_addresses_are_in_their_final_form() -> None:
    for provider, address in PUBLIC_UPSTREAMS.items():
        assert upstream_base(provider, address) == address


@given(
    st.sampled_from(PROVIDERS),
    st.text("ab:/@?#.%[]1\\ \n", max_size=20).map(lambda tail: "https://host" + tail),
)
def test_what_is_taken_is_plain_and_stays_as_it_is(provider: str, text: str) -> None:
    try:
        base = upstream_base(provider, text)
    except SettingsError:
        return
    assert not set("@?#%\\ \n") & set(base)
    assert upstream_base(provider, base) == base


def test_loopback_is_what_is_loopback_for_certain() -> None:
    assert is_loopback("LOCALHOST")
    assert is_loopback("127.8.9.1")
    assert not is_loopback("localhost.")
    assert not is_loopback("0.0.0.0")
