"""Meters for messages on Anthropic's wire.

The usage of a stream is known once its last `message_delta` has come; until then there is what
`message_start` told, in which only the input is final. What is thought may be shown as a summary,
or not at all, so it counts for nothing that was certainly made.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

from agentwatch.core.usage import Usage
from agentwatch.wire.answer import FRAME_TOKENS, Answer, StreamedAnswer, WholeAnswer
from agentwatch.wire.anthropic_usage import Report, merged, read_usage


class _Delta(Struct):
    """What a block grew by, or how the message ended."""

    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    content: str | None = None
    stop_reason: str | None = None

    def other(self) -> int:
        """Bytes that are output, but in pieces of any size."""
        return _size(self.partial_json) + _size(self.thinking) + _size(self.content)


class _Block(Struct):
    type: str | None = None
    name: str | None = None
    text: str | None = None
    thinking: str | None = None
    input: Raw = Raw()
    data: str | None = None
    content: Raw = Raw()


class _Message(Struct):
    model: str | None = None
    usage: dict[str, object] | None = None
    content: list[_Block] | None = None
    stop_reason: str | None = None


class _Event(Struct):
    type: str | None = None
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: dict[str, object] | None = None
    error: Raw = Raw()


class _LooseEvent(Struct):
    """The same with nothing taken for granted."""

    type: Raw = Raw()
    error: Raw = Raw()


class _Whole(_Message):
    error: Raw = Raw()


_EVENT = msgspec.json.Decoder(_Event)
_LOOSE = msgspec.json.Decoder(_LooseEvent)
_WHOLE = msgspec.json.Decoder(_Whole)
_ABSENT = (b"", b"null")
#: blocks that the server put in: what it found is no output
_FOUND = ("_tool_result", "container_upload", "fallback")


def _size(text: str | None) -> int:
    if not text:
        return 0
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


class _Messages(Answer):
    """What a message in one piece and one in events have in common."""

    notes = True

    def __init__(self, keeps_long: bool = False) -> None:
        super().__init__()
        self._keeps_long = keeps_long
        self._told: Report = {}

    def _reported(self, usage: dict[str, object] | None) -> None:
        if usage:
            self._told = merged(self._told, usage)
            speed, tier = self._told.get("speed"), self._told.get("service_tier")
            self._name(None, "fast" if speed == "fast" else tier)

    def _usage(self) -> Usage | None:
        return read_usage(self._told, self.model, self._keeps_long)

    def _saw_block(self, block: _Block) -> None:
        """A block as it was opened, or whole."""
        if block.type and block.type.endswith(_FOUND):
            return
        self.note_text(block.text)
        # in a stream what it is called with follows; here it is empty
        arguments = bytes(block.input)
        self.note_call(block.name, "" if arguments == b"{}" else arguments.decode())
        self._saw_text(_size(block.text))
        other = _size(block.thinking) + _size(block.data)
        other += len(bytes(block.input)) + len(bytes(block.content))
        self._saw_other(other + FRAME_TOKENS)


class MessageStream(_Messages, StreamedAnswer):
    """A streamed message."""

    _is_final = False

    def _read(self, data: bytes) -> bool:
        try:
            event = _EVENT.decode(data)
        except msgspec.ValidationError:
            self._read_loosely(data)
            return True
        if event.type == "content_block_delta":
            self._grew(event.delta)
        elif event.type == "content_block_start" and event.content_block:
            self._saw_block(event.content_block)
        elif event.type == "message_start" and event.message:
            self._name(event.message.model, None)
            self._reported(event.message.usage)
            self.begun = self._usage()
        elif event.type == "message_delta":
            self._ends(event)
        elif event.type == "message_stop":
            self.complete = True
            self.usage = self._usage() if self._is_final else None
        elif event.type == "error" or bytes(event.error) not in _ABSENT:
            self._failed(event.error)
        return True

    def _grew(self, delta: _Delta | None) -> None:
        if delta is not None:
            self.note_text(delta.text)
            self.note_call(None, delta.partial_json)
            self._saw_text(_size(delta.text))
            self._saw_other(delta.other())

    def _ends(self, event: _Event) -> None:
        self._reported(event.usage)
        self._is_final = self._is_final or event.usage is not None
        self.begun = self._usage() or self.begun
        if event.delta is not None and event.delta.stop_reason is not None:
            self.usage = self._usage()

    def _read_loosely(self, data: bytes) -> None:
        event = _LOOSE.decode(data)
        self._saw_other(len(data))
        if bytes(event.error) not in _ABSENT:
            self._failed(event.error)


class MessageBody(_Messages, WholeAnswer):
    """A message in one piece."""

    def _read(self, body: bytes) -> None:
        try:
            answer = _WHOLE.decode(body)
        except msgspec.ValidationError:
            self._read_loosely(body)
            return
        self.complete = True
        self._name(answer.model, None)
        for block in answer.content or ():
            if block.text:
                self._text_bytes += _size(block.text)
                self.note_text(block.text)
                block.text = None
            self._saw_block(block)
        self._reported(answer.usage)
        self.usage = self._usage()
        if bytes(answer.error) not in _ABSENT:
            self._failed(answer.error)

    def _read_loosely(self, body: bytes) -> None:
        event = _LOOSE.decode(body)
        self.complete = True
        self._saw_other(len(body))
        if bytes(event.error) not in _ABSENT:
            self._failed(event.error)
