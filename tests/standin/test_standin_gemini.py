"""Requests as Gemini takes them: what is refused, what is counted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google import genai
from google.genai import errors

from agentwatch.standin.gemini import Gemini
from agentwatch.standin.process import StandinProcess
from agentwatch.standin.provider import BadRequestError, Call

HELLO = [{"role": "user", "parts": [{"text": "hello"}]}]


def read(model: str = "gemini-2.5-flash", verb: str = "generateContent", **fields: Any) -> Call:
    body = json.dumps({"contents": HELLO, **fields}).encode()
    return Gemini().read("POST", f"/models/{model}:{verb}", body)


@pytest.mark.parametrize(
    "fields",
    [
        {"generationConfig": {"maxOutputTokens": 0}},
        {"generationConfig": {"max_output_tokens": -1}},
        {"generationConfig": {"candidateCount": 9}},
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": 30_000}}},
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": 5, "thinkingLevel": "LOW"}}},
        {"contents": HELLO, "generationConfig": {"topK": 1, "top_k": 2}},
    ],
)
def test_a_request_that_google_would_refuse_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError) as refused:
        read(**fields)
    error = json.loads(refused.value.body)["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("model", "budget"),
    [("gemini-2.5-pro", 0), ("gemini-2.5-flash-lite", 100), ("gemini-3.5-flash", 100)],
)
def test_a_budget_that_this_model_does_not_take_is_refused(model: str, budget: int) -> None:
    with pytest.raises(BadRequestError):
        read(model, generationConfig={"thinkingConfig": {"thinkingBudget": budget}})


def test_both_spellings_of_a_field_are_read() -> None:
    config = {"max_output_tokens": 7, "thinking_config": {"thinking_budget": 50}}
    call = read(generation_config=config, service_tier="flex")
    assert (call.limit, call.most_thinking, call.tier) == (7, 50, "flex")


@pytest.mark.parametrize(
    ("model", "kind", "tokens"),
    [
        ("gemini-2.5-flash", "image/png", 258),
        ("gemini-3.5-flash", "image/png", 1_120),
        ("gemini-2.5-flash", "audio/wav", 320),
        ("gemini-2.5-flash", "video/mp4", 2_900),
        ("gemini-2.5-flash", "application/pdf", 774),
    ],
)
def test_media_weigh_what_google_says(model: str, kind: str, tokens: int) -> None:
    blob = {"inlineData": {"mimeType": kind, "data": "AAAA" * 100}}
    call = read(model, contents=[{"parts": [{"text": "hello"}, blob]}])
    assert Gemini().weigh(call, 4) - Gemini().weigh(read(model), 4) == tokens


@pytest.fixture
def sdk(standin: StandinProcess) -> genai.Client:
    return genai.Client(api_key=standin.key, http_options={"base_url": standin.of("gemini")})


def test_the_sdk_reads_its_answers(sdk: genai.Client, standin: StandinProcess) -> None:
    with sdk:
        asked = "h [[standin: tokens=9 reasoning=30]]"
        answer = sdk.models.generate_content(model="gemini-2.5-flash", contents=asked)
        usage = answer.usage_metadata
        assert usage is not None and answer.text
        assert (usage.candidates_token_count, usage.thoughts_token_count) == (9, 30)
        chunks = list(sdk.models.generate_content_stream(model="gemini-2.5-flash", contents=asked))
        assert len(chunks) == 10 and "".join(each.text or "" for each in chunks) == answer.text
        embedded = sdk.models.embed_content(model="gemini-embedding-001", contents=["a", "b"])
        assert embedded.embeddings is not None and len(embedded.embeddings) == 2
        assert sdk.models.count_tokens(model="gemini-2.5-flash", contents="a").total_tokens == 7
        assert sdk.models.get(model="gemini-2.5-flash").name == "models/gemini-2.5-flash"
        assert len(list(sdk.models.list())) > 5
    assert standin.bill()["requests"] == 6


@pytest.mark.parametrize(("directive", "code"), [("status=429", 429), ("error=2", 503)])
def test_the_sdk_raises_at_its_errors(sdk: genai.Client, directive: str, code: int) -> None:
    with sdk, pytest.raises(errors.APIError) as raised:
        list(
            sdk.models.generate_content_stream(
                model="gemini-2.5-flash", contents=f"h [[standin: {directive}]]"
            )
        )
    assert raised.value.code == code
