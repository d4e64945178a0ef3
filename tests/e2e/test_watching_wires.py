"""A loop is noticed on each wire, whole and streamed: the same tool call, answered in the same way,
in a conversation that grows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from harness import Agent, Daemon

RESULT = "total 3: basket.py, shop.py, tests"
CALL = {"command": "ls -la"}
FIRST = f"list the files [[standin: tools=run:{json.dumps(CALL)} times=0]]"
SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}}

Body = dict[str, Any]


def chat(turn: int, stream: bool) -> tuple[str, str, Body]:
    messages: list[Body] = [{"role": "user", "content": FIRST}]
    for number in range(turn):
        call_id = f"call_{number:03d}x"
        function = {"name": "run", "arguments": json.dumps(CALL)}
        called = [{"id": call_id, "type": "function", "function": function}]
        messages += [{"role": "assistant", "tool_calls": called}]
        messages += [{"role": "tool", "tool_call_id": call_id, "content": RESULT}]
    tools = [{"type": "function", "function": {"name": "run", "parameters": SCHEMA}}]
    body = {"model": "gpt-4o-mini", "messages": messages, "tools": tools, "stream": stream}
    return "/openai/v1", "/chat/completions", body


def responses(turn: int, stream: bool) -> tuple[str, str, Body]:
    items: list[Body] = [{"role": "user", "content": FIRST}]
    for number in range(turn):
        called = {"name": "run", "arguments": json.dumps(CALL), "call_id": f"fc_{number:03d}x"}
        items += [{"type": "function_call", **called}]
        items += [{"type": "function_call_output", "call_id": called["call_id"], "output": RESULT}]
    tools = [{"type": "function", "name": "run", "parameters": SCHEMA}]
    body = {"model": "gpt-4o-mini", "input": items, "tools": tools, "stream": stream}
    return "/openai/v1", "/responses", body


def messages(turn: int, stream: bool) -> tuple[str, str, Body]:
    mark = {"cache_control": {"type": "ephemeral"}}
    said: list[Body] = [{"role": "user", "content": [{"type": "text", "text": FIRST}]}]
    for number in range(turn):
        use = {"type": "tool_use", "id": f"toolu_{number:03d}x", "name": "run", "input": CALL}
        said += [{"role": "assistant", "content": [use]}]
        result = {"type": "tool_result", "tool_use_id": use["id"], "content": RESULT}
        said += [{"role": "user", "content": [result]}]
    # as Claude Code marks the newest for the cache, and no other
    said[-1] = {**said[-1], "content": [{**said[-1]["content"][0], **mark}]}
    tools = [{"name": "run", "input_schema": SCHEMA}]
    body = {"model": "claude-haiku-4-5", "max_tokens": 500, "messages": said, "tools": tools}
    return "/anthropic/v1", "/messages", {**body, "stream": stream}


def contents(turn: int, stream: bool) -> tuple[str, str, Body]:
    said: list[Body] = [{"role": "user", "parts": [{"text": FIRST}]}]
    for _ in range(turn):
        said += [{"role": "model", "parts": [{"functionCall": {"name": "run", "args": CALL}}]}]
        response = {"name": "run", "response": {"output": RESULT}}
        said += [{"role": "user", "parts": [{"functionResponse": response}]}]
    tools = [{"functionDeclarations": [{"name": "run", "parameters": SCHEMA}]}]
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    body = {"contents": said, "tools": tools, "generationConfig": {"maxOutputTokens": 500}}
    return "/gemini/v1beta", f"/models/gemini-2.5-flash:{method}", body


def groq(turn: int, stream: bool) -> tuple[str, str, Body]:
    _, path, body = chat(turn, stream)
    return "/groq/openai/v1", path, {**body, "model": "openai/gpt-oss-120b"}


def xai(turn: int, stream: bool) -> tuple[str, str, Body]:
    _, path, body = chat(turn, stream)
    return "/xai/v1", path, {**body, "model": "grok-4.7"}


def xai_messages(turn: int, stream: bool) -> tuple[str, str, Body]:
    _, path, body = messages(turn, stream)
    return "/xai/v1", path, {**body, "model": "grok-4.7"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("wire", [chat, responses, messages, contents, groq, xai, xai_messages])
def test_a_loop_is_not_seen(
    daemon: Daemon, wire: Callable[[int, bool], tuple[str, str, Body]], stream: bool
) -> None:
    agent: Agent = daemon.open(5.0)
    for turn in range(6):
        base, path, body = wire(turn, stream)
        reply = agent.post(path, body, base=base)
        assert reply.status == 200, reply.body
    assert [alert["kind"] for alert in agent.show()["alerts"]] == ["repeated_tool_call"]
