"""Responses read by the real SDK: the order of events, their numbers, their ends."""

from __future__ import annotations

from typing import Any

import openai
import pydantic
import pytest

from agentwatch.standin.process import StandinProcess

MODEL = "gpt-5-mini"


class City(pydantic.BaseModel):
    name: str


def events(client: openai.OpenAI, text: str, **fields: Any) -> list[Any]:
    return list(client.responses.create(model=MODEL, input=text, stream=True, **fields))


def test_events_come_in_their_order_and_are_numbered_without_a_gap(client: openai.OpenAI) -> None:
    seen = events(client, "hi [[standin: tokens=2 reasoning=3 web_search=1]]")
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert [event.type.removeprefix("response.") for event in seen] == [
        "created",
        "in_progress",
        "output_item.added",
        "output_item.done",
        "output_item.added",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


def test_the_end_tells_what_was_billed(client: openai.OpenAI, standin: StandinProcess) -> None:
    final = events(client, "hi [[standin: tokens=2 reasoning=3 web_search=2]]")[-1].response
    row = standin.bill()["by_request"][0]
    assert final.usage.input_tokens == row["prompt_tokens"]
    assert final.usage.output_tokens == row["completion_tokens"] == 5
    assert final.usage.output_tokens_details.reasoning_tokens == 3
    assert final.tool_usage.web_search.num_requests == 2
    assert row["nanos"] == row["prompt_tokens"] * 250 + 5 * 2_000 + 20_000_000


def test_hosted_tools_are_shown_and_billed_by_the_call_and_the_container(
    client: openai.OpenAI, standin: StandinProcess
) -> None:
    tools: list[Any] = [
        {"type": "file_search", "vector_store_ids": ["vs_1"]},
        {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}},
    ]
    text = "hi [[standin: tokens=2 file_search=3 code=2 tool_use=700]]"
    streamed = events(client, text, tools=tools)[-1].response
    whole = client.responses.create(model=MODEL, input=text, tools=tools)
    bare = client.responses.create(model=MODEL, input=text)
    for response in (streamed, whole):
        kinds = [item.type for item in response.output]
        assert kinds == ["file_search_call"] * 3 + ["code_interpreter_call"] * 2 + ["message"]
        assert len({item.id for item in response.output}) == 6
    assert [item.type for item in bare.output] == ["message"]
    first, second, third = standin.bill()["by_request"]
    # tokens of gpt-5-mini, three searches, one container
    fees = 3 * 2_500_000 + 120_000_000
    assert first["nanos"] == second["nanos"] == first["prompt_tokens"] * 250 + 4_000 + fees
    assert third["nanos"] == third["prompt_tokens"] * 250 + 4_000
    assert first["prompt_tokens"] > third["prompt_tokens"] > 700


def test_a_limit_leaves_the_response_incomplete(client: openai.OpenAI) -> None:
    final = events(client, "hi", max_output_tokens=3)[-1]
    assert final.type == "response.incomplete"
    assert final.response.incomplete_details.reason == "max_output_tokens"
    assert final.response.usage.output_tokens == 3
    whole = client.responses.create(model=MODEL, input="hi", max_output_tokens=3)
    assert whole.status == "incomplete"
    assert whole.output_text == final.response.output_text == "I read the "


def test_function_calls_are_the_same_streamed_and_whole(client: openai.OpenAI) -> None:
    text = 'hi [[standin: tools=ls:{"path": "."} parallel=2]]'
    streamed = events(client, text)[-1].response
    whole = client.responses.create(model=MODEL, input=text)
    for response in (streamed, whole):
        assert [item.arguments for item in response.output] == ['{"path": "."}'] * 2
        assert [item.status for item in response.output] == ["completed"] * 2


def test_a_tool_loop_ends_after_its_rounds(client: openai.OpenAI) -> None:
    items: list[Any] = [{"role": "user", "content": "[[standin: tools=ls times=2]]"}]
    rounds = 0
    while True:
        response: Any = client.responses.create(model=MODEL, input=items)
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            break
        rounds += 1
        items += [item.model_dump(exclude_none=True) for item in response.output]
        items += [
            {"type": "function_call_output", "call_id": call.call_id, "output": "ok"}
            for call in calls
        ]
    assert rounds == 2
    assert response.output_text


def test_a_tool_loop_that_only_names_its_last_response_ends_too(client: openai.OpenAI) -> None:
    asked: Any = "[[standin: tools=ls times=3]]"
    rounds, earlier = 0, None
    while rounds < 9:
        response: Any = client.responses.create(
            model=MODEL, input=asked, previous_response_id=earlier
        )
        if response.output[0].type != "function_call":
            break
        rounds, earlier = rounds + 1, response.id
        call = response.output[0].call_id
        asked = [{"type": "function_call_output", "call_id": call, "output": "ok"}]
    assert rounds == 3


def test_a_schema_is_answered_with_what_fits_it(client: openai.OpenAI) -> None:
    parsed = client.responses.parse(model=MODEL, input="hi", text_format=City)
    assert parsed.output_parsed == City(name="text")


@pytest.mark.parametrize(("how", "kind"), [("own", "response.failed"), ("event", "error")])
def test_a_failure_inside_a_200_comes_as_an_event(
    client: openai.OpenAI, standin: StandinProcess, how: str, kind: str
) -> None:
    last = events(client, f"hi [[standin: error=2 error_as={how}]]")[-1]
    assert last.type == kind
    if how == "own":
        assert last.response.usage.output_tokens == 2
    assert standin.bill()["by_request"][0]["completion_tokens"] == 2
