"""Gemini through its own SDK: what is settled is what was billed, to the nano-dollar, and nothing
gets into its streams that the SDK chokes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from harness import Agent, Daemon, nanos

from agentwatch.standin.process import StandinProcess

FLASH = "gemini-2.5-flash"
NO_THOUGHT = {"thinking_config": {"thinking_budget": 0}}
PNG = types.Part.from_bytes(data=b"\x89PNG not really", mime_type="image/png")
WAV = types.Part.from_bytes(data=b"RIFF not really", mime_type="audio/wav")
PDF = types.Part.from_bytes(data=b"%PDF not really", mime_type="application/pdf")
MP4 = types.Part.from_bytes(data=b"not really", mime_type="video/mp4")


@contextmanager
def client(agent: Agent, daemon: Daemon, **options: Any) -> Iterator[genai.Client]:
    """Google's own client, as `run` sets it up."""
    base_url = f"http://127.0.0.1:{daemon.port}/gemini"
    with genai.Client(
        api_key=agent.token,
        http_options={"base_url": base_url, "timeout": 30_000, **options},
    ) as made:
        yield made


def said(directive: str) -> str:
    return f"hello [[standin: {directive}]]"


def agrees(agent: Agent, standin: StandinProcess, estimated: int = 0) -> int:
    shown = agent.at_rest()
    bill = standin.bill()
    assert nanos(shown["settled_usd"]) == bill["billed_nanos"] > 0
    assert shown["overdraft_usd"] == 0 and shown["estimated"] == estimated
    assert bill["leaks"] == [] and bill["wrong_key"] == 0
    return int(bill["billed_nanos"])


def generate(sdk: genai.Client, stream: bool, contents: Any, **config: Any) -> str:
    model = config.pop("model", FLASH)
    asked = {"model": model, "contents": contents, "config": config or None}
    if not stream:
        return sdk.models.generate_content(**asked).text or ""
    return "".join(chunk.text or "" for chunk in sdk.models.generate_content_stream(**asked))


CALLS: list[tuple[Any, dict[str, Any]]] = [
    (said("tokens=23"), {}),
    (said("tokens=60 utf8"), {"max_output_tokens": 90, **NO_THOUGHT}),
    (said("tokens=9 density=1 cached=10"), {}),
    (said("tokens=9 reasoning=300"), {"model": "gemini-2.5-pro"}),
    (said("tokens=9 reasoning=300 think_beside"), {"max_output_tokens": 20}),
    (said("tokens=9 reasoning=99"), {"thinking_config": {"thinking_budget": 50}}),
    (said("tokens=9 tool_use=700"), {"tools": [{"url_context": {}}]}),
    (said("tokens=9 web_search=3 tool_use=90"), {"tools": [{"google_search": {}}]}),
    (said("tokens=5"), {"candidate_count": 3}),
    (said("tokens=5"), {"service_tier": "flex"}),
    (said("tokens=5"), {"model": "gemini-3.8-flash-tts", "service_tier": "priority"}),
    (said("tokens=5 answer_tier=standard"), {"service_tier": "flex"}),
    (said("tokens=5 answer_model=gemini-2.5-pro"), {}),
    ([said("tokens=5"), PNG], {"model": "gemini-3.5-flash"}),
    ([said("tokens=5"), WAV, PDF], {}),
    ([said("tokens=5 density=1 cached=360"), WAV], {}),
    ([said("tokens=5"), MP4], {"model": "gemini-2.5-pro"}),
    (said("tokens=7"), {"model": "gemini-2.5-flash-image", "response_modalities": ["IMAGE"]}),
    (said("tokens=5 usage=last"), {}),
    (said("tokens=5 eol=crlf write=7"), {}),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_gemini_bills_is_what_is_settled(
    daemon: Daemon, standin: StandinProcess, stream: bool
) -> None:
    for contents, config in CALLS:
        standin.reset()
        agent = daemon.open(20.0)
        with client(agent, daemon) as sdk:
            generate(sdk, stream, contents, **config)
        agrees(agent, standin)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_refusal_is_a_402_in_googles_words(
    daemon: Daemon, standin: StandinProcess, stream: bool
) -> None:
    agent = daemon.open(0.0000001)
    with client(agent, daemon) as sdk, pytest.raises(errors.ClientError) as raised:
        generate(sdk, stream, "hello")
    assert (raised.value.code, raised.value.status) == (402, "RESOURCE_EXHAUSTED")
    assert f"agentwatch sessions budget {agent.id} USD" in str(raised.value.message)
    details = raised.value.details["error"]["details"]
    assert details[0]["reason"] == "agent_budget_exceeded"
    assert agent.show()["refusals"] == 1 and standin.bill()["requests"] == 0


def test_a_stream_that_is_killed_ends_in_an_error_of_the_sdk(daemon: Daemon) -> None:
    def read_on(sdk: genai.Client) -> None:
        asked = said("tokens=4000 delay=0.05")
        for number, _ in enumerate(sdk.models.generate_content_stream(model=FLASH, contents=asked)):
            if number == 2:
                agent.do("kill")

    agent = daemon.open(5.0)
    with client(agent, daemon) as sdk, pytest.raises(errors.ClientError) as raised:
        read_on(sdk)
    assert (raised.value.code, raised.value.status) == (403, "PERMISSION_DENIED")
    agent.at_rest()


def body(directive: str = "tokens=5", **fields: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": said(directive)}]}], **fields}


def test_a_stream_that_is_an_array_is_metered_as_it_comes(
    daemon: Daemon, standin: StandinProcess
) -> None:
    agent = daemon.open(5.0)
    path = f"/v1beta/models/{FLASH}:streamGenerateContent"
    told = {"x-goog-api-key": agent.token, "Authorization": ""}
    reply = agent.post(path, body("tokens=9"), told, base="/gemini")
    assert reply.status == 200 and len(reply.json) == 10
    assert reply.json[-1]["usageMetadata"]["candidatesTokenCount"] == 9
    agrees(agent, standin)


def test_a_killed_array_is_still_json(daemon: Daemon) -> None:
    agent = daemon.open(5.0)
    path = f"/models/{FLASH}:streamGenerateContent"
    with agent.begin(path, body("tokens=4000 delay=0.02"), base="/gemini") as sent:
        assert sent.head().status == 200
        sent.head().read1(200)
        agent.do("kill")
        rest = sent.reply().body
    assert json.loads(b"[" + rest[rest.index(b'{"error"') :])[0]["error"]["code"] == 403
