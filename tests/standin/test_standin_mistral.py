"""The stand-in as Mistral: strict about fields that it does not know."""

from __future__ import annotations

import json

import pytest

from agentwatch.standin.mistral import Mistral
from agentwatch.standin.provider import BadRequestError


@pytest.mark.parametrize("key", ["max_completion_tokens", "stream_options", "service_tier"])
def test_a_field_that_is_not_known_is_refused(key: str) -> None:
    said = [{"role": "user", "content": "hi"}]
    asked = {"model": "codestral-2508", "messages": said, "stream": True, key: {}}
    with pytest.raises(BadRequestError) as refused:
        Mistral().read("POST", "/chat/completions", json.dumps(asked).encode())
    assert refused.value.status in (400, 422)
