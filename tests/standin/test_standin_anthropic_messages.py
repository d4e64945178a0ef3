"""What the stand-in says as Anthropic, read by Anthropic's own SDK."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from agentwatch.standin.anthropic_messages import lines_of
from agentwatch.standin.process import StandinProcess
from agentwatch.standin.script import Script, ScriptError

TOOL: Any = {"name": "ls", "input_schema": {"properties": {"path": {"type": "string"}}}}


@pytest.fixture
def client(standin: StandinProcess) -> Iterator[anthropic.Anthropic]:
    base = standin.of("anthropic")
    with anthropic.Anthropic(base_url=base, api_key=standin.key, max_retries=0, timeout=10) as sdk:
        yield sdk


def say(client: anthropic.Anthropic, directive: str, stream: bool, **fields: Any) -> Any:
    said = {"role": "user", "content": f"hello [[standin: {directive}]]"}
    body: Any = {"model": "claude-sonnet-5", "max_tokens": 100, "messages": [said], **fields}
    if not stream:
        return client.messages.create(**body)
    with client.messages.stream(**body) as answer:
        return answer.get_final_message()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
class TestBothForms:
    def test_text(self, client: anthropic.Anthropic, stream: bool) -> None:
        message = say(client, "tokens=5", stream)
        assert [block.type for block in message.content] == ["text"]
        assert message.content[0].text == "I read the file and "
        assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 5)

    def test_a_limit(self, client: anthropic.Anthropic, stream: bool) -> None:
        message = say(client, "tokens=50", stream, max_tokens=7)
        assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 7)

    def test_tools(self, client: anthropic.Anthropic, stream: bool) -> None:
        message = say(client, "tools=ls parallel=2", stream, tools=[TOOL])
        assert [(block.type, block.input) for block in message.content] == [
            ("tool_use", {"path": "text"})
        ] * 2
        assert message.stop_reason == "tool_use"

    def test_thinking_and_searches_come_first(
        self, client: anthropic.Anthropic, stream: bool
    ) -> None:
        message = say(client, "tokens=3 reasoning=20 web_search=1", stream)
        kinds = [block.type for block in message.content]
        assert kinds == ["thinking", "server_tool_use", "web_search_tool_result", "text"]
        assert message.usage.output_tokens == 23
        assert message.usage.server_tool_use.web_search_requests == 1

    def test_usage(self, client: anthropic.Anthropic, stream: bool) -> None:
        usage = say(client, "density=1 cached=5 cache_write=4 write_long=3 geo=us", stream).usage
        assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (5, 7)
        assert usage.cache_creation.ephemeral_1h_input_tokens == 3
        assert (usage.inference_geo, usage.speed, usage.service_tier) == (
            "us",
            "standard",
            "standard",
        )


def test_an_error_in_mid_stream_is_one_that_the_sdk_raises(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        say(client, "tokens=9 error=3", True)


def test_iterations_are_told_beside_and_within_the_totals() -> None:
    told = lines_of(Script(iterations="message:5:2+advisor_message:9:3:claude-opus-5"), "m")
    assert [(line.kind, line.model, line.given, line.made) for line in told] == [
        ("message", "m", 5, 2),
        ("advisor_message", "claude-opus-5", 9, 3),
    ]
    assert lines_of(Script(), "m") == []


@pytest.mark.parametrize("odd", ["compaction", "compaction:1", "compaction:a:b", "a:1:2:m:n"])
def test_an_iteration_that_is_none(odd: str) -> None:
    with pytest.raises(ScriptError):
        lines_of(Script(iterations=odd), "m")
