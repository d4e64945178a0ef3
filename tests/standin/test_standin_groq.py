"""The stand-in as Groq: which requests it takes, and how it tells its usage."""

from __future__ import annotations

import json
from typing import Any

import groq
import pytest

from agentwatch.standin.groq import Groq
from agentwatch.standin.process import StandinProcess
from agentwatch.standin.provider import BadRequestError


def asked(directive: str, **fields: Any) -> dict[str, Any]:
    said = f"hi [[standin: {directive}]]"
    return {
        "model": "openai/gpt-oss-20b",
        "messages": [{"role": "user", "content": said}],
        **fields,
    }


def test_more_than_one_choice_is_refused() -> None:
    with pytest.raises(BadRequestError):
        Groq().read("POST", "/chat/completions", json.dumps(asked("", n=2)).encode())


def test_the_sdk_reads_its_frames(standin: StandinProcess) -> None:
    with groq.Groq(base_url=standin.of("groq"), api_key=standin.key) as client:
        chunks = list(client.chat.completions.create(**asked("tokens=3 bare"), stream=True))
        assert [bool(chunk.choices) for chunk in chunks].count(False) == 1
        last = chunks[-1].x_groq
        assert last and last.usage and last.usage.completion_tokens == 3
        system = asked(
            "tokens=3 web_search=1 iterations=part:9:2:qwen/qwen3-32b", model="groq/compound"
        )
        whole = client.chat.completions.create(**system)
        assert whole.usage_breakdown and len(whole.usage_breakdown.models) == 2
        assert whole.choices[0].message.executed_tools
    assert [each["nanos"] > 0 for each in standin.bill()["by_request"]] == [True, True]
