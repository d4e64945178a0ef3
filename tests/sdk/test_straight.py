"""Calls that go to the provider itself, and whose price list is another's than the client's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest
from harness import Daemon, chat, nanos, wait_until

from agentwatch import AgentBudgetExceeded, WatchedOpenAI
from agentwatch.sdk.denial import Denial
from agentwatch.sdk.session import Session
from agentwatch.sdk.straight import prepare
from agentwatch.sdk.terms import Terms
from agentwatch.standin.process import StandinProcess

BODY = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"stream":true}'


def test_a_provider_of_the_user_s_own_is_charged_as_openai(
    start_daemon: Any, standin: StandinProcess, program: pytest.MonkeyPatch
) -> None:
    """The spool tells the address, and the daemon whose it is."""
    daemon = start_daemon()
    daemon.down()
    config = '[providers.mistral]\nwire = "mistral"\nbase_url = "{}"\n'
    (daemon.home / "config.toml").write_text(config.format(standin.of("mistral")))
    program.setenv("AGENTWATCH_HOME", str(daemon.home))
    base = standin.of("mistral").replace("127.0.0.1", "localhost")
    client = WatchedOpenAI(
        api_key=standin.key, base_url=base + "/v1", agentwatch_session_id="mistral"
    )
    said = chat("tokens=9", model="mistral-small-2603", max_tokens=50)
    client.chat.completions.create(**said)
    daemon.up()
    wait_until(lambda: not list((daemon.home / "spool").iterdir()))
    shown = daemon.get("/v1/sessions/mistral")
    assert nanos(shown["settled_usd"]) == standin.bill()["billed_nanos"] > 0
    assert shown["fail_open"] == {"daemon_away": 1}


@pytest.mark.parametrize(
    ("base", "provider", "asks_usage"),
    [
        ("", "openai", True),
        ("https://api.x.ai/v1/", "xai", True),
        ("https://api.groq.com/openai/v1/", "groq", False),
        ("https://generativelanguage.googleapis.com/v1beta/openai/", "gemini", True),
        # which refuses fields that it does not know
        ("https://api.mistral.ai/v1/", "mistral", False),
        ("https://stranger.example/v1/", "openai", True),
    ],
)
def test_a_public_address_is_read_as_the_client_s_class(
    alone: Path, base: str, provider: str, asks_usage: bool
) -> None:
    path = "/openai/v1/chat/completions"
    made = prepare(Session(Terms()), "POST", path, {}, BODY, base)
    assert not isinstance(made, Denial)
    assert (b"include_usage" in made.body) == asks_usage
    (file,) = (alone / "spool").iterdir()
    kept = json.loads(file.read_text())
    assert (kept["ask"]["provider"], kept["base"]) == (provider, base)


def test_a_credential_in_an_address_is_in_the_file(alone: Path) -> None:
    base = "https://user:canary@stranger.example/v1/?key=canary"
    prepare(Session(Terms()), "POST", "/openai/v1/chat/completions", {}, BODY, base)
    (file,) = (alone / "spool").iterdir()
    assert json.loads(file.read_text())["base"] == "https://stranger.example/v1/"
    assert "canary" not in file.read_text()


def _free(client: WatchedOpenAI) -> None:
    assert client.models.list().data
    moderated = client.moderations.create(model="omni-moderation-latest", input="x")
    assert not moderated.results[0].flagged


def test_what_is_free_is_refused_for_money(beside: Daemon, standin: StandinProcess) -> None:
    client = WatchedOpenAI(agentwatch_session_budget_usd=0.000000001)
    with pytest.raises(AgentBudgetExceeded):
        client.embeddings.create(model="text-embedding-3-small", input="x")
    _free(client)
    assert standin.bill()["requests"] == 2


def test_what_is_free_is_kept_in_the_spool(alone: Path, standin: StandinProcess) -> None:
    _free(WatchedOpenAI(api_key=standin.key, base_url=standin.url))
    assert not (alone / "spool").exists()


def test_what_is_meant_for_one_region_goes_to_another(
    beside: Daemon, standin: StandinProcess
) -> None:
    client = WatchedOpenAI(base_url="https://eu.api.openai.com/v1")
    with pytest.raises(openai.BadRequestError, match="a region of openai") as refused:
        client.embeddings.create(model="text-embedding-3-small", input="x")
    assert refused.value.code == "path_not_governed"
    assert standin.bill()["requests"] == 0
