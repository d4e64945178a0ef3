"""Hosted tools: each is priced, or refused by its name with the reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from agentwatch.errors import Refusal
from agentwatch.pricing import own_rules
from agentwatch.wire.openai_tools import tools_weight
from agentwatch.wire.openai_weight import Weight


def weigh(*tools: Any) -> Weight:
    return tools_weight(Raw(json.dumps(tools).encode()))


@pytest.mark.parametrize(
    ("tool", "fees", "rents"),
    [
        ({"type": "web_search"}, {"web_search"}, set()),
        ({"type": "web_search_preview_2025_03_11"}, {"web_search_preview"}, set()),
        ({"type": "file_search", "vector_store_ids": ["v"]}, {"file_search"}, set()),
        (
            {"type": "code_interpreter", "container": {"type": "auto"}},
            {"code_interpreter"},
            {"container 1g"},
        ),
        (
            {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "16g"}},
            {"code_interpreter"},
            {"container 16g"},
        ),
        # of one that was made before the size is not known
        (
            {"type": "code_interpreter", "container": "cntr_1"},
            {"code_interpreter"},
            {"container 64g"},
        ),
    ],
)
def test_a_tool_that_openai_runs_has_its_fees(
    tool: dict[str, Any], fees: set[str], rents: set[str]
) -> None:
    weight = weigh(tool)
    assert (weight.fees, weight.rents) == (fees, rents)
    known = own_rules.FEES["openai"]
    assert all(name in known for name in (weight.fees | weight.rents) - {"code_interpreter"})


@pytest.mark.parametrize(
    ("tool", "why"),
    [
        ({"type": "mcp", "server_url": "https://x"}, "max_tool_calls"),
        ({"type": "image_generation"}, "/v1/images/generations"),
        ({"type": "shell", "environment": {"type": "container_auto"}}, "time"),
        ({"type": "tool_search"}, "not in the request"),
        ({"type": "hologram"}, "'hologram' can't be priced"),
    ],
)
def test_a_tool_without_a_bound_is_refused_by_name(tool: dict[str, Any], why: str) -> None:
    with pytest.raises(Refusal, match=why) as refusal:
        weigh(tool)
    assert tool["type"] in refusal.value.message
