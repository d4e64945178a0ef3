"""Anthropic's messages, as the SDK expects to read them."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from agentwatch.standin.bill import Entry
from agentwatch.standin.provider import Call, Piece, Plan, twist
from agentwatch.standin.script import Script, ScriptError

_BROKEN = {"type": "overloaded_error", "message": "Overloaded"}
#: iterations that the totals have in them
_IN_TOTALS = ("message", "fallback_message")


class Line(NamedTuple):
    """What the provider does for a call beside its first answer: tokens of one model."""

    kind: str
    model: str
    given: int
    made: int


def lines_of(script: Script, model: str) -> list[Line]:
    """The lines that `Script.iterations` names: "compaction:500:20+advisor_message:9:3:MODEL"."""
    return [_line(text, model) for text in (script.iterations or "").split("+") if text]


def _line(text: str, model: str) -> Line:
    kind, *rest = text.split(":")
    if len(rest) not in (2, 3) or not all(part.isdigit() for part in rest[:2]):
        raise ScriptError(f"no iteration of a stand-in script: {text!r}")
    return Line(kind, rest[2] if len(rest) == 3 else model, int(rest[0]), int(rest[1]))


def event(value: dict[str, Any]) -> bytes:
    """One server-sent event under its own name."""
    name = str(value["type"]).encode()
    return b"event: " + name + b"\ndata: " + msgspec.json.encode(value) + b"\n\n"


class MessageVoice:
    """`message`, whole and in events."""

    def __init__(self, call: Call, plan: Plan, entry: Entry) -> None:
        self._call, self._plan, self._entry = call, plan, entry
        self._lines = lines_of(plan.script, entry.model or "")
        #: the block that is open: None, "text", or the number of a tool call
        self._open: str | int | None = None
        self._blocks = 0

    def opening(self) -> bytes:
        """message_start, with a usage whose output is not known yet; a thinking block where
        something is thought that is not shown; what the server looked up."""
        start = self._message([], None)
        if self._plan.script.usage != "missing":
            start["usage"] = self._told(self._usage(1, first=True))
        out = event({"type": "message_start", "message": start}) + event({"type": "ping"})
        return out + b"".join(self._block(block) for block in self._before())

    def token(self, piece: Piece, choice: int) -> bytes:
        """One delta, and the start of its block where that is a new one."""
        kind = "text" if piece.call is None else piece.call
        out = b"" if kind == self._open and not piece.opens else self._turn_to(kind)
        if piece.call is None:
            out += self._delta({"type": "text_delta", "text": piece.text})
        elif not piece.opens:
            out += self._delta({"type": "input_json_delta", "partial_json": piece.text})
        if self._plan.script.usage == "every":
            out += self._ending(None)
        return out

    def closing(self) -> bytes:
        """The end of the block, the usage, and message_stop."""
        return self._shut() + self._ending(self._finish()) + event({"type": "message_stop"})

    def whole(self) -> bytes:
        """The message in one object."""
        calls = [
            {**self._tool_use(at), "input": _arguments(called.arguments)}
            for at, called in enumerate(self._plan.tool_calls())
        ]
        text = (
            [] if calls or not self._plan.shown else [{"type": "text", "text": self._plan.text()}]
        )
        answer = self._message([*self._before(), *text, *calls], self._finish())
        if self._plan.script.usage != "missing":
            answer["usage"] = self._told(self._usage(self._entry.completion_tokens))
        return msgspec.json.encode(answer)

    def broken(self, how: str) -> bytes:
        """`event: error`, at which the SDK raises in mid-stream."""
        error = {"type": "error", "error": _BROKEN}
        return event(error) if self._call.stream else msgspec.json.encode(error)

    # ---- blocks

    def _before(self) -> list[dict[str, Any]]:
        """Blocks that come before what is said."""
        entry = self._entry
        found: list[dict[str, Any]] = []
        if self._plan.reasoning:
            found.append({"type": "thinking", "thinking": "", "signature": "c2lnbmVk"})
        for at in range(entry.searches):
            id_ = f"srvtoolu_{entry.id}_{at}"
            found.append(
                {
                    "type": "server_tool_use",
                    "id": id_,
                    "name": "web_search",
                    "input": {"query": "q"},
                }
            )
            found.append({"type": "web_search_tool_result", "tool_use_id": id_, "content": []})
        return found

    def _block(self, block: dict[str, Any]) -> bytes:
        """A whole block, as events."""
        return self._start(block) + self._shut()

    def _turn_to(self, kind: str | int) -> bytes:
        shut = self._shut()
        block = {"type": "text", "text": ""} if isinstance(kind, str) else self._tool_use(kind)
        self._open = kind
        return shut + self._start(block)

    def _start(self, block: dict[str, Any]) -> bytes:
        self._open = "block" if self._open is None else self._open
        return event({"type": "content_block_start", "index": self._blocks, "content_block": block})

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return event({"type": "content_block_delta", "index": self._blocks, "delta": delta})

    def _shut(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        self._blocks += 1
        return event({"type": "content_block_stop", "index": self._blocks - 1})

    def _tool_use(self, at: int) -> dict[str, Any]:
        name = self._plan.calls[at].name
        return {"type": "tool_use", "id": f"toolu_{self._entry.id}_{at}", "name": name, "input": {}}

    # ---- frame

    def _message(self, content: list[dict[str, Any]], finish: str | None) -> dict[str, Any]:
        return {
            "id": f"msg_{self._entry.id}",
            "type": "message",
            "role": "assistant",
            "model": self._entry.model,
            "content": content,
            "stop_reason": finish,
            "stop_sequence": None,
        }

    def _ending(self, finish: str | None) -> bytes:
        delta = {"stop_reason": finish, "stop_sequence": None}
        told: dict[str, Any] = {"type": "message_delta", "delta": delta}
        if self._plan.script.usage != "missing":
            usage = self._usage(self._entry.completion_tokens)
            # of what message_start told already, this has less
            for name in ("cache_creation", "service_tier", "speed", "inference_geo"):
                del usage[name]
            told["usage"] = self._told(usage)
        return event(told)

    def _finish(self) -> str:
        if self._plan.cut_short:
            return "max_tokens"
        return "tool_use" if self._plan.calls else "end_turn"

    # ---- usage

    def _told(self, usage: dict[str, Any]) -> dict[str, Any] | None:
        counts = {key: each for key, each in usage.items() if not isinstance(each, str | list)}
        told = twist(counts, self._plan.script.usage, output="output_tokens")
        return None if told is None else {**usage, **told}

    def _usage(self, made: int, *, first: bool = False) -> dict[str, Any]:
        """What is reported; of a stream's first report only the input is meant."""
        entry = self._entry
        long = entry.extra.get("long", 0)
        lines = [] if first else self._lines
        inside = [line for line in lines if line.kind in _IN_TOTALS]
        own: dict[str, Any] = {
            "input_tokens": entry.prompt_tokens - entry.cached - entry.written - long,
            "cache_creation_input_tokens": entry.written + long,
            "cache_read_input_tokens": entry.cached,
            "cache_creation": {
                "ephemeral_5m_input_tokens": entry.written,
                "ephemeral_1h_input_tokens": long,
            },
            "output_tokens": made,
        }
        usage: dict[str, Any] = {
            **own,
            "input_tokens": own["input_tokens"] + sum(line.given for line in inside),
            "output_tokens": made + sum(line.made for line in inside),
            "output_tokens_details": {"thinking_tokens": entry.reasoning},
            "service_tier": "standard" if entry.tier == "fast" else entry.tier,
            "speed": "fast" if entry.tier == "fast" else "standard",
            "inference_geo": self._place(),
        }
        if entry.searches:
            searches = {"web_search_requests": entry.searches, "web_fetch_requests": 0}
            usage["server_tool_use"] = searches
        if lines:
            first_turn = {"type": "message", "model": entry.model, **own}
            usage["iterations"] = [first_turn, *map(_iteration, lines)]
        return usage

    def _place(self) -> str:
        if not self._entry.extra.get("placed"):
            return "not_available"
        return "us" if self._entry.extra["us"] else "global"


def _iteration(line: Line) -> dict[str, Any]:
    told = {
        "type": line.kind,
        "input_tokens": line.given,
        "output_tokens": line.made,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }
    return told if line.kind == "compaction" else {**told, "model": line.model}


def _arguments(text: str) -> Any:
    try:
        return msgspec.json.decode(text.encode())
    except msgspec.DecodeError:  # cut off by the limit
        return {}
