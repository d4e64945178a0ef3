"""A client's base URL is one provider's, or nobody's."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentwatch.daemon.bases import Bases
from agentwatch.errors import Refusal
from agentwatch.settings import load_settings
from agentwatch.upstreams import Place

CONFIG = """
[providers.openai]
base_url = "https://gateway.example/team/v1"

[providers.local]
wire = "openai"
base_url = "http://127.0.0.1:8000/v1"
needs_key = false

[providers.twin]
wire = "openai"
base_url = "https://gateway.example/team/v1"

[providers.six]
wire = "openai"
base_url = "http://[::1]:8000/v1"

[providers.xai]
base_url = "https://us-east-1.api.x.ai/v1"
"""


@pytest.fixture
def bases(tmp_path: Path) -> Bases:
    (tmp_path / "config.toml").write_text(CONFIG)
    settings = load_settings(environ={"AGENTWATCH_HOME": str(tmp_path)})
    made = Bases(settings, lambda path: Place("groq", "/v1") if path == "/groq/v1/" else None)
    made.port = 4141
    return made


@pytest.mark.parametrize(
    ("provider", "base", "place"),
    [
        ("openai", "https://gateway.example/team/v1/", Place("openai", "")),
        ("openai", "https://GATEWAY.example/team", Place("openai", "")),
        # its public address: the configuration says where it is asked instead
        ("openai", "https://api.openai.com/v1", Place("openai", "")),
        ("twin", "https://gateway.example/team/v1", Place("twin", "")),
        ("openai", "http://127.0.0.1:8000/v1", Place("local", "")),
        ("openai", "http://127.0.0.1:8000", Place("local", "")),
        # this machine has several names, and what is spelled alike goes first
        ("openai", "http://localhost:8000/v1/", Place("local", "")),
        ("openai", "http://[::1]:8000/v1", Place("six", "")),
        ("openai", "https://API.OpenAI.com:443/v1/", Place("openai", "")),
        ("openai", "https://api.openai.com", Place("openai", "")),
        # a region that the daemon was told to ask
        ("xai", "https://us-east-1.api.x.ai/v1", Place("xai", "")),
        ("openai", "https://us-east-1.api.x.ai:443", Place("xai", "")),
        ("openai", "https://api.groq.com/openai/v1/", Place("groq", "/openai/v1")),
        ("openai", "https://api.x.ai/v1", Place("xai", "")),
        ("anthropic", "https://api.x.ai", Place("xai", "")),
        (
            "openai",
            "https://generativelanguage.googleapis.com/v1beta/openai/",
            Place("gemini", "/v1beta/openai"),
        ),
        # the daemon itself, as inside of `agentwatch run`
        ("openai", "http://127.0.0.1:4141/groq/v1", Place("groq", "/v1")),
        ("openai", "http://localhost:4141/groq/v1/", Place("groq", "/v1")),
    ],
)
def test_an_address_is_a_provider(bases: Bases, provider: str, base: str, place: Place) -> None:
    assert bases.place(provider, base) == place


@pytest.mark.parametrize(
    "base",
    [
        "http://127.0.0.1:8001/v1",
        "http://127.0.0.1:4141/nobody/v1",
        "https://api.openai.com.evil.example/v1",
        "https://api.openai.com:444/v1",
        "http://api.openai.com/v1",
        "http://127.0.0.2:8000/v1",
        "https://127.0.0.1:8000/v1",
        "http://localhost:80/v1",
        "https://user:secret@api.openai.com/v1",
        "https://gateway.example/secret/v1",
        "http://10.0.0.7/v1",
        "http://[::1/v1",
        "http://h:99999/v1",
        "",
        "\xff",
    ],
)
def test_an_address_of_nobody_s_is_asked(bases: Bases, base: str) -> None:
    with pytest.raises(Refusal) as refused:
        bases.place("openai", base)
    assert refused.value.reason == "path_not_governed"
    assert "[providers.NAME]" in refused.value.message
    assert "secret" not in refused.value.message


@pytest.mark.parametrize(
    ("base", "told"),
    [
        ("https://eu.api.openai.com/v1", '[providers.openai] base_url = "https://eu.api.openai'),
        ("https://US.api.openai.com:443", '[providers.openai] base_url = "https://us.api.openai'),
        ("https://eu-west-1.api.x.ai/v1", "AGENTWATCH_XAI_UPSTREAM"),
    ],
)
def test_a_call_for_one_region_goes_to_another(bases: Bases, base: str, told: str) -> None:
    with pytest.raises(Refusal, match="region") as refused:
        bases.place("openai", base)
    assert refused.value.reason == "path_not_governed"
    assert told in refused.value.message
