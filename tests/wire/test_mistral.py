"""Mistral's wire."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentwatch.errors import Refusal
from agentwatch.wire.dialect import Ask, Request
from agentwatch.wire.mistral import Mistral


def read(path: str = "/v1/chat/completions", **fields: Any) -> tuple[Ask, Request]:
    asked = {
        "model": "mistral-small-2603",
        "messages": [{"role": "user", "content": "x"}],
        **fields,
    }
    return Mistral("mistral").read("POST", path, "", {}, json.dumps(asked).encode())


def test_a_limit_has_one_name_and_usage_is_not_asked_for() -> None:
    ask, request = read(stream=True)
    assert json.loads(request.body(7)).keys() == {"model", "messages", "stream", "max_tokens"}
    assert ask.upstream_path == "/chat/completions"
    assert read(max_tokens=9)[0].output_limit == 9


@pytest.mark.parametrize("key", ["max_completion_tokens", "stream_options"])
def test_what_mistral_does_not_know_is_told_before_it_is_sent(key: str) -> None:
    with pytest.raises(Refusal) as refused:
        read(**{key: {} if key == "stream_options" else 5})
    assert refused.value.reason == "bad_request"


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/fim/completions", "/v1/agents/completions", "/v1/conversations", "/v1/ocr"),
        *("/v1/moderations", "/v1/audio/transcriptions", "/v1/files", "/v1/batch/jobs"),
    ],
)
def test_what_is_billed_otherwise_is_refused(path: str) -> None:
    with pytest.raises(Refusal) as refused:
        read(path)
    assert refused.value.reason == "path_not_governed"


def test_models_are_free_and_embeddings_have_no_output() -> None:
    assert Mistral("m").read("GET", "/v1/models", "", {}, b"")[0].free
    assert not read("/v1/embeddings", model="mistral-embed", input="hi")[0].has_output
