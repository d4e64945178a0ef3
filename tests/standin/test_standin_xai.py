"""The stand-in as xAI: each answer states what is billed."""

from __future__ import annotations

import openai

from agentwatch.standin.process import StandinProcess


def test_what_is_stated_is_what_is_billed(standin: StandinProcess) -> None:
    said = "hi [[standin: tokens=3 reasoning=5]]"
    base = standin.of("xai") + "/v1"
    with openai.OpenAI(base_url=base, api_key=standin.key) as client:
        chat = client.chat.completions.create(
            model="grok-4.7", messages=[{"role": "user", "content": said}]
        ).usage
        response = client.responses.create(model="grok-4.7", input=said).usage
    assert chat and response
    assert (chat.completion_tokens, response.output_tokens) == (3, 8)
    stated = [usage.model_extra["cost_in_usd_ticks"] for usage in (chat, response)]  # type: ignore[index]
    assert [-(-ticks // 10) for ticks in stated] == [
        each["nanos"] for each in standin.bill()["by_request"]
    ]
