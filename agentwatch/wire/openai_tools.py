"""The tools that a request to OpenAI offers: what they add to its input, and what they may cost.

A function is text. A tool that OpenAI runs is let through where its calls are counted by
max_tool_calls and have a price; the others are refused by name.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from msgspec import Raw

from agentwatch.wire.json_object import bad, strict
from agentwatch.wire.openai_weight import NOTHING, Weight, sum_of, unpriced

CALLS = ("function", "custom")
#: what the first tool adds
TOOLS_OVERHEAD = 256
#: instructions that come with a tool that is OpenAI's own
BUILT_IN_OVERHEAD = 2_000
#: lists of tools longer than this are not kept
_KEPT_BYTES = 1 << 18
_WHY_NOT = {
    "mcp": "its calls are not among those that max_tool_calls counts",
    "image_generation": "what another model draws may be missing from the usage that is told "
    "(call /v1/images/generations)",
    "shell": "its container is billed by the time it is kept",
    "tool_search": "the tools that it finds are not in the request",
    "programmatic_tool_calling": "its container is billed by the time it is kept",
}


def tools_weight(raw: Raw) -> Weight:
    """A list of tools. Raises Refusal for one that is hosted and has no price."""
    body = bytes(raw)
    return _tools_kept(body) if len(body) <= _KEPT_BYTES else _tools_read(body)


def _tools_read(body: bytes) -> Weight:
    return offered(strict(body, "tools"))


_tools_kept = lru_cache(maxsize=64)(_tools_read)


def offered(tools: Any) -> Weight:
    """A list of tools that was parsed. Raises Refusal."""
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        bad("tools must be a list of objects")
    if not tools:
        return NOTHING
    return sum_of([_tool(tool) for tool in tools]) + Weight(overhead=TOOLS_OVERHEAD)


def _tool(tool: dict[str, Any]) -> Weight:
    if any(key != "type" and key.casefold() == "type" for key in tool):
        bad("a tool's field must be written 'type'")
    kind = str(tool.get("type"))
    if kind in CALLS:
        return NOTHING
    if kind == "namespace":
        return _namespace(tool.get("tools"))
    if kind.startswith("web_search"):
        return _hosted(_search_fee(kind))
    if kind == "file_search":
        return _hosted(kind)
    if kind == "code_interpreter":
        return _hosted(kind) + Weight(rents=frozenset((_container(tool.get("container")),)))
    if _runs_on_the_client(kind, tool):
        return Weight(overhead=BUILT_IN_OVERHEAD)
    why = f", as {_WHY_NOT[kind]}" if kind in _WHY_NOT else ""
    raise unpriced(f"the hosted tool {kind[:40]!a}{why}", "take it out of the request's tools")


def _hosted(fee: str) -> Weight:
    return Weight(fees=frozenset((fee,)), overhead=BUILT_IN_OVERHEAD)


def _container(container: Any) -> str:
    """The fee of the container that code runs in; of one that was made before, its size is not
    known."""
    size = container.get("memory_limit") or "1g" if isinstance(container, dict) else "64g"
    if size not in ("1g", "4g", "16g", "64g"):
        raise unpriced("a container of this memory_limit", "ask for 1g, 4g, 16g or 64g")
    return f"container {size}"


def _namespace(tools: Any) -> Weight:
    for tool in tools if isinstance(tools, list) else []:
        if not isinstance(tool, dict) or tool.get("type") not in CALLS:
            raise unpriced("a tool in a namespace that is no function")
    return NOTHING


def _search_fee(kind: str) -> str:
    return "web_search_preview" if kind.startswith("web_search_preview") else "web_search"


def _runs_on_the_client(kind: str, tool: dict[str, Any]) -> bool:
    """OpenAI's own tools that only ask the client to do something."""
    if kind == "tool_search":
        return tool.get("execution") == "client"
    if kind == "shell":
        environment = tool.get("environment")
        return isinstance(environment, dict) and environment.get("type") == "local"
    return kind in ("local_shell", "apply_patch", "computer", "computer_use_preview")
