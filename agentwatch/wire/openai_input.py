"""What a request to OpenAI puts before the model, bounded.

Text has at most as many tokens as bytes, and the JSON around a message or a tool (27 bytes at
the least) is longer than what a template puts around it. So the body's own length bounds all
text; what costs something else (images, hosted tools, items the server keeps) is found here, or
refused where it has no bound.

Text is recognised by a scan: every "type" must be one that is known to be text, and no other
marker may occur. Inside a JSON string a quote is escaped, so text can't raise a false alarm, and
an escaped letter, which could hide a marker, raises one. Whatever fails the scan is parsed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from msgspec import Raw, Struct

from agentwatch.errors import Refusal
from agentwatch.wire.json_object import bad, strict, strict_list

#: Most tokens an image can be billed as. gpt-4o-mini: 2,833 + 8 tiles of 5,667 each (768 x 2,048
#: is the largest size an image is scaled to). All others: fewer than 10,000 patches times the
#: dearest multiplier, 2.46.
IMAGE_TOKENS = 25_000
IMAGE_TOKENS_OF = {"gpt-4o-mini": 48_169}
#: what a request's template, and the first tool, add once
REQUEST_OVERHEAD = 64
TOOLS_OVERHEAD = 256
#: instructions that come with a tool that is OpenAI's own, but runs on the client
BUILT_IN_OVERHEAD = 2_000

_TEXT_PARTS = ("text", "input_text", "output_text", "summary_text", "reasoning_text", "refusal")
_IMAGE_PARTS = ("image_url", "input_image", "computer_screenshot")
_CALLS = ("function", "custom")
#: items of /responses that are text whatever they hold
_TEXT_ITEMS = [
    "function_call",
    "custom_tool_call",
    "computer_call",
    "local_shell_call",
    "local_shell_call_output",
    "shell_call",
    "shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
    "tool_search_call",
    "program",
    "program_output",
    "compaction_trigger",
    "configuration_update",
]
#: items that the server adds to from what it keeps, unless they carry it with them
_KEPT_ITEMS = ("reasoning", "compaction", "web_search_call", "file_search_call")
_RESULTS = ("function_call_output", "custom_tool_call_output")
_MEDIA_KEYS = ("image_url", "input_audio", "audio", "file", "file_id", "file_url", "file_data")

_PLAIN = "|".join((*_TEXT_PARTS, *_CALLS, "message", *_RESULTS, *_TEXT_ITEMS)).encode()


def _alarm(*markers: str) -> re.Pattern[bytes]:
    """Finds a type that is not known to be text, and any of the markers as a JSON string."""
    found = "|".join(markers).encode()
    return re.compile(rb'"(?:type"(?!\s*:\s*"(?:' + _PLAIN + rb')")|(?:' + found + rb')")')


_CHAT_ALARM = _alarm(*_MEDIA_KEYS)
#: an item that is nothing but an id is a reference
_ITEM_ALARM = _alarm("id", *_MEDIA_KEYS)
#: an escaped letter, digit or underscore
_HIDDEN = re.compile(rb"\\u00(?:3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aA])")
#: lists of tools longer than this are not kept
_KEPT_BYTES = 1 << 18


class Weight(Struct, frozen=True):
    """What there is beside plain text. `media_bytes` are bytes of the body that are no text."""

    images: int = 0
    media_bytes: int = 0
    by_reference: bool = False
    overhead: int = 0
    #: fees of hosted tools that may be called
    fees: frozenset[str] = frozenset()

    def __add__(self, other: Weight) -> Weight:
        return Weight(
            self.images + other.images,
            self.media_bytes + other.media_bytes,
            self.by_reference or other.by_reference,
            self.overhead + other.overhead,
            self.fees | other.fees,
        )


_NOTHING = Weight()
_STORED = Weight(by_reference=True)


def unpriced(what: str, remedy: str = "") -> Refusal:
    """The refusal of something whose cost has no bound."""
    return Refusal("model_not_priced", f"{what} can't be priced yet{remedy and ': '}{remedy}")


def messages_weight(raw: Raw) -> Weight:
    """The `messages` of a chat. Raises Refusal for what has no bound."""
    body = bytes(raw)
    if _is_plain(body, _CHAT_ALARM):
        return _NOTHING
    return _sum([_message(message) for message in strict_list(body, "messages")])


def items_weight(raw: Raw) -> Weight:
    """The `input` of a response: a text or a list of items. Raises Refusal."""
    body = bytes(raw)
    if body.startswith(b'"') or _is_plain(body, _ITEM_ALARM):
        return _NOTHING
    return _sum([_item(item) for item in strict_list(body, "input")])


def tools_weight(raw: Raw) -> Weight:
    """A list of tools. Raises Refusal for one that is hosted and has no price."""
    body = bytes(raw)
    return _tools_kept(body) if len(body) <= _KEPT_BYTES else _tools_read(body)


def image_bound(model: str) -> int:
    """Most tokens that one image is billed as by this model."""
    for name, tokens in IMAGE_TOKENS_OF.items():
        if name in model:
            return tokens
    return IMAGE_TOKENS


def _is_plain(body: bytes, alarm: re.Pattern[bytes]) -> bool:
    if b"\\u00" in body and _HIDDEN.search(body):
        return False
    return alarm.search(body) is None


def _sum(weights: list[Weight]) -> Weight:
    total = _NOTHING
    for weight in weights:
        if weight is not _NOTHING:
            total = total + weight
    return total


def _message(message: dict[str, Any]) -> Weight:
    if message.get("audio") is not None:
        raise unpriced("audio input")
    return _content(message.get("content"))


def _content(content: Any) -> Weight:
    """The content of a message or the output of a tool: a text, or a list of parts."""
    if content is None or isinstance(content, str):
        return _NOTHING
    if isinstance(content, dict):
        return _part(content)
    if not isinstance(content, list):
        bad("content must be a text or a list of parts")
    return _sum([_NOTHING if isinstance(part, str) else _part(part) for part in content])


def _part(part: Any) -> Weight:
    if not isinstance(part, dict):
        bad("a content part must be an object")
    kind = part.get("type")
    if kind in _IMAGE_PARTS:
        return Weight(images=1, media_bytes=_inline_bytes(part.get("image_url")))
    if kind not in _TEXT_PARTS:
        raise unpriced(f"a content part of type {str(kind)[:40]!a}", "send text or images")
    if any(part.get(key) is not None for key in _MEDIA_KEYS):
        bad(f"a content part of type {kind!r} holds media")
    return _NOTHING


def _inline_bytes(image: Any) -> int:
    """Bytes of an image that came within the request; addresses count as text."""
    address = image.get("url") if isinstance(image, dict) else image
    return len(address) if isinstance(address, str) and address.startswith("data:") else 0


def _item(item: dict[str, Any]) -> Weight:
    kind = item.get("type")
    if kind == "item_reference" or (kind is None and "role" not in item):
        return _STORED
    if kind is None or kind == "message":
        return _content(item.get("content"))
    if kind in _RESULTS or kind == "computer_call_output":
        return _content(item.get("output"))
    if kind in _KEPT_ITEMS:
        return _NOTHING if item.get("encrypted_content") else _STORED
    if kind == "image_generation_call":
        result = item.get("result")
        return Weight(images=1, media_bytes=len(result) if isinstance(result, str) else 0)
    if kind in ("additional_tools", "tool_search_output"):
        return _tools(item.get("tools"))
    if kind in _TEXT_ITEMS:
        return _NOTHING
    raise unpriced(f"an input item of type {str(kind)[:40]!a}")


def _tools_read(body: bytes) -> Weight:
    return _tools(strict(body, "tools"))


_tools_kept = lru_cache(maxsize=64)(_tools_read)


def _tools(tools: Any) -> Weight:
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        bad("tools must be a list of objects")
    if not tools:
        return _NOTHING
    return _sum([_tool(tool) for tool in tools]) + Weight(overhead=TOOLS_OVERHEAD)


def _tool(tool: dict[str, Any]) -> Weight:
    if any(key != "type" and key.casefold() == "type" for key in tool):
        bad("a tool's field must be written 'type'")
    kind = str(tool.get("type"))
    if kind in _CALLS:
        return _NOTHING
    if kind == "namespace":
        return _namespace(tool.get("tools"))
    if kind.startswith("web_search"):
        return Weight(fees=frozenset((_search_fee(kind),)), by_reference=True)
    if _runs_on_the_client(kind, tool):
        return Weight(overhead=BUILT_IN_OVERHEAD)
    raise unpriced(f"the hosted tool {kind[:40]!a}", "take it out of the request's tools")


def _namespace(tools: Any) -> Weight:
    for tool in tools if isinstance(tools, list) else []:
        if not isinstance(tool, dict) or tool.get("type") not in _CALLS:
            raise unpriced("a tool in a namespace that is no function")
    return _NOTHING


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
