"""A whole answer tells which API made it, and its fees."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agentwatch.core.usage import Usage
from agentwatch.wire.openai import OpenAI

COUNTS = {"input_tokens": 8, "output_tokens": 2}
CHAT = {"object": "chat.completion", "usage": {"prompt_tokens": 8, "completion_tokens": 2}}
RESPONSE = {
    "object": "response",
    "usage": COUNTS,
    "tools": [{"type": "web_search_preview"}, {"type": "mcp", "server_label": "x"}],
    "output": [{"type": "web_search_call"}, {"type": "file_search_call"}],
}
EMBEDDINGS = {"object": "list", "data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}}
BOX = {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}}
RUN = {"tools": [BOX], "output": [{"type": "code_interpreter_call"}] * 2}


def read(answer: Any) -> Usage | None:
    meter = OpenAI().answered(msgspec.json.encode(answer))
    return None if meter is None else meter.usage


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        (CHAT, Usage(input_tokens=8, output_tokens=2)),
        ({**CHAT, "object": "chat.completion.chunk", "choices": []}, read(CHAT)),
        ({**CHAT, "object": "text_completion"}, read(CHAT)),
        (EMBEDDINGS, Usage(input_tokens=8)),
        (
            {"created": 1, "data": [{}], "usage": COUNTS},
            Usage(
                input_tokens=8,
                input_media_tokens=8,
                output_tokens=2,
                output_media_tokens=2,
                by_kind=True,
            ),
        ),
        (
            {"text": "hi", "usage": {"type": "duration", "seconds": 2}},
            Usage(pieces={"audio_ms": 2000}),
        ),
        ({"object": "response", "usage": None}, None),
        ({"object": "file"}, None),
        ({}, None),
        ([], None),
    ],
)
def test_an_answer_is_read_by_its_own_api(answer: Any, usage: Usage | None) -> None:
    assert read(answer) == usage


@pytest.mark.parametrize(
    ("changes", "pieces"),
    [
        ({}, {"web_search_preview": 1, "file_search": 1}),
        (
            {"tool_usage": {"web_search": {"num_requests": 4}}},
            {"web_search_preview": 4, "file_search": 1},
        ),
        ({"tools": None, "output": [{"type": "web_search_call"}] * 3}, {"web_search": 3}),
        (RUN, {"container 4g": 1}),
        # of a size that is not told
        ({**RUN, "tools": []}, {"container 64g": 1}),
        # what has no price and was called leaves the whole without one
        ({"output": [{"type": "mcp_call"}]}, {"mcp": 1}),
        ({"output": []}, {}),
        ({"tools": "x", "output": "x"}, {}),
    ],
)
def test_a_response_tells_its_fees(changes: Any, pieces: dict[str, int]) -> None:
    usage = read({**RESPONSE, **changes})
    assert usage is not None
    assert usage.pieces == pieces
