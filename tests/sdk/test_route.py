"""A provider's request as the daemon takes it."""

from __future__ import annotations

import pytest

from agentwatch.sdk.route import BASE_HEADER, Way, daemon_headers, daemon_path, own_base

PUBLIC = "https://api.openai.com/v1/"


@pytest.mark.parametrize(
    ("provider", "base", "url", "path"),
    [
        ("openai", PUBLIC, PUBLIC + "chat/completions", "/openai/v1/chat/completions"),
        ("openai", PUBLIC, PUBLIC + "models?limit=2", "/openai/v1/models?limit=2"),
        ("openai", "http://h:1/x", "http://h:1/x/responses", "/openai/v1/responses"),
        # inside of `agentwatch run` the base URL is the daemon's already
        (
            "openai",
            "http://127.0.0.1:4141/openai/v1",
            "http://127.0.0.1:4141/openai/v1/embeddings",
            "/openai/v1/embeddings",
        ),
        ("anthropic", "https://a.com", "https://a.com/v1/messages", "/anthropic/v1/messages"),
        (
            "groq",
            "https://api.groq.com",
            "https://api.groq.com/openai/v1/chat/completions",
            "/groq/openai/v1/chat/completions",
        ),
        ("xai", "https://api.x.ai/v1/", "https://api.x.ai/v1/responses", "/xai/v1/responses"),
        (
            "gemini",
            "https://g.com/",
            "https://g.com/v1/models/m:generateContent?key=k&alt=sse",
            "/gemini/v1/models/m:generateContent?alt=sse",
        ),
    ],
)
def test_a_path_is_the_daemon_s(provider: str, base: str, url: str, path: str) -> None:
    assert daemon_path(provider, base, url) == path


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com:444/v1/models",
        "http://api.openai.com/v1/models",
        "https://api.openai.com.evil.example/v1/models",
        "https://other.example/v1/models",
    ],
)
def test_another_server_is_reached_through_a_governed_client(url: str) -> None:
    assert daemon_path("openai", PUBLIC, url) is None


def test_a_port_that_is_the_scheme_s_own_is_the_same_server() -> None:
    assert daemon_path("openai", "https://h:443/v1", "https://h/v1/models") == "/openai/v1/models"


@pytest.mark.parametrize(
    ("slot", "value", "shown"),
    [
        (b"Authorization", b"Bearer sk-own", b"Bearer aws_t"),
        (b"X-Api-Key", b"sk-own", b"aws_t"),
        (b"x-goog-api-key", b"sk-own", b"aws_t"),
    ],
)
def test_the_caller_s_key_leaves_it(slot: bytes, value: bytes, shown: bytes) -> None:
    headers = [(b"Host", b"api"), (slot, value), (b"Cookie", b"c"), (b"X-Other", b"1")]
    headers += [(b"X-AgentWatch-Session-Id", b"another")]
    sent = dict(daemon_headers(headers, Way("aws_t"), "agentwatch", {}))
    assert sent == {b"X-Other": b"1", b"host": b"agentwatch", slot.lower(): shown}


def test_beside_a_key_the_session_is_named() -> None:
    way = Way("awk_k", {"x-agentwatch-session-id": "s"})
    told = {BASE_HEADER: own_base("openai", "http://h/v1")}
    sent = dict(daemon_headers([], way, "agentwatch", told))
    assert sent[b"authorization"] == b"Bearer awk_k"
    assert sent[b"x-agentwatch-session-id"] == b"s"
    assert sent[b"x-agentwatch-base-url"] == b"http://h/v1"


def test_a_public_base_url_is_told_as_the_client_s_own() -> None:
    assert own_base("openai", PUBLIC) == own_base("anthropic", "https://api.anthropic.com") == ""
