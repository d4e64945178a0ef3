"""What OpenAI does for a response beside writing it: searches of the web and of files, code. Their
fees are held before and settled after, to the nano-dollar, and no ceiling is passed by them."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from harness import Agent, Daemon, nanos

from agentwatch.standin.process import StandinProcess

WEB = {"type": "web_search"}
FILES = {"type": "file_search", "vector_store_ids": ["vs_1"]}
#: its window is the smallest: as much is held for each call of a tool
MODEL = "gpt-4o-mini"


def code(container: object) -> dict[str, Any]:
    return {"type": "code_interpreter", "container": container}


SMALL = code({"type": "auto"})


def respond(agent: Agent, script: str, stream: bool = False, **fields: Any) -> None:
    asked = {"model": MODEL, "max_output_tokens": 100, **fields}
    with agent.sdk() as sdk:
        answer = sdk.responses.create(
            input=f"hello [[standin: tokens=9 {script}]]", stream=stream, **asked
        )
        if stream:
            assert list(answer)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("script", "tools", "fees"),
    [
        ("web_search=2", [WEB], 20_000_000),
        ("file_search=3", [FILES], 7_500_000),
        ("file_search=3 tool_use=60000", [FILES], 7_500_000),
        ("file_search=0", [FILES], 0),
        # one container, however often code runs in it
        ("code=1", [SMALL], 30_000_000),
        ("code=4 tool_use=900", [SMALL], 30_000_000),
        ("code=2", [code({"type": "auto", "memory_limit": "16g"})], 480_000_000),
        ("code=0", [SMALL], 0),
        ("web_search=1 file_search=2 code=1", [WEB, FILES, SMALL], 45_000_000),
    ],
)
def test_a_hosted_tool_is_not_counted(
    daemon: Daemon,
    standin: StandinProcess,
    script: str,
    tools: list[Any],
    fees: int,
    stream: bool,
) -> None:
    agent = daemon.open(5.0)
    respond(agent, script, stream, tools=tools, max_tool_calls=4)
    shown, (call,) = agent.at_rest(), standin.requests()
    assert nanos(shown["settled_usd"]) == call["nanos"] == standin.bill()["billed_nanos"] > fees
    tokens = call["prompt_tokens"] * 150 + call["completion_tokens"] * 600
    assert call["nanos"] == tokens + fees
    assert (shown["overdraft_usd"], shown["estimated"]) == (0, 0)


def test_a_container_of_before_is_held_and_charged_as_the_largest(
    daemon: Daemon, standin: StandinProcess
) -> None:
    """Its size is not told, neither before nor after."""
    agent = daemon.open(5.0)
    respond(agent, "code=1", tools=[code("cntr_16g")], max_tool_calls=1)
    billed = standin.bill()["billed_nanos"]
    settled = nanos(agent.at_rest()["settled_usd"])
    assert billed > 480_000_000
    assert settled == billed + 1_920_000_000 - 480_000_000


@pytest.mark.parametrize(
    ("tools", "usd"),
    [
        ([FILES], 0.0025),
        ([SMALL], 0.03),
        ([code({"type": "auto", "memory_limit": "64g"})], 1.92),
        ([FILES, SMALL], 0.0325),
    ],
)
def test_a_fee_for_which_there_is_no_money_is_made(
    daemon: Daemon, standin: StandinProcess, tools: list[Any], usd: float
) -> None:
    """A ceiling that pays for the tokens, a whole window more of them, and not for the fee."""
    window = 128_000 * 0.15e-6
    agent = daemon.open(usd + window)
    with pytest.raises(openai.BadRequestError) as refused:
        respond(agent, "", tools=tools, max_tool_calls=1)
    assert refused.value.code == "agent_budget_exceeded"
    assert standin.bill()["requests"] == 0
    agent.set_budget(usd + 3 * window)
    respond(agent, "file_search=1", tools=tools, max_tool_calls=1)


@pytest.mark.parametrize("tool", [FILES, SMALL, WEB])
def test_a_tool_without_a_most_is_let_through(
    daemon: Daemon, standin: StandinProcess, tool: Any
) -> None:
    agent = daemon.open(50.0)
    with pytest.raises(openai.BadRequestError, match="max_tool_calls") as refused:
        respond(agent, "file_search=1", tools=[tool])
    assert refused.value.code == "model_not_priced"
    assert standin.bill()["requests"] == 0


def test_an_agent_that_searches_on_and_on_passes_its_ceiling(
    daemon: Daemon, standin: StandinProcess
) -> None:
    agent = daemon.open(0.25)

    def search_on() -> None:
        for _ in range(50):
            script = "file_search=4 code=1 tool_use=5000"
            respond(agent, script, tools=[FILES, SMALL], max_tool_calls=5)

    with pytest.raises(openai.BadRequestError) as refused:
        search_on()
    assert refused.value.code == "agent_budget_exceeded"
    shown = agent.at_rest()
    assert standin.bill()["requests"] == shown["iterations"] >= 2
    assert nanos(shown["settled_usd"]) == standin.bill()["billed_nanos"] <= 250_000_000
    assert shown["overdraft_usd"] == 0
