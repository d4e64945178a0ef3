"""Chat, completions and embeddings read by the real SDK; what it is told is what is billed."""

from __future__ import annotations

from typing import Any

import openai
import pydantic
import pytest

from agentwatch.standin.process import StandinProcess

HELLO: list[Any] = [{"role": "user", "content": "hello"}]


class City(pydantic.BaseModel):
    name: str
    people: int


def billed(standin: StandinProcess) -> tuple[int, int]:
    row = standin.bill()["by_request"][-1]
    return row["prompt_tokens"], row["completion_tokens"]


def test_an_answer_is_whole_and_its_usage_is_the_bill(
    client: openai.OpenAI, standin: StandinProcess
) -> None:
    answer = client.chat.completions.create(
        model="gpt-4o-mini", messages=HELLO, max_completion_tokens=5, n=2
    )
    assert answer.usage
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == billed(standin)
    assert answer.usage.completion_tokens == 10
    assert [choice.finish_reason for choice in answer.choices] == ["length", "length"]
    assert standin.bill()["billed_nanos"] == answer.usage.prompt_tokens * 150 + 10 * 600


@pytest.mark.parametrize("asked", [True, False])
def test_the_usage_chunk_comes_only_when_it_was_asked_for(
    client: openai.OpenAI, standin: StandinProcess, asked: bool
) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if asked else {}
    chunks = list(
        client.chat.completions.create(
            model="gpt-4o-mini", messages=HELLO, max_tokens=3, stream=True, **options
        )
    )
    extra = [chunk for chunk in chunks if not chunk.choices]
    assert len(extra) == (1 if asked else 0)
    assert all(("usage" in chunk.model_fields_set) == asked for chunk in chunks)
    if asked:
        assert extra[0].usage
        assert extra[0].usage.completion_tokens == 3 == billed(standin)[1]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "I read the "


def test_each_choice_of_a_stream_is_told_apart_and_finished(client: openai.OpenAI) -> None:
    finishes = [
        (choice.index, choice.finish_reason)
        for chunk in client.chat.completions.create(
            model="gpt-4o-mini", messages=HELLO, n=3, max_tokens=2, stream=True
        )
        for choice in chunk.choices
        if choice.finish_reason
    ]
    assert finishes == [(0, "length"), (1, "length"), (2, "length")]


@pytest.mark.parametrize("streamed", [True, False])
def test_an_agent_loops_on_tool_calls_until_its_rounds_are_over(
    client: openai.OpenAI, streamed: bool
) -> None:
    directive = '[[standin: tools=ls:{"path": "."} times=2 parallel=2]]'
    messages: list[Any] = [{"role": "user", "content": f"list {directive}"}]
    rounds = 0
    while True:
        if streamed:
            with client.chat.completions.stream(model="gpt-4o-mini", messages=messages) as stream:
                choice: Any = stream.get_final_completion().choices[0]
        else:
            choice = client.chat.completions.create(model="gpt-4o-mini", messages=messages).choices[
                0
            ]
        if choice.finish_reason != "tool_calls":
            break
        rounds += 1
        calls = choice.message.tool_calls
        assert [call.function.arguments for call in calls] == ['{"path": "."}'] * 2
        messages.append(choice.message.model_dump(exclude_none=True))
        messages += [{"role": "tool", "tool_call_id": c.id, "content": "a.py"} for c in calls]
    assert rounds == 2
    assert choice.message.content


def test_a_schema_is_answered_with_what_fits_it(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        model="gpt-4o-mini", messages=HELLO, response_format=City
    )
    assert answer.choices[0].message.parsed == City(name="text", people=1)


def test_cache_and_thinking_are_reported_and_billed(
    client: openai.OpenAI, standin: StandinProcess
) -> None:
    standin.script("cached=4 cache_write=2 reasoning=7 tokens=3")
    usage = client.chat.completions.create(model="gpt-6-sol", messages=HELLO).usage
    assert usage and usage.prompt_tokens_details and usage.completion_tokens_details
    assert usage.prompt_tokens_details.cached_tokens == 4
    assert usage.prompt_tokens_details.cache_write_tokens == 2
    assert usage.completion_tokens_details.reasoning_tokens == 7
    fresh = usage.prompt_tokens - 6
    expected = fresh * 2_000 + 4 * 200 + 2 * 2_500 + 10 * 10_000
    assert standin.bill()["billed_nanos"] == expected


def test_another_model_and_tier_that_answer_are_billed(
    client: openai.OpenAI, standin: StandinProcess
) -> None:
    standin.script("answer_model=gpt-4o answer_tier=priority tokens=1")
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert (answer.model, answer.service_tier) == ("gpt-4o", "priority")
    assert answer.usage
    assert standin.bill()["billed_nanos"] == answer.usage.prompt_tokens * 4_250 + 17_000


def test_legacy_completions_stop_at_their_old_default(
    client: openai.OpenAI, standin: StandinProcess
) -> None:
    model = "gpt-3.5-turbo-instruct"
    answer = client.completions.create(model=model, prompt="hello")
    assert answer.usage and answer.usage.completion_tokens == 16
    chunks = list(client.completions.create(model=model, prompt="hello", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == answer.choices[0].text
    assert billed(standin)[1] == 16


def test_embeddings_cost_their_input(client: openai.OpenAI, standin: StandinProcess) -> None:
    answer = client.embeddings.create(model="text-embedding-3-small", input=["abcd", "ef"])
    assert [row.embedding[0] for row in answer.data] == [0.5, 0.5]
    assert answer.usage.prompt_tokens == 2
    assert standin.bill()["billed_nanos"] == 2 * 20


@pytest.mark.parametrize(
    ("how", "seen"),
    [("null", None), ("negative", -33), ("huge", 10**18), ("zero", 0), ("small", 8)],
)
def test_a_usage_that_lies_does_not_change_the_bill(
    client: openai.OpenAI, standin: StandinProcess, how: str, seen: int | None
) -> None:
    standin.script(f"usage={how} tokens=32")
    usage = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO).usage
    assert (usage.completion_tokens if usage else None) == seen
    assert billed(standin)[1] == 32


def test_usage_in_every_chunk_grows(client: openai.OpenAI, standin: StandinProcess) -> None:
    standin.script("usage=every tokens=3")
    stream = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, stream=True)
    counts = [chunk.usage.completion_tokens for chunk in stream if chunk.usage]
    assert counts == [0, 1, 2, 3, 3]


def test_a_missing_usage_is_missing_even_when_asked_for(
    client: openai.OpenAI, standin: StandinProcess
) -> None:
    standin.script("usage=missing", count=0)
    stream = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=HELLO,
        stream=True,
        stream_options={"include_usage": True},
    )
    assert not any(chunk.usage for chunk in stream)
    assert client.chat.completions.create(model="gpt-4o-mini", messages=HELLO).usage is None


def test_an_error_inside_a_stream_makes_the_sdk_raise_and_is_billed_so_far(
    client: openai.OpenAI, standin: StandinProcess
) -> None:
    standin.script("error=4")
    stream = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError):
        list(stream)
    assert billed(standin)[1] == 4
