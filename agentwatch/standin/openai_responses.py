"""OpenAI's responses: the object, and its events in their order with their numbers."""

from __future__ import annotations

from typing import Any

import msgspec

from agentwatch.standin import openai_hosted
from agentwatch.standin.bill import Entry
from agentwatch.standin.provider import Call, Piece, Plan, twist

_FAILED = {"code": "server_error", "message": "The server had an error."}
#: fields of the request that the answer repeats, and what they are where it has none
_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
}


class ResponsesVoice:
    """One response. Items are: hosted tools' calls, thinking, then a message or function calls."""

    def __init__(self, call: Call, plan: Plan, entry: Entry) -> None:
        self._call, self._plan, self._entry = call, plan, entry
        self._number = 0
        self._items: list[dict[str, Any]] = []
        self._text: list[str] = []
        self._open = False
        self.id = f"resp_{entry.id}"

    def opening(self) -> bytes:
        """`response.created`, `.in_progress`, and the items that come before the answer."""
        start = [
            self._event("response.created", response=self._response("in_progress")),
            self._event("response.in_progress", response=self._response("in_progress")),
        ]
        start += [self._item_in_one(item) for item in self._preludes()]
        return b"".join(start)

    def token(self, piece: Piece, choice: int) -> bytes:
        """One delta, and the beginning of its item where it is the first."""
        begun = b""
        if piece.opens or not self._open:
            begun = self._finish_item() + self._begin_item(piece)
        if piece.call is None:
            return begun + self._text_delta(piece.text)
        if piece.opens:
            return begun
        self._items[-1]["arguments"] += piece.text
        return begun + self._event(
            "response.function_call_arguments.delta", **self._where(), delta=piece.text
        )

    def closing(self) -> bytes:
        """The ends of the open item and of the response, with its usage."""
        end = self._finish_item()
        status = self._status()
        return end + self._event(f"response.{status}", response=self._response(status))

    def whole(self) -> bytes:
        """The response in one object."""
        self._items += self._preludes()
        for at, called in enumerate(self._plan.tool_calls()):
            self._items.append(self._function_call(at, called.name, called.arguments))
        if not self._plan.calls and self._plan.shown:
            self._items.append(self._message(self._plan.text()))
        return msgspec.json.encode(self._response(self._status()))

    def broken(self, how: str) -> bytes:
        """`response.failed` with the usage up to there, or a bare `error` event."""
        if not self._call.stream:
            return msgspec.json.encode(self._response("failed", error=_FAILED))
        if how == "event":
            return self._event("error", **_FAILED, param=None)
        return self._event("response.failed", response=self._response("failed", error=_FAILED))

    def _event(self, kind: str, **fields: Any) -> bytes:
        value = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(value) + b"\n\n"

    def _where(self) -> dict[str, Any]:
        return {"item_id": self._items[-1]["id"], "output_index": len(self._items) - 1}

    def _status(self) -> str:
        return "incomplete" if self._plan.cut_short else "completed"

    def _preludes(self) -> list[dict[str, Any]]:
        thinking = {"id": f"rs_{self._entry.id}", "type": "reasoning", "summary": []}
        return [*openai_hosted.items(self._entry), *([thinking] if self._plan.reasoning else [])]

    def _item_in_one(self, item: dict[str, Any]) -> bytes:
        self._items.append(item)
        at = len(self._items) - 1
        added = self._event("response.output_item.added", output_index=at, item=item)
        return added + self._event("response.output_item.done", output_index=at, item=item)

    def _begin_item(self, piece: Piece) -> bytes:
        self._open = True
        if piece.call is not None:
            name = self._plan.calls[piece.call].name
            return self._added(self._function_call(piece.call, name, "", "in_progress"))
        begun = self._added(self._message(None, "in_progress"))
        return begun + self._part("added", "")

    def _added(self, item: dict[str, Any]) -> bytes:
        self._items.append(item)
        at = len(self._items) - 1
        return self._event("response.output_item.added", output_index=at, item=item)

    def _part(self, step: str, text: str) -> bytes:
        kind = f"response.content_part.{step}"
        return self._event(kind, **self._where(), content_index=0, part=_part(text))

    def _text_delta(self, text: str) -> bytes:
        self._text.append(text)
        kind = "response.output_text.delta"
        return self._event(kind, **self._where(), content_index=0, delta=text, logprobs=[])

    def _finish_item(self) -> bytes:
        if not self._open:
            return b""
        self._open = False
        item = self._items[-1]
        item["status"] = self._status()
        ends = b"" if item["type"] == "function_call" else self._text_done(item)
        if item["type"] == "function_call":
            kind = "response.function_call_arguments.done"
            ends = self._event(kind, **self._where(), arguments=item["arguments"])
        at = len(self._items) - 1
        return ends + self._event("response.output_item.done", output_index=at, item=item)

    def _text_done(self, item: dict[str, Any]) -> bytes:
        text = "".join(self._text)
        item["content"] = [_part(text)]
        kind = "response.output_text.done"
        done = self._event(kind, **self._where(), content_index=0, text=text, logprobs=[])
        return done + self._part("done", text)

    def _message(self, text: str | None, status: str | None = None) -> dict[str, Any]:
        return {
            "id": f"msg_{self._entry.id}",
            "type": "message",
            "role": "assistant",
            "status": status or self._status(),
            "content": [] if text is None else [_part(text)],
        }

    def _function_call(
        self, at: int, name: str, arguments: str, status: str | None = None
    ) -> dict[str, Any]:
        return {
            "id": f"fc_{self._entry.id}_{at}",
            "type": "function_call",
            "status": status or self._status(),
            "call_id": f"call_{self._entry.id}_{at}",
            "name": name,
            "arguments": arguments,
        }

    def _response(self, status: str, error: dict[str, Any] | None = None) -> dict[str, Any]:
        over = status != "in_progress"
        cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
        body = self._call.body
        response: dict[str, Any] = {
            "id": self.id,
            "object": "response",
            "created_at": int(self._entry.started_at),
            "status": status,
            "background": False,
            "error": error,
            "incomplete_details": cut,
            "model": self._entry.model,
            "output": self._items if over else [],
            "reasoning": {"effort": None, "summary": None},
            "service_tier": self._entry.tier if over else "auto",
            "text": body.get("text") or {"format": {"type": "text"}},
            "usage": None,
        }
        response |= {name: body.get(name, usual) for name, usual in _ECHOED.items()}
        if over:
            self._tell_usage(response)
        return response

    def _tell_usage(self, response: dict[str, Any]) -> None:
        if self._entry.searches:
            response["tool_usage"] = {"web_search": {"num_requests": self._entry.searches}}
        if self._plan.script.usage == "missing":
            del response["usage"]
        else:
            response["usage"] = self._usage()

    def _usage(self) -> dict[str, Any] | None:
        entry = self._entry
        usage = {
            "input_tokens": entry.prompt_tokens,
            "input_tokens_details": {
                "cached_tokens": entry.cached,
                "cache_write_tokens": entry.written,
            },
            "output_tokens": entry.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": entry.reasoning},
            "total_tokens": entry.prompt_tokens + entry.completion_tokens,
        }
        return twist(usage, self._plan.script.usage, output="output_tokens")


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
