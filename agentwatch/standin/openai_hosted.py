"""Tools that OpenAI runs itself during a response: searches of the web and of files, and code.

Figures from OpenAI's public price page (see prices.py), "Built-in tools": web search $10 and file
search $2.50 per 1,000 calls; code runs in a container, billed once by its memory. What the tools
bring is read by the model, and billed as more of the prompt.
"""

from __future__ import annotations

from typing import Any

from agentwatch.standin.bill import Entry
from agentwatch.standin.provider import Call
from agentwatch.standin.script import Script

WEB_SEARCH_NANOS = 10_000_000
FILE_SEARCH_NANOS = 2_500_000
CONTAINER_NANOS = {
    "1g": 30_000_000,
    "4g": 120_000_000,
    "16g": 480_000_000,
    "64g": 1_920_000_000,
}

_SEARCH = {"type": "web_search_call", "action": {"type": "search", "query": "agentwatch"}}
_FILE_SEARCH = {"type": "file_search_call", "queries": ["agentwatch"], "results": None}
_RUN = {"type": "code_interpreter_call", "code": "1 + 1", "outputs": None}


def note(entry: Entry, call: Call, script: Script) -> None:
    """Enter what the tools that the request offers are to do, and what they bring to be read."""
    offered = {str(tool.get("type")): tool for tool in call.body.get("tools") or []}
    entry.searches = script.web_search
    entry.prompt_tokens += script.tool_use
    if "file_search" in offered:
        entry.extra["file_searches"] = script.file_search
    if "code_interpreter" in offered and script.code:
        entry.extra["runs"] = script.code
        entry.extra["container_nanos"] = _container_nanos(offered["code_interpreter"])


def fees(entry: Entry) -> int:
    """What is billed for them beside the tokens, in nano-USD."""
    files = entry.extra.get("file_searches", 0) * FILE_SEARCH_NANOS
    containers = entry.extra.get("container_nanos", 0)
    return entry.searches * WEB_SEARCH_NANOS + files + containers


def items(entry: Entry) -> list[dict[str, Any]]:
    """Their calls, as they stand in the output."""
    found: list[dict[str, Any]] = [_SEARCH] * entry.searches
    found += [_FILE_SEARCH] * entry.extra.get("file_searches", 0)
    found += [{**_RUN, "container_id": f"cntr_{entry.id}"}] * entry.extra.get("runs", 0)
    return [
        {"id": f"{item['type'].partition('_')[0]}_{entry.id}_{at}", "status": "completed", **item}
        for at, item in enumerate(found)
    ]


def _container_nanos(tool: dict[str, Any]) -> int:
    """By the memory that is asked for; one that was made before has it in its name."""
    container = tool.get("container")
    if isinstance(container, dict):
        return CONTAINER_NANOS[str(container.get("memory_limit") or "1g")]
    return CONTAINER_NANOS[str(container).rpartition("_")[2]]
