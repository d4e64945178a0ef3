"""Meters for chat completions, legacy completions and embeddings on OpenAI's wire.

A stream tells its usage in a chunk of its own (`choices` empty), when it was asked to; some
servers put it into every chunk, and then the last one counts.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

from agentwatch.core.usage import Usage
from agentwatch.wire.answer import FRAME_TOKENS, Answer, StreamedAnswer, WholeAnswer
from agentwatch.wire.openai_usage import read_usage


class _Called(Struct):
    name: str | None = None
    arguments: str | None = None
    input: str | None = None

    def size(self) -> int:
        return sum(map(_size, (self.name, self.arguments, self.input)))


class _ToolCall(Struct):
    function: _Called | None = None
    custom: _Called | None = None

    def size(self) -> int:
        return sum(called.size() for called in (self.function, self.custom) if called)


class _Said(Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Called | None = None
    audio: Raw = Raw()

    def size(self) -> int:
        size = _size(self.content)
        if self.tool_calls:
            size += sum(call.size() for call in self.tool_calls)
        if self.function_call:
            size += self.function_call.size()
        for text in (self.refusal, self.reasoning, self.reasoning_content):
            size += _size(text)
        return size


class _Choice(Struct):
    delta: _Said | None = None
    message: _Said | None = None
    text: str | None = None

    def size(self) -> int:
        said = self.delta or self.message
        return _size(self.text) + (said.size() if said else 0)

    def sound(self) -> int:
        """Bytes of sound and of what is said in it."""
        said = self.delta or self.message
        return len(bytes(said.audio)) if said else 0

    def calls(self) -> int:
        said = self.delta or self.message
        return len(said.tool_calls or ()) if said else 0

    def note(self, meter: Answer) -> None:
        """Tell a meter what is said and called."""
        said = self.delta or self.message
        if said is None:
            meter.note_text(self.text)
            return
        meter.note_text(said.content or said.refusal)
        for call in said.tool_calls or ():
            _note(meter, call.function or call.custom)
        _note(meter, said.function_call)


def _note(meter: Answer, called: _Called | None) -> None:
    if called is not None:
        meter.note_call(called.name, called.arguments or called.input)


class _Chunk(Struct):
    choices: list[_Choice] | None = None
    usage: Raw = Raw()
    error: Raw = Raw()
    model: str | None = None
    service_tier: str | None = None


class _LooseChunk(Struct):
    """The same with nothing taken for granted."""

    choices: Raw = Raw()
    usage: Raw = Raw()
    error: Raw = Raw()


_CHUNK = msgspec.json.Decoder(_Chunk)
_LOOSE = msgspec.json.Decoder(_LooseChunk)
_ABSENT = (b"", b"null")


def _size(text: str | None) -> int:
    if not text:
        return 0
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


class ChatStream(StreamedAnswer):
    """A streamed chat or legacy completion. `strip` takes the usage chunk out."""

    notes = True

    def __init__(self, strip: bool = False) -> None:
        super().__init__()
        self._strip = self.rewrites = strip

    def _read(self, data: bytes) -> bool:
        if data == b"[DONE]":
            self.complete = True
            return True
        try:
            chunk = _CHUNK.decode(data)
        except msgspec.ValidationError:
            self._read_loosely(data)
            return True
        self._name(chunk.model, chunk.service_tier)
        choices = chunk.choices
        if choices:
            self._saw_choices(choices)
        self._report(chunk.usage, chunk.error)
        summed_up = choices == [] and bytes(chunk.usage).startswith(b"{")
        self.complete = self.complete or summed_up
        return not (self._strip and summed_up)

    def _read_loosely(self, data: bytes) -> None:
        chunk = _LOOSE.decode(data)
        self._saw_other(len(bytes(chunk.choices)))
        self._report(chunk.usage, chunk.error)

    def _saw_choices(self, choices: list[_Choice]) -> None:
        self._saw_text(sum([choice.size() for choice in choices]))
        for choice in choices:
            choice.note(self)
        beside = [FRAME_TOKENS * each.calls() + each.sound() for each in choices if each.delta]
        self._saw_other(sum(beside))

    def _report(self, usage: Raw, error: Raw) -> None:
        if bytes(usage) not in _ABSENT:
            self.usage = self._usage(usage) or self.usage
        if bytes(error) not in _ABSENT:
            self._failed(error)

    def _usage(self, raw: Raw) -> Usage | None:
        """A usage object as this provider means it."""
        return read_usage(raw)


class ChatBody(WholeAnswer):
    """A chat or legacy completion in one piece."""

    notes = True

    def _read(self, body: bytes) -> None:
        try:
            chunk = _CHUNK.decode(body)
        except msgspec.ValidationError:
            self._read_loosely(body)
            return
        self.complete = True
        self._name(chunk.model, chunk.service_tier)
        for choice in chunk.choices or ():
            self._text_bytes += choice.size()
            choice.note(self)
            self._saw_other(FRAME_TOKENS * (1 + choice.calls()) + choice.sound())
        self._report(chunk.usage, chunk.error)

    def _read_loosely(self, body: bytes) -> None:
        chunk = _LOOSE.decode(body)
        self.complete = True
        self._saw_other(len(bytes(chunk.choices)))
        self._report(chunk.usage, chunk.error)

    def _report(self, usage: Raw, error: Raw) -> None:
        if bytes(usage) not in _ABSENT:
            self.usage = self._usage(usage)
        if bytes(error) not in _ABSENT:
            self._failed(error)

    def _usage(self, raw: Raw) -> Usage | None:
        """A usage object as this provider means it."""
        return read_usage(raw)


class EmbeddingsBody(ChatBody):
    """Embeddings: there is input, and no output that is billed."""

    notes = False

    @property
    def output_ceiling(self) -> int:
        return 0

    def _usage(self, raw: Raw) -> Usage | None:
        return read_usage(raw, has_output=False)


class FreeBody(ChatBody):
    """An answer that costs nothing, whatever usage it may tell."""

    @property
    def output_ceiling(self) -> int:
        return 0

    def _usage(self, raw: Raw) -> Usage | None:
        return None
