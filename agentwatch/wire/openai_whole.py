"""A whole answer of OpenAI's wire as whoever made the call hands it on: which API it came from, and
what a meter has to know of the request, as far as the answer itself tells.

A response repeats the tools that were offered, by which its fees are known. A tool that was called
and has no price leaves the answer without one.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from agentwatch.core.usage import Usage
from agentwatch.errors import Refusal
from agentwatch.wire.dialect import Meter
from agentwatch.wire.openai_audio import TranscriptionBody
from agentwatch.wire.openai_images import ImagesBody
from agentwatch.wire.openai_request import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    RESPONSES,
    Answering,
    MeterMaker,
)
from agentwatch.wire.openai_tools import tools_weight
from agentwatch.wire.openai_weight import Weight

_APIS = {
    "chat.completion": CHAT,
    # the last one of a stream has the usage
    "chat.completion.chunk": CHAT,
    "text_completion": COMPLETIONS,
    "response": RESPONSES,
    "list": EMBEDDINGS,
}
#: a container of a size that is not told
_LARGEST_CONTAINER = "container 64g"
_CALL = "_call"


def meter_of(told: dict[str, Any], meter: MeterMaker) -> Meter | None:
    """The meter of the API that made this answer; None where it is no answer."""
    api = _APIS.get(str(told.get("object")))
    if api is not None:
        weight = _offered(told) if api is RESPONSES else Weight()
        searches = max((fee for fee in weight.fees if fee.startswith("web_search")), default=None)
        fees = weight.fees | (weight.rents or frozenset((_LARGEST_CONTAINER,)))
        return meter(Answering(api.name, False, False, searches or "web_search", fees))
    if "data" in told:
        return ImagesBody(0, None)
    return TranscriptionBody() if "text" in told else None


def with_fees(usage: Usage, told: dict[str, Any]) -> Usage:
    """The usage with what was called of the tools that have no price; what was not called at all
    has no fee, and needs none."""
    called = {fee: count for fee, count in usage.pieces.items() if count}
    return replace(usage, pieces=called | _unpriced_calls(told))


def _offered(told: dict[str, Any]) -> Weight:
    weight = Weight(fees=frozenset(("file_search",)))
    for tool in _list(told.get("tools")):
        weight += _weight(tool) or Weight()
    return weight


def _weight(tool: object) -> Weight | None:
    try:
        return tools_weight(Raw(msgspec.json.encode([tool])))
    except Refusal:
        return None


def _unpriced_calls(told: dict[str, Any]) -> dict[str, int]:
    kinds = [
        str(tool.get("type"))
        for tool in _list(told.get("tools"))
        if isinstance(tool, dict) and _weight(tool) is None
    ]
    items = [each for each in _list(told.get("output")) if isinstance(each, dict)]
    calls = [str(item.get("type")) for item in items]
    return {kind: calls.count(kind + _CALL) for kind in kinds if kind + _CALL in calls}


def _list(found: object) -> list[Any]:
    return found if isinstance(found, list) else []
