"""How the stand-in is to behave for one call, and the three ways it is told.

1. In the content, so that unmodified programs can be driven: the last directive in any of a
   request's user messages, `[[standin: tokens=50 delay=0.01 cut=20]]`.
2. By rules through the control endpoint, matched by model or by a text in the request.
3. A default at the start (`--script`).
The three are merged field by field: rule over directive over default.

A value is what stands behind `=` up to the next blank; a field alone means 1 (`[[standin:
endless]]`). `tools=NAME:{…}` takes a whole JSON object, blanks included; `tools=NAME` and
`tools=auto` answer with arguments made from the schema that the request gives.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
from msgspec import Struct

#: a call that never ends by itself still does after so many tokens
ENDLESS = 1_000_000

_OPENS, _CLOSES = "[[standin:", "]]"
_BLANKS = re.compile(r"[\s,]*")
_FIELD = re.compile(r"[\s,]*([a-z][a-z0-9_]*)(?:=((?:(?!\]\])[^\s,])*))?")


class Script(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the stand-in does with one call. Times are seconds, counts tokens, unless said."""

    #: tokens of text to answer with, before any limit; None: the stand-in's default
    tokens: int | None = None
    #: tokens of thinking that come first, are billed and never seen
    reasoning: int = 0
    #: the limit is one of the text alone: thinking comes on top
    think_beside: bool = False
    #: go on until the limit, or the model's own, or the client's patience
    endless: bool = False
    #: pay no heed to the limit that the request sets
    ignore_limit: bool = False
    #: parts of the prompt that are read from, and written to, the provider's cache
    cached: int = 0
    cache_write: int = 0
    #: what is written to the cache for the longer of two lifetimes
    write_long: int = 0
    #: a frame without `choices` comes in the stream (Groq)
    bare: bool = False
    #: hosted web searches in the answer, where the API has them
    web_search: int = 0
    #: searches of files, and runs of code, where the request offers these tools (OpenAI)
    file_search: int = 0
    code: int = 0
    #: where the answer is made ("us", "global"), if not where the request says
    geo: str | None = None
    #: what is done for the call beside its first answer, by the same model or others:
    #: "KIND:INPUT:OUTPUT[:MODEL]", joined by "+"
    iterations: str | None = None
    #: tokens that hosted tools' results added to the prompt (Gemini, OpenAI)
    tool_use: int = 0
    #: bytes of input to a token; 1 is the most that a tokenizer can make of a text
    density: int = 4
    #: bytes of text in a token; None: words
    size: int | None = None
    #: tokens of characters beyond ASCII
    utf8: bool = False
    #: the first token has this many bytes: one endless line of the stream
    line: int = 0
    #: the answer's text, whatever was asked
    say: str | None = None

    #: answer with a call of this tool …
    tools: str | None = None
    #: … for so many rounds of the conversation, then with text; 0: always
    times: int = 1
    #: so many calls of it in one answer
    parallel: int = 1

    #: before the head, and before each token
    head_delay: float = 0.0
    delay: float = 0.0
    #: "before_head", "after_head" or a number of tokens: nothing comes any more
    hang: str | None = None
    #: the same, then the connection is reset (RST); unstreamed, nothing was sent before
    reset: str | None = None
    #: after so many tokens the connection is closed in mid-answer (FIN)
    cut: int | None = None
    #: after so many tokens the answer ends well-formed as HTTP, with no word of an end in it
    end: int | None = None

    #: answer with this status instead; nothing is billed then
    status: int | None = None
    retry_after: str | None = None
    redirect: str | None = None
    #: an error inside a 200, after so many tokens
    error: int | None = None
    #: "own": as the API's own type; "event": a bare `event: error` (responses)
    error_as: str = "own"

    #: "true", "missing", "null", "zero", "negative", "huge", "text", "small", "every", "last"
    usage: str = "true"
    #: another model or tier answers, and is billed
    answer_model: str | None = None
    answer_tier: str | None = None

    #: "on", "truncated", "bomb"
    gzip: str | None = None
    #: "lf", "crlf", "cr"
    eol: str = "lf"
    #: bytes of a single write to the network
    write: int = 0
    #: SSE comments after the head; -1: for ever
    comments: int = 0


class ScriptError(ValueError):
    """A script that can't be read; the message names the field."""


class Rule(Struct, kw_only=True, forbid_unknown_fields=True):
    """A script for the next `count` calls that it fits; 0: for all of them."""

    script: dict[str, Any] | str
    model: str | None = None
    contains: str | None = None
    api: str | None = None
    count: int = 1

    def fits(self, api: str, model: str, body: bytes) -> bool:
        """Whether the rule is for this call."""
        return (
            (self.model is None or self.model == model)
            and (self.api is None or self.api == api)
            and (self.contains is None or self.contains.encode() in body)
        )


def fields(text: str) -> dict[str, Any]:
    """The fields of a directive's inner text. Raises ScriptError for what is no field."""
    found, at = _fields_from(text, 0)
    if text[at:].strip():
        raise ScriptError(f"not a field of a stand-in script: {text[at : at + 40]!r}")
    return found


def directive(text: str) -> dict[str, Any] | None:
    """The fields of the last directive in `text`, or None. Raises ScriptError."""
    start = text.rfind(_OPENS)
    if start < 0:
        return None
    found, at = _fields_from(text, start + len(_OPENS))
    if not text.startswith(_CLOSES, at):
        raise ScriptError(f"not a field of a stand-in script: {text[at : at + 40]!r}")
    return found


def _fields_from(text: str, at: int) -> tuple[dict[str, Any], int]:
    """Fields from `at` on, and where the first thing stands that is none."""
    found: dict[str, Any] = {}
    while match := _FIELD.match(text, at):
        name, value = match.group(1), match.group(2)
        at = match.end()
        if name == "tools" and value and ":{" in value:
            value, at = _tool_value(text, match.start(2))
        found[name] = "1" if value is None else value
    return found, _BLANKS.match(text, at).end()  # type: ignore[union-attr]  # matches anything


def _tool_value(text: str, start: int) -> tuple[str, int]:
    opens = text.index(":{", start) + 1
    try:
        _, end = json.JSONDecoder().raw_decode(text, opens)
    except json.JSONDecodeError as error:
        raise ScriptError(f"the arguments of a tool are no JSON: {error}") from error
    return text[start:end], end


def as_fields(script: dict[str, Any] | str) -> dict[str, Any]:
    """Fields from either form of a script."""
    return fields(script) if isinstance(script, str) else dict(script)


def build(*layers: dict[str, Any] | None) -> Script:
    """A script of the layers' fields, later ones over earlier. Raises ScriptError."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= layer or {}
    try:
        return msgspec.convert(merged, Script, strict=False)
    except msgspec.ValidationError as error:
        raise ScriptError(str(error)) from error
