"""What a request to Gemini puts before the model, bounded.

Text has at most as many tokens as bytes, and the JSON around a message or a tool is longer than
what a template puts around it: the body's own length bounds all text. An image has a documented
most. How long a sound, a film or a document is can't be told from its bytes for certain (silence
packs to nothing), so that only the context window bounds these, as it does what is kept or fetched
elsewhere. What has no bound at all is refused by name.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import Raw, Struct

from agentwatch.wire.gemini_names import Names
from agentwatch.wire.gemini_schema import Endless, unrolled_size
from agentwatch.wire.json_object import bad, strict
from agentwatch.wire.openai_input import unpriced

#: Most tokens of one image. Up to 2.5 it is cut into tiles of 258: fitted into 3,072 x 3,072 with
#: tiles of 256 at the least, a long strip makes 24, and one more for the whole. From 3 on the
#: finest resolution has 2,240.
TILED_IMAGE_TOKENS = 25 * 258
IMAGE_TOKENS = 2_240
_TILED = re.compile(r"gemini-(1|2)\b", re.IGNORECASE)
#: instructions that come with the first function that is offered
TOOLS_OVERHEAD = 512
#: a prompt that is longer than any window is not read
WINDOW = 1 << 21

_CONTENT = Names("a content", "parts", "role")
_PART = Names(
    "a part",
    "text",
    "thought",
    "thoughtSignature",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
    "partMetadata",
    "videoMetadata",
    "mediaResolution",
    "mediaProcessing",
    "audioMetadata",
    "documentMetadata",
)
_BLOB = Names("inlineData", "mimeType", "data")
_RESPONSE = Names("functionResponse", "parts", "response", "name", "id")
_TOOL = Names(
    "a tool",
    "functionDeclarations",
    "googleSearch",
    "googleSearchRetrieval",
    "codeExecution",
    "urlContext",
    "fileSearch",
)
_DECLARATION = Names(
    "a function", "parameters", "parametersJsonSchema", "response", "responseJsonSchema"
)
#: tools whose results are read as input, and cost nothing beside
_READ_TOOLS = ("codeExecution", "urlContext", "fileSearch")
_SEARCHES = ("googleSearch", "googleSearchRetrieval")
#: models that bill a search by the request that made any; later ones bill each query, and no
#: field limits how many they make
_SEARCH_BY_REQUEST = re.compile(r"gemini-(1|2)\b")
SEARCH_FEE = "web_search"

_WINDOWED = re.compile(r"(audio|video)/.*|application/pdf")
_TEXT_TYPES = re.compile(
    r"text/.*|application/(json|xml|rtf|javascript|x-javascript|x-python|typescript|yaml|x-yaml)"
)


class Weight(Struct):
    """What there is beside plain text, added up as it is found."""

    model: str
    media_tokens: int = 0
    #: bytes of the body that are no text
    media_bytes: int = 0
    #: only the context window bounds it
    by_reference: bool = False
    overhead: int = 0
    audio: bool = False
    media: bool = False
    searches: bool = False

    def weigh_contents(self, raw: Raw, name: str = "contents") -> None:
        """One content or a list of them. Raises Refusal for what has no bound."""
        for content in _several(strict(raw, name), name):
            self._weigh_content(content)

    def weigh_tools(self, raw: Raw) -> None:
        """The tools that are offered. Raises Refusal for one whose cost has no bound."""
        for tool in _several(strict(raw, "tools"), "tools"):
            self._weigh_tool(tool)

    def weigh_schema(self, schema: Any) -> None:
        """A schema that is part of the prompt: what its references add."""
        try:
            size = unrolled_size(schema)
        except (Endless, RecursionError):
            size = WINDOW + 1
        if size > WINDOW:
            self.by_reference = True
        else:
            self.overhead += size

    def _weigh_content(self, content: Any) -> None:
        if isinstance(content, str):
            return
        if not isinstance(content, dict):
            bad("a content must be an object with parts")
        key = _CONTENT.found(content).get("parts")
        for part in _several(content.get(key) if key else None, "parts"):
            self._weigh_part(part)

    def _weigh_part(self, part: Any) -> None:
        if isinstance(part, str):
            return
        if not isinstance(part, dict):
            bad("a part must be an object")
        found = _PART.found(part)
        odd = _PART.unknown(part)
        if odd is not None:
            raise unpriced(f"a part with {odd[:40]!a}", "send text, images, sound, film or PDF")
        for name, key in found.items():
            self._weigh_value(name, part[key])

    def _weigh_value(self, name: str, value: Any) -> None:
        if value is None:
            return
        if name == "inlineData":
            self._weigh_blob(value)
        elif name == "fileData":
            self.by_reference = self.audio = self.media = True
        elif name in ("toolCall", "toolResponse"):
            self.by_reference = True
        elif name == "functionResponse" and isinstance(value, dict):
            key = _RESPONSE.found(value).get("parts")
            for part in _several(value.get(key) if key else None, "parts"):
                self._weigh_part(part)

    def _weigh_blob(self, blob: Any) -> None:
        if not isinstance(blob, dict):
            bad("inlineData must be an object")
        found = _BLOB.found(blob)
        kind = str(blob.get(found.get("mimeType", ""), "")).lower().partition(";")[0].strip()
        data = blob.get(found.get("data", ""))
        if kind.startswith("image/"):
            self.media = True
            self.media_tokens += TILED_IMAGE_TOKENS if _TILED.match(self.model) else IMAGE_TOKENS
        elif _WINDOWED.fullmatch(kind):
            self.by_reference = self.media = True
            self.audio = self.audio or not kind.endswith("pdf")
        elif _TEXT_TYPES.fullmatch(kind):
            return
        else:
            raise unpriced(f"inline data of type {kind[:40]!a}")
        self.media_bytes += len(data) if isinstance(data, str) else 0

    def _weigh_tool(self, tool: Any) -> None:
        if not isinstance(tool, dict):
            bad("a tool must be an object")
        found = _TOOL.found(tool)
        odd = _TOOL.unknown(tool)
        if odd is not None:
            raise unpriced(f"the hosted tool {odd[:40]!a}", "take it out of the request's tools")
        for name, key in found.items():
            if tool[key] is not None:
                self._weigh_known_tool(name, tool[key])

    def _weigh_known_tool(self, name: str, value: Any) -> None:
        if name in _READ_TOOLS:
            self.by_reference = True
        elif name in _SEARCHES:
            if not _SEARCH_BY_REQUEST.match(self.model):
                raise unpriced(
                    f"{name!r} with {self.model}, which bills each query and has no limit for them",
                    "take it out, or use a model up to gemini-2.5, which bills once a request",
                )
            self.by_reference = self.searches = True
        else:
            self.overhead += TOOLS_OVERHEAD
            for declared in _several(value, name):
                self._weigh_declaration(declared)

    def _weigh_declaration(self, declared: Any) -> None:
        if not isinstance(declared, dict):
            bad("a function declaration must be an object")
        for key in _DECLARATION.found(declared).values():
            if has_reference(declared[key]):
                self.weigh_schema(declared[key])


def has_reference(value: Any) -> bool:
    """Whether a schema refers to a part of itself."""
    if isinstance(value, dict):
        return "$ref" in value or "ref" in value or any(map(has_reference, value.values()))
    return isinstance(value, list) and any(map(has_reference, value))


def _several(value: Any, name: str) -> list[Any]:
    """A list, or the one thing that may stand in place of it."""
    if value is None:
        return []
    if isinstance(value, list):
        return value
    if isinstance(value, (dict, str)):
        return [value]
    return bad(f"{name} must be a list of objects")
