"""What a request to Anthropic puts before the model, bounded.

Text has at most as many tokens as bytes (see text_bound), and the JSON around a block is longer
than what a template puts around it. What costs something else (images, documents, tools that run
at the provider) is found here, or refused where it has no bound.

Blocks are recognised by a scan, as OpenAI's are (see openai_input.py): whatever has a "type" that
is not known to be text is parsed. A PDF is compressed, and a file or address only named: how many
tokens they are, the context window alone bounds.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

from msgspec import Raw, Struct

from agentwatch.wire.json_object import bad, has, has_escape, strict, strict_list
from agentwatch.wire.openai_input import unpriced

#: Most tokens of one image, however large it was sent: it is scaled down to 2,576 pixels on its
#: long edge and 4,784 patches of 28 x 28 (older models: 1,568 pixels and 1,600 tokens).
IMAGE_TOKENS = 5_000
#: what a request's template, and the first tool, add once (documented up to 804 tokens)
REQUEST_OVERHEAD = 128
TOOLS_OVERHEAD = 1_500
#: instructions that come with a tool that is Anthropic's own, but runs on the client (computer
#: use: 735, and 499 of system prompt; text editor: 700; bash: 245), and with a set of them
CLIENT_TOOL_OVERHEAD = 2_000
CLIENT_TOOLSET_OVERHEAD = 12_000
#: the server ends its own loop after so many samplings, and answers `pause_turn`
MOST_SAMPLINGS = 10
#: most output of any model, where nothing else bounds what is written beside the answer
MOST_OUTPUT = 128_000

_TEXT_BLOCKS = (
    *("text", "tool_use", "tool_result", "thinking", "redacted_thinking", "connector_text"),
    *("search_result", "server_tool_use", "web_search_tool_result", "web_search_result"),
    *("web_search_tool_result_error", "web_fetch_tool_result", "web_fetch_result"),
    *("web_fetch_tool_result_error", "code_execution_tool_result", "code_execution_result"),
    *("code_execution_tool_result_error", "encrypted_code_execution_result"),
    *("bash_code_execution_tool_result", "bash_code_execution_result"),
    *("bash_code_execution_tool_result_error", "text_editor_code_execution_tool_result"),
    *("text_editor_code_execution_tool_result_error", "tool_search_tool_result"),
    *("text_editor_code_execution_view_result", "text_editor_code_execution_create_result"),
    *("text_editor_code_execution_str_replace_result", "tool_search_tool_search_result"),
    *("tool_search_tool_result_error", "tool_reference", "mcp_tool_use", "mcp_tool_result"),
    *("advisor_tool_result", "advisor_result", "advisor_redacted_result", "fallback"),
    *("advisor_tool_result_error", "compaction", "browser_state", "tool_removal"),
)
#: what has a "type" in a block, and is no block
_DETAILS = (
    *("ephemeral", "direct", "char_location", "page_location", "content_block_location"),
    *("web_search_result_location", "search_result_location", "tab_opened"),
)
_PLAIN = "|".join((*_TEXT_BLOCKS, *_DETAILS)).encode()
_ALARM = re.compile(rb'"type"(?!\s*:\s*"(?:' + _PLAIN + rb')")')
#: an escaped letter, digit or underscore, which could hide a marker
_HIDDEN = re.compile(rb"\\u00(?:3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aA])")
#: an escaped letter that may be longer without its escape, once it is normalised, and how long
_GROWS = re.compile(rb"\\u(?:0[fF]7|203|205|222|2[aA]0|32|33|[fF][dD])")
_LONGEST_LETTER = 33
#: lists of tools longer than this are not kept
_KEPT_BYTES = 1 << 18
_DEEPEST = 8


class Weight(Struct, frozen=True):
    """What there is beside plain text.

    `media_bytes` are bytes of the body that are no text. `rounds` is how often the server may go
    on by itself, `consultations` how often another model may read the conversation.
    """

    images: int = 0
    media_bytes: int = 0
    by_reference: bool = False
    overhead: int = 0
    searches: int = 0
    rounds: int = 0
    consultations: int = 0
    #: output of other models that no limit of the request bounds
    extra_output: int = 0
    also_models: tuple[str, ...] = ()

    def __add__(self, other: Weight) -> Weight:
        return Weight(
            self.images + other.images,
            self.media_bytes + other.media_bytes,
            self.by_reference or other.by_reference,
            self.overhead + other.overhead,
            self.searches + other.searches,
            self.rounds + other.rounds,
            self.consultations + other.consultations,
            self.extra_output + other.extra_output,
            self.also_models + other.also_models,
        )


_NOTHING = Weight()
_NAMED = Weight(by_reference=True)


def text_bound(body: bytes) -> int:
    """Most tokens of a body's text. The tokenizers are not published; one that was (Claude 2's)
    normalises its text first, by which some letters become words, eleven times as long."""
    bound = len(body)
    if not body.isascii():
        bound = max(bound, len(unicodedata.normalize("NFKC", body.decode()).encode()))
    if b"\\u" in body:
        bound += _LONGEST_LETTER * len(_GROWS.findall(body))
    return bound


def messages_weight(raw: Raw) -> Weight:
    """The `messages` of a request. Raises Refusal for what has no bound."""
    if _is_plain(raw):
        return _NOTHING
    return _sum([_content(each.get("content"), 0) for each in strict_list(raw, "messages")])


def system_weight(raw: Raw) -> Weight:
    """The `system` prompt: a text or a list of blocks."""
    if bytes(memoryview(raw)[:1]) == b'"' or _is_plain(raw):
        return _NOTHING
    return _content(strict(raw, "system"), 0)


def tools_weight(raw: Raw) -> Weight:
    """A list of tools. Raises Refusal for one that runs at the provider and has no bound."""
    body = bytes(raw)
    return _tools_kept(body) if len(body) <= _KEPT_BYTES else _tools_read(body)


def _is_plain(raw: Raw) -> bool:
    return not has_escape(raw, _HIDDEN) and not has(raw, _ALARM)


def _sum(weights: list[Weight]) -> Weight:
    total = _NOTHING
    for weight in weights:
        if weight is not _NOTHING:
            total = total + weight
    return total


def _content(content: Any, depth: int) -> Weight:
    """The content of a message or of a tool's result: a text, or a list of blocks."""
    if content is None or isinstance(content, str):
        return _NOTHING
    if depth > _DEEPEST:
        bad("blocks are nested too deeply")
    blocks = content if isinstance(content, list) else [content]
    return _sum([_block(block, depth) for block in blocks])


