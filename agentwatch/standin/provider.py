"""What a provider's wire gives to the stand-in, so that one more provider is one more file.

A provider reads a request into a Call, and hands out a Voice that puts an answer into its bytes.
What is said, how fast and where it breaks off is not its business: that is a Plan, played by
`play.py` for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from agentwatch.standin import shape, tokens
from agentwatch.standin.bill import Entry
from agentwatch.standin.script import ENDLESS, Script


class BadRequestError(Exception):
    """A request that this provider refuses; `body` is the error in its own shape."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class Call(Struct, kw_only=True):
    """One request, as far as the answer depends on it."""

    api: str
    model: str
    body: dict[str, Any]
    stream: bool = False
    include_usage: bool = False
    #: most tokens of a choice; None: the model's own limit
    limit: int | None = None
    #: answers that are given, and answers that are made and billed (best_of)
    choices: int = 1
    made_choices: int = 1
    tier: str | None = None
    #: fields of the script that the content asks for
    directive: dict[str, Any] | None = None
    #: rounds of tool results that followed that directive
    tool_results: int = 0
    #: offered functions: name -> schema of the arguments
    tools: dict[str, Any] = {}
    #: what the answer's text must fit, if anything
    schema: Any = None
    #: tokens of prompt that are not in the body
    hidden_tokens: int = 0
    #: most tokens of thinking; None: as many as the script has it do
    most_thinking: int | None = None
    #: the query of its address
    query: dict[str, str] = {}
    #: a stream is one JSON array, and no events
    as_array: bool = False
    #: what the answer's head says beside the usual
    headers: dict[str, str] = {}


class Piece(Struct, frozen=True):
    """One token of an answer. `call` is the tool call that it belongs to; `opens` begins it."""

    text: str
    call: int | None = None
    opens: bool = False


class ToolCall(Struct, frozen=True):
    """A function that the answer asks for."""

    name: str
    arguments: str


class Plan(Struct, kw_only=True):
    """What is to be said in each choice."""

    script: Script
    #: tokens that are made, thinking included; the first `reasoning` of them are never shown
    made: int
    reasoning: int
    #: the limit ended it
    cut_short: bool
    calls: list[ToolCall]
    #: the visible tokens where they are known beforehand
    pieces: list[Piece] | None = None

    @property
    def shown(self) -> int:
        """Tokens that are seen."""
        return self.made - self.reasoning

    def piece(self, index: int) -> Piece:
        """The visible token at `index`."""
        if self.pieces is not None and index < len(self.pieces):
            return self.pieces[index]
        if index == 0 and self.script.line:
            return Piece("x" * self.script.line)
        return Piece(tokens.piece(index, size=self.script.size, utf8=self.script.utf8))

    def text(self) -> str:
        """All visible text."""
        script = self.script
        if self.pieces is None and not (script.line or script.utf8 or script.size is not None):
            return tokens.prose(self.shown)
        return "".join(p.text for p in map(self.piece, range(self.shown)) if p.call is None)

    def tool_calls(self) -> list[ToolCall]:
        """The tool calls as far as the limit let them get."""
        grown = [""] * len(self.calls)
        begun = 0
        for piece in (self.pieces or [])[: self.shown]:
            if piece.call is not None:
                grown[piece.call] += piece.text
                begun = max(begun, piece.call + 1)
        return [ToolCall(self.calls[at].name, grown[at]) for at in range(begun)]


class Voice(Protocol):
    """One answer in a provider's bytes. Server-sent events end their lines with LF here."""

    def opening(self) -> bytes:
        """Events before the first token."""
        ...

    def token(self, piece: Piece, choice: int) -> bytes:
        """The events of one token."""
        ...

    def closing(self) -> bytes:
        """Events after the last token, with the usage and the word that it is complete."""
        ...

    def whole(self) -> bytes:
        """The body of an answer that is not streamed."""
        ...

    def broken(self, how: str) -> bytes:
        """An error inside a 200: an event where the call is streamed, else a body."""
        ...


