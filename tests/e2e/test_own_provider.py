"""A provider that the configuration alone defines: governed, priced and settled like any other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from harness import PATIENCE_S, Agent, Daemon, chat, environment, nanos, new_home, running

import agentwatch
from agentwatch.standin.process import StandinProcess

CONFIG = """
[providers.deepseek]
wire = "openai"
base_url = "{url}/openai"

[providers.local]
wire = "openai"
base_url = "{url}/openai/v1"
needs_key = false

[providers.mistral]
wire = "mistral"
base_url = "{url}/mistral"
"""
PRICES = """
[deepseek.gpt-4o-mini]
input = 0.15
cached_input = 0.075
output = 0.6
max_output_tokens = 16384

[local."*"]
input = 0
output = 0
"""


@pytest.fixture(scope="module")
def own() -> Iterator[tuple[Daemon, StandinProcess]]:
    """A daemon with two such providers, at a stand-in that takes the key "none" as well."""
    with StandinProcess() as standin, new_home() as home:
        (home / "config.toml").write_text(CONFIG.format(url=standin.url.removesuffix("/v1")))
        (home / "prices.toml").write_text(PRICES)
        variables = environment(home, standin) | {
            "DEEPSEEK_API_KEY": standin.key,
            "MISTRAL_API_KEY": standin.key,
        }
        with running(Daemon(home, variables)) as daemon:
            yield daemon, standin


def sdk(daemon: Daemon, agent: Agent, name: str) -> openai.OpenAI:
    base = f"http://127.0.0.1:{daemon.port}/{name}/v1"
    return openai.OpenAI(base_url=base, api_key=agent.token, timeout=PATIENCE_S, max_retries=0)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_is_settled_is_what_was_billed(
    own: tuple[Daemon, StandinProcess], stream: bool
) -> None:
    daemon, standin = own
    standin.reset()
    agent = daemon.open(1.0)
    with sdk(daemon, agent, "deepseek") as client:
        made: Any = client.chat.completions.create(**chat("tokens=9 cached=3"), stream=stream)
        if stream:
            assert all(chunk.choices for chunk in made)
    shown, bill = agent.at_rest(), standin.bill()
    assert nanos(shown["settled_usd"]) == bill["billed_nanos"] > 0
    assert shown["estimated"] == 0 and bill["leaks"] == [] and bill["wrong_key"] == 0


def test_its_ceiling_holds(own: tuple[Daemon, StandinProcess]) -> None:
    daemon, standin = own
    standin.reset()
    client = sdk(daemon, daemon.open(0.0000001), "deepseek")
    with client, pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**chat())
    assert refused.value.code == "agent_budget_exceeded"
    assert standin.bill()["requests"] == 0


def test_a_model_without_a_price_is_refused(own: tuple[Daemon, StandinProcess]) -> None:
    daemon, _ = own
    client = sdk(daemon, daemon.open(1.0), "deepseek")
    with client, pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**chat(model="gpt-4o"))
    assert refused.value.code == "model_not_priced"


def test_one_that_asks_for_no_key_is_sent_none(own: tuple[Daemon, StandinProcess]) -> None:
    """The stand-in asks for one, so it turns the call away: what counts is what it was shown."""
    daemon, standin = own
    standin.reset()
    agent = daemon.open(0.0000001)
    with sdk(daemon, agent, "local") as client, pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(**chat(model="anything at all"))
    bill = standin.bill()
    assert (bill["wrong_key"], bill["leaks"]) == (1, [])
    assert agent.at_rest()["settled_usd"] == 0


def test_run_leads_its_sdk_there(own: tuple[Daemon, StandinProcess]) -> None:
    daemon, standin = own
    standin.reset()
    program = (
        "import os, openai\n"
        "client = openai.OpenAI(base_url=os.environ['DEEPSEEK_BASE_URL'],"
        " api_key=os.environ['DEEPSEEK_API_KEY'])\n"
        f"print(client.chat.completions.create(**{chat('tokens=2')!r}).usage.completion_tokens)\n"
        "assert os.environ['DEEPSEEK_API_KEY'].startswith('aws_')"
        " and os.environ['LOCAL_API_BASE']\n"
    )
    told = daemon.command("run", "--budget", "1", "--", sys.executable, "-c", program)
    assert (told.returncode, told.stdout.strip()) == (0, "2"), told.stderr
    assert standin.bill()["requests"] == 1


@pytest.mark.parametrize("wrapped", [False, True], ids=["class", "wrap"])
def test_a_watched_client_at_its_address_is_governed_as_it(
    own: tuple[Daemon, StandinProcess], monkeypatch: pytest.MonkeyPatch, wrapped: bool
) -> None:
    """With its own key, at its own prices: nothing of it is OpenAI's but the client."""
    daemon, standin = own
    standin.reset()
    monkeypatch.setenv("AGENTWATCH_HOME", str(daemon.home))
    base = standin.url.removesuffix("/v1") + "/openai"
    session = f"at-its-address-{wrapped}"
    told = {"agentwatch_session_id": session, "agentwatch_session_budget_usd": 1}
    client = agentwatch.WatchedOpenAI(base_url=base, api_key="sk-x", **({} if wrapped else told))
    if wrapped:
        client = agentwatch.wrap(openai.OpenAI(base_url=base, api_key="sk-x"), **told)
    with client:
        client.chat.completions.create(**chat("tokens=7"))
    shown, bill = daemon.get(f"/v1/sessions/{session}"), standin.bill()
    assert nanos(shown["settled_usd"]) == bill["billed_nanos"] > 0
    assert (bill["requests"], bill["leaks"], bill["wrong_key"]) == (1, [], 0)


