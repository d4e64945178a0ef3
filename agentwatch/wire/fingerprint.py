"""Fingerprints of what an agent asks, is told, and does: numbers of which no text can be made.

They are taken of what is at hand, at a bounded cost whatever the size: of a request its length and
its end, of what is new in it the last text. Digits are left out of texts (line numbers, times and
counters differ in what is otherwise the same), and of a tool's arguments nothing, as the next page
is not the same page. The hashes are Python's own, which differ from process to process.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from msgspec import Raw

from agentwatch.core.anomaly import SKETCH, Sketch, Text

#: bytes of a request's end that stand for it, and in which the last text is looked for
_END = 1_200
#: bytes of the last text's end that are looked at
_LAST = 400
#: bytes of an answer's text that stand for it
SAID = 1000

#: fields that hold what was said last, on any wire
_KEYS = (b'"content"', b'"text"', b'"output"', b'"result"', b'"error"')
_VALUE = re.compile(rb'"[a-z]+"\s*:\s*"((?:[^"\\]+|\\.)*)')
_ID = re.compile(rb'"[a-z_]*id"\s*:\s*"[^"\\]*"')
#: what a failure is called, where tools are run
_FAILED = (
    b"error",
    b"fail",
    b"exception",
    b"traceback",
    b"denied",
    b"refused",
    b"not found",
    b"no such",
    b"timed out",
    b"cannot",
    b"unable",
)

_LOWER = bytes(range(256)).lower()
_LETTERS = bytes(
    code if chr(code).isalpha() or code > 127 or chr(code) == "_" else 32 for code in _LOWER
)
_DIGITS = b"0123456789"


class InputMarks(NamedTuple):
    """A request's; 0 and empty where nothing is known."""

    request: int = 0
    #: what the agent was told last
    last: int = 0
    #: the same, where it looks like an error, so that it can be compared loosely
    error: Sketch = ()
    #: its bytes, by which it is seen that it goes on with an earlier one
    text: Text | None = None


def input_marks(
    raw: Raw | bytes | None, before: Raw | bytes | None = None, *, bare: bool = False
) -> InputMarks:
    """Of the messages, items or prompt of a request. `before` names what the server keeps of the
    conversation, where the request only goes on with it; `bare`: instructions stand elsewhere."""
    if raw is None:
        return InputMarks()
    end = bytes(memoryview(raw)[-_END:])
    request = hash((len(memoryview(raw)), end, bytes(before or b"")))
    said = _last_said(end)[-2 * _LAST :].translate(_LOWER, _DIGITS)[-_LAST:]
    text = Text(memoryview(raw), bare=bare)
    failed = any(word in said for word in _FAILED)
    return InputMarks(request, hash(said), sketch(said) if failed else (), text)


def sketch(text: bytes) -> Sketch:
    """The smallest hashes of a text's words: texts that say nearly the same share most of them."""
    words = text.translate(_LETTERS, _DIGITS).split()
    return tuple(sorted(set(map(hash, words)))[:SKETCH])


def _last_said(end: bytes) -> bytes:
    """The end of the last text in the end of a request."""
    at = max(map(end.rfind, _KEYS))
    found = _VALUE.match(end, at) if at >= 0 else None
    # a text that begins before the window: what stands after it is the id of a call at most
    return found[1] if found else _ID.sub(b"", end)
