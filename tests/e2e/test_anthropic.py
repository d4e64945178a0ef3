"""Claude through Anthropic's own SDK: what is settled is what the provider billed, to the
nano-dollar, whatever the form; and refusals and broken streams are what that SDK expects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
from harness import PATIENCE_S, Agent, Daemon, nanos

from agentwatch.standin.process import StandinProcess

MODEL = "claude-haiku-4-5"
Sdk = Callable[..., anthropic.Anthropic]


@pytest.fixture(scope="module")
def line() -> Iterator[anthropic.DefaultHttpxClient]:
    """The connections of all clients: making them costs more than a call."""
    with anthropic.DefaultHttpxClient() as client:
        yield client


@pytest.fixture
def sdk(daemon: Daemon, line: anthropic.DefaultHttpxClient) -> Sdk:
    """Anthropic's client for an agent."""
    base = f"http://127.0.0.1:{daemon.port}/anthropic"

    def client(agent: Agent, **options: Any) -> anthropic.Anthropic:
        told = {"base_url": base, "api_key": agent.token, "timeout": PATIENCE_S, **options}
        return anthropic.Anthropic(http_client=line, **told)

    return client


def asked(directive: str = "", **fields: Any) -> dict[str, Any]:
    said = f"hello [[standin: {directive}]]" if directive else "hello"
    messages = [{"role": "user", "content": said}]
    return {"model": MODEL, "max_tokens": 1000, "messages": messages, **fields}


def call(client: anthropic.Anthropic, body: dict[str, Any], stream: bool) -> Any:
    """The final message. Fields that only the beta has go there."""
    beta = {"fallbacks", "context_management", "compaction"} & body.keys() or any(
        "advisor" in tool.get("type", "") for tool in body.get("tools", ())
    )
    messages: Any = client.beta.messages if beta else client.messages
    if not stream:
        return messages.create(**body)
    with messages.stream(**body) as answer:
        return answer.get_final_message()


def agrees(agent: Agent, standin: StandinProcess) -> int:
    shown = agent.at_rest()
    bill = standin.bill()
    assert nanos(shown["settled_usd"]) == bill["billed_nanos"] > 0, bill["by_request"]
    assert shown["overdraft_usd"] == 0 and shown["estimated"] == 0
    assert bill["leaks"] == [] and bill["wrong_key"] == 0
    return int(bill["billed_nanos"])


SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
ADVISOR = {
    "type": "advisor_20260301",
    "name": "advisor",
    "model": "claude-opus-5",
    "max_uses": 1,
    "max_tokens": 2000,
}
TOOL = {
    "name": "ls",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}},
}
KEEP = {"type": "ephemeral", "ttl": "1h"}
SONNET = {"model": "claude-sonnet-5"}

#: what is asked for, and what the provider does then
CALLS: dict[str, dict[str, Any]] = {
    "plain": asked("tokens=23"),
    "not ASCII": asked("tokens=60 utf8"),
    "a token a byte": asked("tokens=9 density=1"),
    "nothing said": asked("tokens=0"),
    "cut short by the limit": asked("tokens=50", max_tokens=9),
    "cache read": asked("tokens=9 density=1 cached=20"),
    "cache written for 5 minutes": asked("tokens=9 density=1 cache_write=20"),
    "cache written for an hour": asked(
        "tokens=9 density=1 cached=5 cache_write=5 write_long=9",
        system=[{"type": "text", "text": "be brief", "cache_control": KEEP}],
    ),
    "thinking that is not shown": asked(
        "tokens=9 reasoning=300",
        thinking={"type": "enabled", "budget_tokens": 1024},
        max_tokens=4000,
    ),
    "tools": asked("tools=ls parallel=2", tools=[TOOL]),
    "searches": asked("tokens=9 web_search=2", tools=[SEARCH]),
    "in the United States": asked("tokens=9 density=1 cached=7", inference_geo="us", **SONNET),
    "a workspace that is in the United States": asked("tokens=9 geo=us", **SONNET),
    "anywhere": asked("tokens=9", inference_geo="global", **SONNET),
    "a fraction of a nano-dollar": asked(
        "tokens=1 density=1 cache_write=1 geo=us", model="claude-haiku-5-5"
    ),
    "fast": asked("tokens=9 cached=3", model="claude-opus-5-5", speed="fast"),
    "fast, but not answered so": asked(
        "tokens=9 answer_tier=standard", model="claude-opus-5-5", speed="fast"
    ),
    "capacity bought beforehand": asked("tokens=9 answer_tier=priority", service_tier="auto"),
    "standard only": asked("tokens=9", service_tier="standard_only"),
    "another model answers": asked("tokens=9 answer_model=claude-sonnet-5"),
    "a long prompt": asked(
        "tokens=9 density=1 cached=1000", model="claude-haiku-5-5", system="w" * 101_000
    ),
    "a prompt at the threshold": asked(
        "tokens=9 density=2", model="claude-haiku-5-5", system="w" * 199_000
    ),
    "compaction": asked(
        "tokens=9 iterations=compaction:40:300",
        context_management={"edits": [{"type": "compact_20260112"}]},
        betas=["compact-2026-01-12"],
    ),
    "an advisor": asked(
        "tokens=9 iterations=advisor_message:900:700:claude-opus-5",
        tools=[ADVISOR],
        betas=["advisor-tool-2026-03-01"],
    ),
    "a fallback": asked(
        "tokens=9 iterations=fallback_message:40:50:claude-opus-4-8",
        model="claude-fable-5",
        fallbacks=[{"model": "claude-opus-4-8"}],
        betas=["server-side-fallback-2026-07-01"],
    ),
    "a loop of the server's": asked(
        "tokens=9 web_search=1 iterations=message:90000:20+message:95000:30",
        model="claude-haiku-5-5",
        tools=[SEARCH],
        fallbacks=[],
    ),
    "an image": asked(
        "tokens=9",
        system=None,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "image", "source": {"type": "url", "url": "https://images/1.png"}},
                    {"type": "text", "text": "what is it? [[standin: tokens=9]]"},
                ],
            }
        ],
    ),
    "a document": asked(
        messages=[
            {
                "role": "user",
                "content": [
                    {
                        "type": "document",
                        "source": {
                            "type": "base64",
                            "media_type": "application/pdf",
                            "data": "JVBERi0=",
                        },
                    },
                ],
            }
        ],
    ),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", CALLS)
def test_what_is_settled_is_what_was_billed(
    daemon: Daemon, standin: StandinProcess, sdk: Sdk, name: str, stream: bool
) -> None:
    agent = daemon.open(200.0)
    body = {key: value for key, value in CALLS[name].items() if value is not None}
    message = call(sdk(agent), body, stream)
    assert message.usage.output_tokens >= 0
    agrees(agent, standin)


def test_the_page_and_the_tests_have_the_same_matrix() -> None:
    page = (Path(__file__).parents[2] / "docs" / "anthropic.md").read_text()
    table = page.partition("| call | priced |")[2].partition("\n\n")[0]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()[2:]]
    assert rows == list(CALLS)