def test_its_prices_are_listed_and_its_key_can_be_kept(
    own: tuple[Daemon, StandinProcess],
) -> None:
    daemon, _ = own
    shown = daemon.command("prices", "show", "deepseek/gpt-4o-mini")
    assert shown.returncode == 0 and "from user" in shown.stdout
    assert daemon.command("prices", "ls", "--provider", "local").returncode == 0
    other = daemon.command("keys", "set", "cohere")
    assert other.returncode == 2 and "deepseek" in other.stderr


SMALL = "mistral-small-2603"
MISTRAL = {
    "plain": chat("tokens=23", model=SMALL),
    "cached": chat("tokens=9 density=1 cached=20", model=SMALL),
    "reasoning": chat("tokens=9 reasoning=30", model=SMALL),
    "cut short by the limit": chat("tokens=50", model=SMALL, max_tokens=9),
    "two choices": chat("tokens=9", model="codestral-2508", n=2),
    "another model answers": chat("tokens=9 answer_model=codestral-2508", model=SMALL),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", MISTRAL)
def test_mistral_is_settled_at_what_was_billed(
    own: tuple[Daemon, StandinProcess], name: str, stream: bool
) -> None:
    """Prices come from the price list; a budget below the model's own limit has one put in, under
    the one name that Mistral knows."""
    daemon, standin = own
    standin.reset()
    agent = daemon.open(0.1)
    with sdk(daemon, agent, "mistral") as client:
        made: Any = client.chat.completions.create(**MISTRAL[name], stream=stream)
        if stream:
            assert [bool(chunk.usage) for chunk in made][-1]
    shown, bill = agent.at_rest(), standin.bill()
    assert nanos(shown["settled_usd"]) == bill["billed_nanos"] > 0
    assert shown["estimated"] == 0 and bill["leaks"] == []
    assert standin.requests()[0]["limit"] is not None


def test_a_limit_that_would_be_ignored_gets_the_name_that_is_not(
    own: tuple[Daemon, StandinProcess],
) -> None:
    """The stand-in reads OpenAI's request strictly, and takes no two limits: so it tells that both
    were there."""
    daemon, standin = own
    standin.reset()
    client = sdk(daemon, daemon.open(1.0), "deepseek")
    with client, pytest.raises(openai.BadRequestError, match="not both"):
        client.chat.completions.create(**chat(max_completion_tokens=9))