class Provider(Protocol):
    """One provider's wire."""

    name: str
    #: paths that are its own, without a slash at the end
    prefixes: tuple[str, ...]

    def credential(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        """The key of a request, from the slot where this provider looks for it."""
        ...

    def plain(self, method: str, path: str) -> bytes | None:
        """The answer to a free request (the list of models), or None. Raises BadRequestError."""
        ...

    def read(self, method: str, path: str, body: bytes) -> Call:
        """Read a request; `path` is below the prefix. Raises BadRequestError, ScriptError."""
        ...

    def weigh(self, call: Call, density: int) -> int:
        """Tokens of its prompt."""
        ...

    def knows(self, model: str) -> bool:
        """Whether it has such a model."""
        ...

    def most_output(self, model: str) -> int:
        """Most tokens that this model writes in an answer."""
        ...

    def tier(self, model: str, asked: str | None) -> str:
        """The service tier that answers where this one is asked for."""
        ...

    def note(self, entry: Entry, call: Call, script: Script) -> None:
        """Enter what only this provider bills (searches, long cache writes …), once prompt,
        cached and written tokens are in the entry."""
        ...

    def cost(self, entry: Entry) -> int:
        """What an entry comes to as it stands, in nano-USD, rounded up once."""
        ...

    def voice(self, call: Call, plan: Plan, entry: Entry) -> Voice:
        """The voice for this call's answer."""
        ...

    def error(self, status: int, message: str | None = None) -> bytes:
        """The body of an error with this status."""
        ...


def plan_for(call: Call, script: Script, default_tokens: int, most_output: int) -> Plan:
    """What a script makes of a call: its tokens within the limits that hold."""
    calls = _tool_calls(call, script)
    pieces = _pieces(call, script, calls)
    wanted = script.tokens if script.tokens is not None else default_tokens
    if pieces is not None:
        wanted = len(pieces)
    if script.endless:
        wanted = ENDLESS
    thought = script.reasoning
    if call.most_thinking is not None:
        thought = min(thought, call.most_thinking)
    wanted += thought
    most = min(call.limit or ENDLESS, most_output) + (thought if script.think_beside else 0)
    made = min(wanted, ENDLESS if script.ignore_limit else most)
    return Plan(
        script=script,
        made=made,
        reasoning=min(thought, made),
        cut_short=made < wanted,
        calls=calls,
        pieces=pieces,
    )


def _tool_calls(call: Call, script: Script) -> list[ToolCall]:
    if not script.tools:
        return []
    if script.times and call.tool_results >= script.times * script.parallel:
        return []
    name, _, arguments = script.tools.partition(":")
    if name == "auto":
        name = next(iter(call.tools), "nothing")
    if not arguments:
        offered = call.tools.get(name)
        arguments = msgspec.json.encode(shape.example(offered) if offered else {}).decode()
    return [ToolCall(name, arguments)] * script.parallel


def _pieces(call: Call, script: Script, calls: list[ToolCall]) -> list[Piece] | None:
    if calls:
        return [piece for at, called in enumerate(calls) for piece in _call_pieces(at, called)]
    if script.say is not None:
        return [Piece(text) for text in tokens.pieces_of(script.say)]
    if call.schema is not None:
        text = msgspec.json.encode(shape.example(call.schema)).decode()
        return [Piece(text) for text in tokens.pieces_of(text)]
    return None


def _call_pieces(at: int, called: ToolCall) -> list[Piece]:
    written = [Piece(text, call=at) for text in tokens.pieces_of(called.arguments)]
    return [Piece("", call=at, opens=True), *written]


def twist(usage: dict[str, Any], how: str, *, output: str) -> dict[str, Any] | None:
    """A usage object as `Script.usage` wants it told; `output` names its count of output."""
    if how == "null":
        return None
    if how == "small":
        return usage | {output: usage[output] // 4}
    lies: dict[str, Any] = {"zero": 0, "huge": 10**18, "text": "lots"}
    if how not in lies and how != "negative":
        return usage
    return {name: _lie(value, how, lies) for name, value in usage.items()}


def _lie(value: Any, how: str, lies: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: _lie(part, how, lies) for name, part in value.items()}
    return -abs(value) - 1 if how == "negative" else lies[how]