def _block(block: Any, depth: int) -> Weight:
    if isinstance(block, str):
        return _NOTHING
    if not isinstance(block, dict):
        bad("a content block must be an object")
    kind = block.get("type")
    if kind == "image":
        return _image(block.get("source"))
    if kind == "document":
        return _document(block.get("source"), depth)
    if kind == "tool_addition":
        return _tools([block.get("tool")])
    if kind not in _TEXT_BLOCKS:
        raise unpriced(f"a content block of type {str(kind)[:40]!a}", "send text or images")
    # what a tool is called with is the agent's own JSON, and holds no blocks
    return _content(block.get("content"), depth + 1) if kind != "tool_use" else _NOTHING


def _image(source: Any) -> Weight:
    """One image, sent along or only named: it is scaled to the same size."""
    data = source.get("data") if isinstance(source, dict) else None
    return Weight(images=1, media_bytes=len(data) if isinstance(data, str) else 0)


def _document(source: Any, depth: int) -> Weight:
    kind = source.get("type") if isinstance(source, dict) else None
    if kind == "text":
        return _NOTHING
    if kind == "content":
        return _content(source.get("content"), depth + 1)
    if kind in ("base64", "url", "file"):
        return _NAMED
    raise unpriced(f"a document with a source of type {str(kind)[:40]!a}", "send it as text")


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
    if any(key not in _EXACT and key.casefold() in _EXACT for key in tool):
        bad(f"a tool's fields must be written {', '.join(sorted(_EXACT))}")
    kind = str(tool.get("type") or "custom")
    if kind == "custom":
        return _NOTHING
    if kind.startswith(_ON_THE_CLIENT):
        return Weight(overhead=CLIENT_TOOL_OVERHEAD)
    if kind.startswith(_CLIENT_SETS):
        return Weight(overhead=CLIENT_TOOLSET_OVERHEAD)
    if kind.startswith("tool_search_tool_"):
        return Weight(rounds=MOST_SAMPLINGS - 1)
    if kind.startswith("web_search_"):
        uses = _uses(tool, "web_search")
        return Weight(searches=uses, rounds=_rounds(tool, kind, uses))
    if kind.startswith("web_fetch_"):
        return Weight(rounds=_rounds(tool, kind, _uses(tool, "web_fetch")))
    if kind.startswith("advisor_"):
        return _advisor(tool)
    if kind.startswith("code_execution_"):
        raise unpriced(
            "code execution, which is billed by the hour of a container and not told in the usage",
            "take it out of the request's tools",
        )
    raise unpriced(f"the server tool {kind[:40]!a}", "take it out of the request's tools")


_EXACT = frozenset(["type", "max_uses", "max_tokens", "model", "allowed_callers"])
_ON_THE_CLIENT = ("bash_", "text_editor_", "memory_", "computer_2")
_CLIENT_SETS = ("computer_toolset_", "browser_toolset_")
#: versions whose results are read as they are; later ones may be filtered by code first, which
#: the server runs free of charge, and as often as it likes
_UNFILTERED = ("_20250305", "_20250910")


def _uses(tool: dict[str, Any], name: str) -> int:
    """How often the tool may be used. Raises Refusal where that has no bound."""
    uses = tool.get("max_uses")
    if uses is None:
        raise unpriced(f"the server tool {name!r} without max_uses", "set max_uses")
    if not isinstance(uses, int) or isinstance(uses, bool) or not 1 <= uses <= 1_000_000:
        bad(f"max_uses of {name} must be a whole number of at least 1")
    return uses


def _rounds(tool: dict[str, Any], kind: str, uses: int) -> int:
    """How often its results can make the server go on: once for each use, and any number of
    times where code may filter what was found."""
    if kind.endswith(_UNFILTERED) or tool.get("allowed_callers") == ["direct"]:
        return uses
    return MOST_SAMPLINGS - 1


def _advisor(tool: dict[str, Any]) -> Weight:
    """Another model that is asked for advice: it reads the whole conversation each time."""
    model, limit = tool.get("model"), tool.get("max_tokens")
    if not isinstance(model, str) or not model:
        bad("the advisor's model is missing")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        bad("max_tokens of the advisor must be a whole number of at least 1")
    uses = _uses(tool, "advisor")
    return Weight(
        rounds=uses,
        consultations=uses,
        extra_output=uses * (limit or MOST_OUTPUT),
        also_models=(model,),
    )
