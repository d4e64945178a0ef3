"""The oracle meets the meter: what AgentWatch reads off an answer is what the stand-in billed.

Both were written apart from each other; where they differ, one of them is wrong.
"""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from agentwatch.core.prices import cost
from agentwatch.core.usage import Usage
from agentwatch.pricing import load_book
from agentwatch.standin.prices import MODELS
from agentwatch.standin.prices import cost as billed
from agentwatch.standin.process import StandinProcess
from agentwatch.wire.dialect import Ask, Meter
from agentwatch.wire.openai import OpenAI

BOOK = load_book(None)
TOOL = {"type": "function", "function": {"name": "ls", "parameters": {"type": "object"}}}
FLAT_TOOL = {"type": "function", "name": "ls", "parameters": {"type": "object"}}
CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
COMPLETIONS = "/v1/completions"


def through(
    standin: StandinProcess, path: str, asked: dict[str, Any], cuts: int = 7
) -> tuple[Ask, Meter, bytes]:
    """One call as the daemon makes it, fed to the meter in pieces of `cuts` bytes."""
    body = json.dumps(asked, ensure_ascii=False).encode()
    ask, request = OpenAI().read("POST", path, "", {}, body)
    connection = http.client.HTTPConnection("127.0.0.1", standin.port, timeout=20)
    try:
        headers = {"Authorization": f"Bearer {standin.key}"}
        connection.request("POST", path, body=request.body(), headers=headers)
        answer = connection.getresponse()
        got = read_what_comes(answer)
        assert answer.status == 200, got
        streamed = answer.getheader("Content-Type", "").startswith("text/event-stream")
    finally:
        connection.close()
    meter = request.meter(streamed)
    out = b"".join(meter.feed(got[at : at + cuts]) for at in range(0, len(got), cuts))
    return ask, meter, out + meter.close()


def read_what_comes(answer: http.client.HTTPResponse) -> bytes:
    """The body, or as much of it as came before it was cut."""
    try:
        return answer.read()
    except http.client.IncompleteRead as cut:
        return cut.partial


def chat(text: str, **fields: Any) -> dict[str, Any]:
    model = fields.pop("model", "gpt-6-sol")
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


CALLS: list[tuple[str, dict[str, Any]]] = [
    (path, {**asked, "stream": streamed})
    for streamed in (False, True)
    for path, asked in [
        (CHAT, chat("hello")),
        (CHAT, chat("hello", model="gpt-4o-mini", n=3, max_tokens=5)),
        (CHAT, chat("h [[standin: cached=5 cache_write=3 reasoning=9]]")),
        (CHAT, chat("h [[standin: tools=auto parallel=2]]", tools=[TOOL])),
        (CHAT, chat("日本語 😀 [[standin: density=1 utf8]]")),
        (CHAT, chat("h [[standin: answer_model=gpt-6-astra answer_tier=priority]]")),
        (CHAT, chat("h", service_tier="flex")),
        (CHAT, chat("word " * 60_000 + "[[standin: density=1]]", model="gpt-5.4")),
        (CHAT, chat("h [[standin: eol=crlf comments=2 write=3 utf8]]")),
        (CHAT, chat("h [[standin: eol=cr]]")),
        (CHAT, chat("h [[standin: line=100000]]")),
        (RESPONSES, {"model": "gpt-5-mini", "input": "h [[standin: reasoning=4 cached=2]]"}),
        (RESPONSES, {"model": "gpt-5-mini", "input": "h", "max_output_tokens": 16}),
        (
            RESPONSES,
            {"model": "gpt-5-mini", "input": "h [[standin: tools=auto]]", "tools": [FLAT_TOOL]},
        ),
        (COMPLETIONS, {"model": "gpt-3.5-turbo-instruct", "prompt": ["a", "b"], "max_tokens": 4}),
    ]
]


@pytest.mark.parametrize(("path", "asked"), CALLS)
def test_what_is_metered_costs_what_was_billed(
    standin: StandinProcess, path: str, asked: dict[str, Any]
) -> None:
    ask, meter, _ = through(standin, path, asked)
    row = standin.bill()["by_request"][-1]
    price = BOOK.find("openai", meter.model or ask.model)
    assert price is not None
    assert meter.usage is not None
    assert meter.complete
    assert cost(price, meter.usage, meter.service_tier) == row["nanos"]
    assert row["prompt_tokens"] <= ask.input_bound


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        (CHAT, chat("h [[standin: cut=9]]", stream=True)),
        (CHAT, chat("h [[standin: cut=9 utf8]]", stream=True, n=2)),
        (CHAT, chat("h [[standin: end=9 size=1]]", stream=True)),
        (CHAT, chat("h [[standin: usage=missing tokens=9]]", stream=True)),
        (CHAT, chat("h [[standin: usage=missing tokens=9]]")),
        (CHAT, chat('h [[standin: tools=ls:{"path":"."} cut=3]]', stream=True, tools=[TOOL])),
        (RESPONSES, {"model": "gpt-5-mini", "input": "h [[standin: cut=9]]", "stream": True}),
    ],
)
def test_without_a_usage_what_was_seen_is_bounded_from_both_sides(
    standin: StandinProcess, path: str, asked: dict[str, Any]
) -> None:
    _, meter, _ = through(standin, path, asked)
    made = standin.bill()["by_request"][-1]["completion_tokens"]
    assert meter.usage is None
    assert meter.output_floor <= made <= meter.output_ceiling


@pytest.mark.parametrize("how", ["null", "zero", "negative", "huge", "text", "small", "every"])
@pytest.mark.parametrize("streamed", [True, False])
def test_an_absurd_usage_neither_ends_the_meter_nor_the_answer(
    standin: StandinProcess, how: str, streamed: bool
) -> None:
    asked = chat(f"h [[standin: usage={how} tokens=12]]", stream=streamed)
    _, meter, out = through(standin, CHAT, asked)
    assert out
    made = standin.bill()["by_request"][-1]["completion_tokens"]
    assert meter.output_floor <= made <= meter.output_ceiling


def test_the_extra_chunk_is_taken_out_and_nothing_else(standin: StandinProcess) -> None:
    asked = chat("h [[standin: tokens=3]]", stream=True)
    _, _, out = through(standin, CHAT, asked)
    events = [json.loads(line[6:]) for line in out.split(b"\n\n") if line.startswith(b"data: {")]
    assert all(event["choices"] for event in events)
    assert len(events) == 5
    assert out.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("name", sorted(MODELS))
def test_both_price_tables_say_the_same(name: str) -> None:
    price = BOOK.find("openai", name)
    assert price is not None
    for tier, rates in MODELS[name].tiers.items():
        for prompt in (1, 1_000, 272_000, 272_001):
            counts = {
                "cached": prompt // 3 if rates.cached != rates.fresh else 0,
                "written": prompt // 5 if rates.written != rates.fresh else 0,
                "output": 333 if MODELS[name].max_output else 0,
            }
            usage = Usage(
                input_tokens=prompt,
                cached_input_tokens=counts["cached"],
                cache_write_tokens=counts["written"],
                output_tokens=counts["output"],
            )
            assert cost(price, usage, tier) == billed(name, tier, prompt=prompt, **counts)
