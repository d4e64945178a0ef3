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

import base64
import binascii
import re
from typing import Any

from msgspec import Raw

from agentwatch.wire.audio_length import longest_ms
from agentwatch.wire.json_object import bad, has, has_escape, strict_list
from agentwatch.wire.openai_tools import CALLS, TOOLS_OVERHEAD, offered, tools_weight
from agentwatch.wire.openai_weight import NOTHING, STORED, Weight, sum_of, unpriced

__all__ = [
    "IMAGE_TOKENS",
    "REQUEST_OVERHEAD",
    "TOOLS_OVERHEAD",
    "Weight",
    "image_bound",
    "items_weight",
    "messages_weight",
    "tools_weight",
    "unpriced",
]

#: Most tokens an image can be billed as. gpt-4o-mini: 2,833 + 8 tiles of 5,667 each (768 x 2,048
#: is the largest size an image is scaled to). All others: fewer than 10,000 patches times the
#: dearest multiplier, 2.46.
IMAGE_TOKENS = 25_000
IMAGE_TOKENS_OF = {"gpt-4o-mini": 48_169}
#: what a request's template adds once
REQUEST_OVERHEAD = 64
#: tokens of a second of sound: twice and more what is documented of any provider on this wire
SOUND_TOKENS_PER_S = 40

_TEXT_PARTS = ("text", "input_text", "output_text", "summary_text", "reasoning_text", "refusal")
_IMAGE_PARTS = ("image_url", "input_image", "computer_screenshot")
_FILE_PARTS = ("file", "input_file")
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

_PLAIN = "|".join((*_TEXT_PARTS, *CALLS, "message", *_RESULTS, *_TEXT_ITEMS)).encode()


def _alarm(*markers: str) -> re.Pattern[bytes]:
    """Finds a type that is not known to be text, and any of the markers as a JSON string."""
    found = "|".join(markers).encode()
    return re.compile(rb'"(?:type"(?!\s*:\s*"(?:' + _PLAIN + rb')")|(?:' + found + rb')")')


_CHAT_ALARM = _alarm(*_MEDIA_KEYS)
#: an item that is nothing but an id is a reference
_ITEM_ALARM = _alarm("id", *_MEDIA_KEYS)
#: an escaped letter, digit or underscore
_HIDDEN = re.compile(rb"\\u00(?:3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aA])")


def messages_weight(raw: Raw) -> Weight:
    """The `messages` of a chat. Raises Refusal for what has no bound."""
    if _is_plain(raw, _CHAT_ALARM):
        return NOTHING
    return sum_of([_message(message) for message in strict_list(raw, "messages")])


def items_weight(raw: Raw) -> Weight:
    """The `input` of a response: a text or a list of items. Raises Refusal."""
    if bytes(memoryview(raw)[:1]) == b'"' or _is_plain(raw, _ITEM_ALARM):
        return NOTHING
    return sum_of([_item(item) for item in strict_list(raw, "input")])


def image_bound(model: str) -> int:
    """Most tokens that one image is billed as by this model."""
    for name, tokens in IMAGE_TOKENS_OF.items():
        if name in model.lower():
            return tokens
    return IMAGE_TOKENS


def _is_plain(raw: Raw, alarm: re.Pattern[bytes]) -> bool:
    return not has_escape(raw, _HIDDEN) and not has(raw, alarm)


def _message(message: dict[str, Any]) -> Weight:
    content = _content(message.get("content"))
    if message.get("audio") is None:
        return content
    # what the model said before: it is kept at the provider
    return content + Weight(by_reference=True, sound=True)


def _content(content: Any) -> Weight:
    """The content of a message or the output of a tool: a text, or a list of parts."""
    if content is None or isinstance(content, str):
        return NOTHING
    if isinstance(content, dict):
        return _part(content)
    if not isinstance(content, list):
        bad("content must be a text or a list of parts")
    return sum_of([NOTHING if isinstance(part, str) else _part(part) for part in content])


def _part(part: Any) -> Weight:
    if not isinstance(part, dict):
        bad("a content part must be an object")
    kind = part.get("type")
    if kind in _IMAGE_PARTS:
        return Weight(images=1, media_bytes=_inline_bytes(part.get("image_url")))
    if kind == "input_audio":
        return _sound(part.get("input_audio"))
    if kind in _FILE_PARTS:
        return _file(part.get("file") if kind == "file" else part)
    if kind not in _TEXT_PARTS:
        what = f"a content part of type {str(kind)[:40]!a}"
        raise unpriced(what, "send text, images, sound or files")
    if any(part.get(key) is not None for key in _MEDIA_KEYS):
        bad(f"a content part of type {kind!r} holds media")
    return NOTHING


def _inline_bytes(image: Any) -> int:
    """Bytes of an image that came within the request; addresses count as text."""
    address = image.get("url") if isinstance(image, dict) else image
    return len(address) if isinstance(address, str) and address.startswith("data:") else 0


def _sound(sound: Any) -> Weight:
    """Sound that came within the request, by its length."""
    data = sound.get("data") if isinstance(sound, dict) else None
    if not isinstance(data, str):
        bad("input_audio must have its data in base64")
    try:
        longest = longest_ms(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        bad("the data of input_audio is not base64")
    if longest is None:
        raise unpriced("sound that is neither WAV nor MP3", "send it as one of these")
    tokens = longest // 1_000 * SOUND_TOKENS_PER_S
    return Weight(overhead=tokens, media_bytes=len(data), sound=True)


def _file(file: Any) -> Weight:
    """A document: its text may be packed and its pages are seen as images, so that the context
    window alone bounds it, wherever it is kept."""
    if not isinstance(file, dict):
        bad("a file must be an object")
    data = file.get("file_data")
    return Weight(by_reference=True, media_bytes=len(data) if isinstance(data, str) else 0)


def _item(item: dict[str, Any]) -> Weight:
    kind = item.get("type")
    if kind == "item_reference" or (kind is None and "role" not in item):
        return STORED
    if kind is None or kind == "message":
        return _content(item.get("content"))
    if kind in _RESULTS or kind == "computer_call_output":
        return _content(item.get("output"))
    if kind in _KEPT_ITEMS:
        return NOTHING if item.get("encrypted_content") else STORED
    if kind == "image_generation_call":
        result = item.get("result")
        return Weight(images=1, media_bytes=len(result) if isinstance(result, str) else 0)
    if kind in ("additional_tools", "tool_search_output"):
        return offered(item.get("tools"))
    if kind in _TEXT_ITEMS:
        return NOTHING
    raise unpriced(f"an input item of type {str(kind)[:40]!a}")
