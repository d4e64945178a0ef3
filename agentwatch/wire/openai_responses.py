"""Meters for the responses API: usage stands in the response that the last event carries."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from agentwatch.core.usage import Usage
from agentwatch.wire.answer import FRAME_TOKENS, Answer, StreamedAnswer, WholeAnswer
from agentwatch.wire.json_object import LARGEST, read_json
from agentwatch.wire.openai_usage import read_usage

#: the last event repeats the whole answer, and the tools of the request
EVENT_LIMIT = 8 << 20
_LAST = ("response.completed", "response.incomplete", "response.failed")
_BILLED = frozenset(
    f"response.{name}.delta"
    for name in (
        "output_text",
        "refusal",
        "reasoning_text",
        "function_call_arguments",
        "custom_tool_call_input",
    )
)
#: what of it is an answer to whoever asked
_SHOWN = ("response.output_text.delta", "response.refusal.delta")
_ABSENT = (b"", b"null")


class _Event(Struct):
    type: str = ""
    delta: Any = None
    message: Any = None
    response: Raw = Raw()
    item: Raw = Raw()
    error: Raw = Raw()


class _Response(Struct):
    model: Any = None
    service_tier: Any = None
    output: Raw = Raw()
    usage: Raw = Raw()
    tool_usage: Raw = Raw()
    error: Raw = Raw()


_EVENT = msgspec.json.Decoder(_Event)
_RESPONSE = msgspec.json.Decoder(_Response)


class ResponsesStream(StreamedAnswer):
    """A streamed response. `search_fee` names the fee of a web search, where one may be made,
    `fees` those of the other hosted tools."""

    notes = True

    def __init__(self, search_fee: str | None = None, fees: frozenset[str] = frozenset()) -> None:
        super().__init__(EVENT_LIMIT)
        self._search_fee = search_fee
        self._fees = fees

    def _read(self, data: bytes) -> bool:
        if data == b"[DONE]":
            return True
        event = _EVENT.decode(data)
        if event.type.endswith(".delta"):
            self._saw_delta(event)
        elif event.type in _LAST:
            self.complete = True
            self._finish(_RESPONSE.decode(event.response))
        elif event.type == "response.output_item.done":
            self._saw_item(event.item)
        elif event.type == "response.created":
            self._name(_RESPONSE.decode(event.response).model, None)
        if event.type == "error" and isinstance(event.message, str):
            self.error = event.message[:500]
        elif bytes(event.error) not in _ABSENT:
            self._failed(event.error)
        return True

    def _saw_delta(self, event: _Event) -> None:
        size = _size(event.delta)
        if event.type in _SHOWN:
            self.note_text(event.delta)
        if event.type in _BILLED:
            self._saw_text(size)
        else:
            self._saw_other(size)

    def _saw_item(self, raw: Raw) -> None:
        """Reasoning that is not shown comes encrypted, at more bytes than it has tokens."""
        item = read_json(raw)
        if isinstance(item, dict):
            self._saw_other(FRAME_TOKENS + _hidden_size(item))
            _note_item(self, item)

    def _finish(self, response: _Response) -> None:
        self._name(response.model, response.service_tier)
        if bytes(response.error) not in _ABSENT:
            self._failed(response.error)
        self.usage = self._usage(response) or self.usage

    def _usage(self, response: _Response) -> Usage | None:
        """The usage of a response as this provider means it."""
        return response_usage(response, self._search_fee, self._fees)


class ResponsesBody(WholeAnswer):
    """A response in one piece."""

    notes = True

    def __init__(self, search_fee: str | None = None, fees: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self._search_fee = search_fee
        self._fees = fees

    def _read(self, body: bytes) -> None:
        response = _RESPONSE.decode(body)
        self.complete = True
        self._name(response.model, response.service_tier)
        self._saw_other(len(bytes(response.output)))
        items = read_json(response.output)
        self._text_bytes += _shown_size(items)
        for item in items if isinstance(items, list) else ():
            _note_item(self, item)
            for part in _parts_of(item):
                self.note_text(part.get("text"))
        if bytes(response.error) not in _ABSENT:
            self._failed(response.error)
        self.usage = self._usage(response)

    def _usage(self, response: _Response) -> Usage | None:
        """The usage of a response as this provider means it."""
        return response_usage(response, self._search_fee, self._fees)


def response_usage(
    response: _Response, search_fee: str | None, fees: frozenset[str] = frozenset()
) -> Usage | None:
    """The tokens of a response and the hosted tools that were called for it."""
    usage = read_usage(response.usage)
    if usage is None or (search_fee is None and not fees):
        return usage
    pieces = {} if search_fee is None else {search_fee: _searches(response)}
    if "file_search" in fees:
        pieces["file_search"] = _called(response, "file_search_call")
    for container in fees:
        if container.startswith("container "):
            pieces[container] = min(1, _called(response, "code_interpreter_call"))
    return msgspec.structs.replace(usage, pieces=pieces)


def _searches(response: _Response) -> int:
    """How many searches are billed: what the response says, else the calls it shows."""
    counts = read_json(response.tool_usage)
    searches = counts.get("web_search") if isinstance(counts, dict) else None
    billed = searches.get("num_requests") if isinstance(searches, dict) else None
    if isinstance(billed, int) and not isinstance(billed, bool) and 0 <= billed <= LARGEST:
        return billed
    return _called(response, "web_search_call")


def _called(response: _Response, kind: str) -> int:
    """How many calls of this kind a response shows."""
    items = read_json(response.output)
    if not isinstance(items, list):
        return 0
    return sum(isinstance(item, dict) and item.get("type") == kind for item in items)


def _size(value: object) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode(errors="replace"))
    return 0 if value is None else len(msgspec.json.encode(value))


def _hidden_size(item: dict[str, Any]) -> int:
    return _size(item.get("encrypted_content")) + _size(item.get("name"))


def _shown_size(items: object) -> int:
    """Bytes of text in the messages of an output."""
    if not isinstance(items, list):
        return 0
    return sum(_size(part.get("text")) for item in items for part in _parts_of(item))


def _parts_of(item: object) -> list[dict[str, Any]]:
    """The parts of a message; none of any other item."""
    content = item.get("content") if isinstance(item, dict) else None
    parts = content if isinstance(content, list) else ()
    return [part for part in parts if isinstance(part, dict)]


def _note_item(meter: Answer, item: object) -> None:
    """Tell a meter of a tool that is called."""
    if isinstance(item, dict) and str(item.get("type")).endswith("_call"):
        arguments = item.get("arguments", item.get("input", item.get("action")))
        if not isinstance(arguments, str):
            arguments = msgspec.json.encode(arguments).decode()
        meter.note_call(item.get("name") or item["type"], arguments)
