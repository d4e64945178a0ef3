"""Agents that are made up: conversations that grow, on OpenAI's wire, with a clock of their own.

What they read and are told is text of this Python's own library, so that words, lengths and line
breaks are those of real programs. A trace is a function of its seed.
"""

from __future__ import annotations

import json
import random
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

MODEL, SMALL = "gpt-4o", "gpt-4o-mini"
#: bytes to a token, about
DENSITY = 4


@dataclass(frozen=True)
class Call:
    """One call: when it begins and how long it takes (seconds), what is asked, what is answered.
    `answer` is None where the provider refuses."""

    at: float
    took: float
    model: str
    thread: str | None
    body: bytes
    answer: bytes | None
    #: tokens of the prompt, how many of them the provider has in its cache, and of the answer
    prompt: int
    cached: int
    made: int


Calls = Iterator[Call]


@lru_cache(maxsize=1)
def library() -> tuple[str, ...]:
    """Sources to read."""
    folder = Path(sysconfig.get_path("stdlib"))
    files = sorted(path for path in folder.glob("*.py") if path.stat().st_size > 4_000)
    return tuple(path.read_text(encoding="utf-8", errors="replace") for path in files)


@lru_cache(maxsize=1)
def prose() -> tuple[str, ...]:
    """Paragraphs: what the library says about itself."""
    found = (part for text in library() for part in text.split('"""')[1::2])
    return tuple(" ".join(part.split()) for part in found if 120 < len(part) < 1_500)


class Agent:
    """One thread of a program that calls a model, then its tools, then the model."""

    def __init__(
        self,
        lots: random.Random,
        at: float = 0.0,
        thread: str | None = None,
        system: str | None = None,
    ) -> None:
        self.lots = lots
        self.at = at
        self.thread = thread
        self.model = MODEL
        #: seconds that the model takes, and that pass between two calls
        self.takes, self.rests = (2.0, 8.0), (0.5, 4.0)
        self._messages: list[str] = []
        self._sent = 0
        self._calls = 0
        self.add("system", system or self.text(lots.randrange(4_000, 16_000)))

    # ---- what there is to say

    def text(self, size: int) -> str:
        """So many characters of some source."""
        source = self.lots.choice(library())
        start = self.lots.randrange(max(1, len(source) - size))
        return source[start : start + size]

    def words(self) -> str:
        """A paragraph."""
        return self.lots.choice(prose())

    def name(self) -> str:
        """A path."""
        parts = [self.lots.choice(self.words().split()).strip(".,()'`\"") for _ in range(2)]
        return "/".join(part or "x" for part in parts) + ".py"

    # ---- the conversation

    def add(self, role: str, content: str, **more: Any) -> None:
        """A message more."""
        self._messages.append(json.dumps({"role": role, "content": content, **more}))

    def compact(self, keep: int = 2) -> None:
        """Forget all but the system's words and the last, and go on with a summary."""
        self._messages = [self._messages[0], *self._messages[-keep:]]
        self._sent = 0

    def tool(self, name: str, arguments: dict[str, Any], result: str) -> Call:
        """Ask; the answer calls a tool, which has this result."""
        self._calls += 1
        call_id = f"call_{self.lots.getrandbits(60):015x}"
        function = {"name": name, "arguments": json.dumps(arguments)}
        asked = [{"id": call_id, "type": "function", "function": function}]
        made = self._call({"content": None, "tool_calls": asked})
        self._messages.append(json.dumps({"role": "assistant", "tool_calls": asked}))
        self.add("tool", result, tool_call_id=call_id)
        return made

    def say(self, text: str) -> Call:
        """Ask; the answer is a text."""
        made = self._call({"content": text})
        self.add("assistant", text)
        return made

    def fail(self) -> Call:
        """Ask; the provider refuses."""
        return self._call(None)

    def _call(self, message: dict[str, Any] | None) -> Call:
        asked = {"model": self.model, "max_tokens": 4_096, "tools": _TOOLS}
        head = json.dumps(asked)[:-1]
        body = f'{head}, "messages": [{", ".join(self._messages)}]}}'.encode()
        prompt = len(body) // DENSITY
        answer, made = None, 0
        if message is not None:
            made = 8 + len(json.dumps(message)) // DENSITY
            usage = {"prompt_tokens": prompt, "completion_tokens": made}
            answer = json.dumps({"choices": [{"message": message}], "usage": usage}).encode()
        took = self.lots.uniform(*self.takes) if answer else self.lots.uniform(0.1, 0.5)
        call = Call(self.at, took, self.model, self.thread, body, answer, prompt, self._sent, made)
        self.at += took + self.lots.uniform(*self.rests)
        if answer:
            # what was sent before is in the provider's cache by now, in whole blocks
            self._sent = prompt // 128 * 128 if prompt >= 1_024 else 0
        return call


_TOOLS = [
    {"type": "function", "function": {"name": name, "description": about, "parameters": {}}}
    for name, about in (
        ("read", "Read a file, from a line on."),
        ("grep", "Search in all files."),
        ("edit", "Replace a text in a file by another."),
        ("run", "Run a command, and show what it says."),
        ("plan", "Write down what is to be done."),
    )
]


def work(agent: Agent, steps: int) -> Calls:
    """An agent at its work: it reads, searches, edits, runs tests, plans."""
    failing = agent.lots.randrange(2, 9)
    for _ in range(steps):
        kind = agent.lots.choices(["read", "grep", "edit", "test", "plan"], [5, 3, 4, 4, 1])[0]
        path = agent.name()
        if kind == "read":
            arguments = {"path": path, "from": agent.lots.randrange(1, 2_000)}
            yield agent.tool("read", arguments, agent.text(agent.lots.randrange(300, 6_000)))
        elif kind == "grep":
            found = "\n".join(agent.text(60) for _ in range(agent.lots.randrange(0, 12)))
            yield agent.tool("grep", {"text": agent.text(12)}, found or "nothing found")
        elif kind == "edit":
            new = {"path": path, "old": agent.text(80), "new": agent.text(90)}
            yield agent.tool("edit", new, agent.lots.choice(["ok", "The file has been updated."]))
        elif kind == "plan":
            yield agent.tool("plan", {"todo": [agent.words() for _ in range(3)]}, "ok")
        else:
            failing = max(0, failing + agent.lots.choice([-1, -1, 0, 1]))
            yield agent.tool("run", {"command": "pytest -q"}, report(agent, failing))


def report(agent: Agent, failing: int) -> str:
    """What pytest says."""
    shown = [
        f"{agent.name()}:{agent.lots.randrange(900)}: {agent.text(90)}" for _ in range(failing)
    ]
    end = f"{failing} failed, {agent.lots.randrange(20, 60)} passed in {agent.lots.random():.2f}s"
    return "\n".join([*(f"E   AssertionError: {line}" for line in shown), end])
