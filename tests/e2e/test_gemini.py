"""Gemini through its own SDK: what is settled is what was billed, to the nano-dollar, and nothing
gets into its streams that the SDK chokes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
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
    # the total gives away what the count of the answer leaves out
    (said("tokens=40 usage=small"), {}),
    (said("tokens=5 eol=crlf write=7"), {}),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_gemini_bills_is_what_is_settled(
    daemon: Daemon, standin: StandinProcess, stream: bool
) -> None:
    agent = daemon.open(100.0)
    billed = 0
    with client(agent, daemon) as sdk:
        for contents, config in CALLS:
            generate(sdk, stream, contents, **config)
            assert agrees(agent, standin) > billed, (contents, config)
            billed = standin.bill()["billed_nanos"]


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


# ---- everything else that the SDK can do


# the SDK's own use of aiohttp
@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")
async def test_the_async_sdk_embeds_counts_and_lists(
    daemon: Daemon, standin: StandinProcess
) -> None:
    agent = daemon.open(5.0)
    with client(agent, daemon) as sdk:
        answer = await sdk.aio.models.generate_content(model=FLASH, contents=said("tokens=9"))
        assert answer.text
        stream = await sdk.aio.models.generate_content_stream(
            model=FLASH, contents=said("tokens=4")
        )
        assert "".join([chunk.text or "" async for chunk in stream])
        await sdk.aio.aclose()
        sdk.models.embed_content(model="gemini-embedding-001", contents=["one", "two two"])
        sdk.models.embed_content(model="gemini-embedding-2", contents="one")
        billed = agrees(agent, standin)
        assert sdk.models.count_tokens(model=FLASH, contents="x").total_tokens == 7
        assert sdk.models.get(model=FLASH).name == f"models/{FLASH}"
        assert list(sdk.models.list())
    assert agrees(agent, standin) == billed
    assert agent.show()["iterations"] == 4


def test_functions_that_the_sdk_calls_by_itself_are_calls_of_their_own(
    daemon: Daemon, standin: StandinProcess
) -> None:
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    agent = daemon.open(5.0)
    with client(agent, daemon) as sdk:
        generate(sdk, False, said("tools=add times=2 tokens=5"), tools=[add])
    agrees(agent, standin)
    assert agent.show()["iterations"] == 3


def test_the_long_context_tier_is_ignored(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(50.0)
    with client(agent, daemon) as sdk:
        text = "w" * 200_001 + said("density=1 tokens=5")
        generate(sdk, True, text, model="gemini-2.5-pro", max_output_tokens=50)
    assert agrees(agent, standin) > 200_000 * 2_500  # $2.50, not $1.25, for a million


@pytest.mark.parametrize("slot", ["x-goog-api-key", "Authorization", "?key"])
def test_the_key_is_replaced_in_its_slot_and_nowhere_else(
    daemon: Daemon, standin: StandinProcess, slot: str
) -> None:
    agent = daemon.open(5.0)
    path = f"/v1beta/models/{FLASH}:generateContent"
    path += f"?key={agent.token}" if slot == "?key" else ""
    told = dict.fromkeys(("x-goog-api-key", "x-api-key", "Cookie"), "sk-real-canary")
    told["Authorization"] = "Bearer sk-real-canary"
    if slot != "?key":
        told[slot] = f"Bearer {agent.token}" if slot == "Authorization" else agent.token
    reply = agent.post(path, body(), told, base="/gemini")
    assert reply.status == 200, reply.body
    names = standin.requests()[-1]["headers"]
    kept = {name for name in names if name in ("authorization", "x-goog-api-key", "x-api-key")}
    assert kept == ({slot.lower()} - {"?key"})
    agrees(agent, standin)


def test_a_token_in_the_path_is_enough(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(5.0)
    base = f"/s/{agent.token}/gemini"
    path = f"/models/{FLASH}:generateContent"
    assert agent.post(path, body(), {"Authorization": ""}, base=base).status == 200
    assert "x-goog-api-key" in standin.requests()[-1]["headers"]
    agrees(agent, standin)


def test_a_limit_is_put_in_that_covers_thinking(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(0.03)
    for _ in range(5):
        asked = body("tokens=9000 reasoning=9000 think_beside")
        reply = agent.post(f"/models/{FLASH}:generateContent", asked, base="/gemini")
        if reply.status != 200:
            break
    assert (reply.status, reply.denied) == (402, "agent_budget_exceeded")
    assert agrees(agent, standin) <= 30_000_000


# ---- what goes wrong


@pytest.mark.parametrize("directive", ["error=34", "cut=36", "end=36"])
def test_an_answer_that_breaks_off_costs_its_last_report_and_what_was_seen(
    daemon: Daemon, standin: StandinProcess, directive: str
) -> None:
    agent = daemon.open(5.0)
    asked = body(f"tokens=9 reasoning=30 {directive}")
    path = f"/v1beta/models/{FLASH}:streamGenerateContent?alt=sse"
    agent.post(path, asked, base="/gemini")
    shown, billed = agent.at_rest(), standin.bill()["billed_nanos"]
    assert billed <= nanos(shown["settled_usd"]) <= 2 * billed
    assert shown["estimated"] == 1


def test_an_error_inside_a_200_is_raised_by_the_sdk(daemon: Daemon) -> None:
    agent = daemon.open(5.0)
    with client(agent, daemon) as sdk, pytest.raises(errors.ServerError) as raised:
        generate(sdk, True, said("tokens=9 error=4"))
    assert raised.value.code == 503
    agent.at_rest()


@pytest.mark.parametrize("usage", ["missing", "null", "negative", "huge", "text", "zero"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_report_that_cannot_be_meant_is_never_cheaper(
    daemon: Daemon, standin: StandinProcess, usage: str, stream: bool
) -> None:
    agent = daemon.open(5.0)
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    asked = body(f"tokens=40 usage={usage}", generationConfig={"maxOutputTokens": 90, **NO_BUDGET})
    assert agent.post(f"/v1/models/{FLASH}:{verb}", asked, base="/gemini").status == 200
    shown = agent.at_rest()
    assert nanos(shown["settled_usd"]) >= standin.bill()["billed_nanos"]
    assert shown["estimated"] == 1


NO_BUDGET = {"thinkingConfig": {"thinkingBudget": 0}}


def test_a_client_that_hangs_up_pays_for_what_was_made(
    daemon: Daemon, standin: StandinProcess
) -> None:
    agent = daemon.open(5.0)
    path = f"/v1beta/models/{FLASH}:streamGenerateContent?alt=sse"
    with agent.begin(path, body("tokens=30 delay=0.01"), base="/gemini") as sent:
        sent.head().read1(100)
    agrees(agent, standin)


def test_bytes_come_through_as_they_were_sent(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(5.0)
    path = f"/v1beta/models/{FLASH}:streamGenerateContent?alt=sse"
    through = agent.post(path, body("tokens=12 eol=crlf utf8 write=5"), base="/gemini")
    assert through.body.count(b"\r\n\r\n") == 13 and b"[DONE]" not in through.body
    assert b"\n:" not in through.body and not through.body.startswith(b":")


# ---- OpenAI's wire below it


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_openais_sdk_speaks_to_gemini(
    daemon: Daemon, standin: StandinProcess, stream: bool
) -> None:
    agent = daemon.open(5.0)
    base_url = f"http://127.0.0.1:{daemon.port}/gemini/v1beta/openai/"
    with openai.OpenAI(base_url=base_url, api_key=agent.token, timeout=30) as sdk:
        for asked in ("tokens=9 reasoning=300", "tokens=4"):
            answer = sdk.chat.completions.create(
                model=FLASH, messages=[{"role": "user", "content": said(asked)}], stream=stream
            )
            assert not stream or list(answer)
    agrees(agent, standin)


def test_a_refusal_there_is_in_openais_words(daemon: Daemon) -> None:
    agent = daemon.open(0.0000001)
    base_url = f"http://127.0.0.1:{daemon.port}/gemini/v1beta/openai"
    with (
        openai.OpenAI(base_url=base_url, api_key=agent.token, timeout=30) as sdk,
        pytest.raises(openai.BadRequestError) as raised,
    ):
        sdk.chat.completions.create(model=FLASH, messages=[{"role": "user", "content": "hi"}])
    assert raised.value.code == "agent_budget_exceeded"
