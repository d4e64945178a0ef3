"""Requests as OpenAI takes them: what is refused, what is counted, what is remembered."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from agentwatch.standin.openai import OpenAI
from agentwatch.standin.process import StandinProcess
from agentwatch.standin.provider import BadRequestError, Call

HELLO = [{"role": "user", "content": "hello"}]


def read(path: str, **fields: Any) -> Call:
    body = {"model": "gpt-4o-mini", **fields}
    return OpenAI().read("POST", path, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/chat/completions", {"messages": HELLO, "stream_options": {"include_usage": True}}),
        ("/chat/completions", {"messages": HELLO, "model": "gpt-5", "max_tokens": 9}),
        ("/chat/completions", {"messages": HELLO, "max_tokens": 9, "max_completion_tokens": 9}),
        ("/chat/completions", {"messages": HELLO, "max_tokens": -1}),
        ("/chat/completions", {"messages": HELLO, "max_tokens": 1.5}),
        ("/chat/completions", {"messages": []}),
        ("/responses", {"input": "a", "stream": True, "stream_options": {"include_usage": True}}),
        ("/responses", {"input": "a", "previous_response_id": "resp_unknown"}),
    ],
)
def test_a_request_that_openai_would_refuse_is_refused(path: str, fields: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError) as refused:
        read(path, **fields)
    assert refused.value.status == 400
    assert json.loads(refused.value.body)["error"]["message"]


def test_an_unknown_model_and_an_unknown_path_are_not_found() -> None:
    for path, fields in (
        ("/chat/completions", {"model": "gpt-99", "messages": HELLO}),
        ("/files", {}),
    ):
        with pytest.raises(BadRequestError) as refused:
            read(path, **fields)
        assert refused.value.status == 404


def test_best_of_is_billed_for_every_prompt_and_choice_that_is_made() -> None:
    call = read("/completions", prompt=["a", "b"], n=2, best_of=5)
    assert (call.choices, call.made_choices, call.limit) == (4, 10, 16)


def test_tool_results_are_counted_from_the_message_with_the_directive_on() -> None:
    turn = [{"role": "assistant", "content": None}, {"role": "tool", "content": "ok"}]
    scripted = {"role": "user", "content": [{"type": "text", "text": "[[standin: tokens=1]]"}]}
    call = read("/chat/completions", messages=[*HELLO, *turn, scripted, *turn, *turn])
    assert (call.tool_results, call.directive) == (2, {"tokens": "1"})


def test_a_prompt_of_token_numbers_is_counted_and_not_measured() -> None:
    provider = OpenAI()
    call = read("/embeddings", model="text-embedding-3-small", input=[[1, 2, 3], [4, 5]])
    assert provider.weigh(call, 4) == 5
    assert call.choices == 2


def test_everything_that_is_in_the_prompt_is_weighed() -> None:
    provider = OpenAI()
    plain = provider.weigh(read("/chat/completions", messages=HELLO), 4)
    tool = {"type": "function", "function": {"name": "ls", "parameters": {}}}
    told = [*HELLO, {"role": "assistant", "tool_calls": [{"id": "1", "function": {}}]}]
    assert provider.weigh(read("/chat/completions", messages=HELLO, tools=[tool]), 4) > plain + 12
    assert provider.weigh(read("/chat/completions", messages=told), 4) > plain + 4
    assert provider.weigh(read("/chat/completions", messages=HELLO), 1) == 3 + 4 + len("hello")


def test_what_an_earlier_response_holds_is_billed_unseen(
    client: openai.OpenAI, standin: StandinProcess
) -> None:
    first = client.responses.create(model="gpt-5-mini", input="a" * 4000)
    second = client.responses.create(model="gpt-5-mini", input="on", previous_response_id=first.id)
    assert second.usage and second.usage.input_tokens > 1000
    assert standin.bill()["by_request"][1]["prompt_tokens"] == second.usage.input_tokens


def test_what_is_free_is_on_the_bill(client: openai.OpenAI, standin: StandinProcess) -> None:
    assert "gpt-4o-mini" in [model.id for model in client.models.list()]
    assert client.models.retrieve("gpt-5").id == "gpt-5"
    assert client.moderations.create(input="x").results
    assert standin.bill()["billed_nanos"] == 0
    assert standin.bill()["refused"] == 0
