"""Programs as people have them, under a ceiling, with nothing changed but what `run` sets."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from harness import nanos
from transcripts import keep

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]

PROGRAMS = Path(__file__).parent / "programs"
BROKE = "does not allow this call: spent $"

CODEX = ("codex", "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
GEMINI = ("gemini", "-m", "gemini-2.5-flash", "--yolo", "-p")
OPENCODE = ("opencode", "run", "-m")
#: opencode puts quotation marks round what it is told by arguments: this goes to its input
BASH = '[[standin: tools=bash:{"command": "pwd", "description": "where am I"} times=%d tokens=9]]'
LLM_TOOL = "def add(a: int, b: int) -> str:\n    return str(a + b)\n"
AIDER_MODES = (
    *("--edit-format", "whole", "--yes-always"),
    *("--no-show-model-warnings", "--no-check-update", "--analytics-disable", "--no-gitignore"),
    *("--no-pretty", "--auto-test", "--test-cmd", "false", "--message"),
)
AIDER = ("aider", "--model", "openai/gpt-4o", *AIDER_MODES, "change it", "hello.py")
AIDER_CLAUDE = ("aider", "--model", "anthropic/claude-sonnet-4-5", *AIDER[3:])
CLAUDE = ("claude", "--allowedTools=Bash", "-p")
PWD = '[[standin: tools=Bash:{"command": "pwd", "description": "where am I"} times=%d tokens=9]]'
#: an edit in aider's "whole" format, the same each time
EDIT = "hello.py\n```\nprint('edited')\n```\n"


class Task(NamedTuple):
    """A program, what it is told, and how many calls its work takes."""

    client: str
    command: tuple[str, ...]
    calls: int
    said: str = ""
    script: dict[str, Any] | None = None


class Runaway(NamedTuple):
    """A program that would go on, and the ceiling that stops it after some calls."""

    client: str
    command: tuple[str, ...]
    budget: str
    said: str = ""
    script: dict[str, Any] | None = None
    #: what it ends with when it is refused; None: 0, as it goes on with what it has
    fails: bool = True
    #: requests that are refused before it stops: more than one where the client has its reasons
    refusals: int = 1


def python(program: str, *arguments: str) -> tuple[str, ...]:
    return ("python", str(PROGRAMS / program), *arguments)


TASKS = {
    "openai 3": Task("openai3", python("openai_tour.py"), 12),
    "openai 2": Task("openai2", python("openai_tour.py"), 12),
    "llm, chat": Task(
        "llm", ("llm", "chat", "-m", "gpt-4o-mini"), 3, "hello\nand on\nand on\nquit\n"
    ),
    "llm, responses": Task("llm", ("llm", "chat", "-m", "gpt-5-mini"), 2, "hello\nand on\nquit\n"),
    "llm, messages": Task(
        "llm", ("llm", "chat", "-m", "claude-sonnet-4.5"), 2, "hello\nand on\nquit\n"
    ),
    "llm, tools": Task(
        "llm",
        ("llm", "-m", "gpt-4o", "--functions", LLM_TOOL, "[[standin: tools=add times=2]]"),
        3,
    ),
    "llm, tools on Anthropic": Task(
        "llm",
        (
            "llm",
            "-m",
            "claude-sonnet-4.5",
            "--functions",
            LLM_TOOL,
            "[[standin: tools=add times=2]]",
        ),
        3,
    ),
    "openai-agents": Task(
        "agents", python("agents_task.py", "2 + 3? [[standin: tools=add times=3]]"), 4
    ),
    "langchain": Task("langchain", python("langchain_task.py"), 7),
    # an edit, three more as its tests fail, and a commit message for the one that changed it
    "aider": Task("aider", AIDER, 5, script={"say": EDIT}),
    "aider, Anthropic": Task("aider", AIDER_CLAUDE, 5, script={"say": EDIT}),
    # one is for a title, on a small model
    "opencode, Anthropic": Task(
        "opencode", (*OPENCODE, "anthropic/claude-sonnet-4-5"), 5, "look around " + BASH % 3
    ),
    "opencode, OpenAI": Task(
        "opencode", (*OPENCODE, "openai/gpt-5-mini"), 5, "look around " + BASH % 3
    ),
    "codex, its own model": Task(
        "codex", (*CODEX, "do [[standin: tools=nothing times=2 tokens=9]]"), 3
    ),
    "google-genai 3": Task("genai3", python("genai_tour.py"), 12),
    "google-genai 2": Task("genai2", python("genai_tour.py"), 12),
    "gemini cli": Task(
        "gemini", (*GEMINI, 'do [[standin: tools=list_directory:{"dir_path":"."} times=2]]'), 3
    ),
    "codex, another model": Task(
        "codex",
        (*CODEX, "-m", "gpt-5-mini", 'do [[standin: tools=exec_command:{"cmd":"pwd"} times=2]]'),
        3,
    ),
    "anthropic 2": Task("anthropic2", python("anthropic_tour.py"), 12),
    "anthropic 1": Task("anthropic1", python("anthropic_tour.py"), 12),
    "claude code": Task("claude", (*CLAUDE, "look around " + PWD % 3), 4),
}

RUNAWAYS = {
    "openai 3, chat": Runaway("openai3", python("openai_runaway.py", "chat"), "0.06"),
    "openai 3, stream": Runaway("openai3", python("openai_runaway.py", "stream"), "0.06"),
    "openai 3, responses": Runaway("openai3", python("openai_runaway.py", "responses"), "0.06"),
    "openai 2, chat": Runaway("openai2", python("openai_runaway.py", "chat"), "0.06"),
    "openai 2, stream": Runaway("openai2", python("openai_runaway.py", "stream"), "0.06"),
    "llm": Runaway(
        "llm", ("llm", "chat", "-m", "gpt-4o"), "0.06", "go on [[standin: tokens=200]]\n" * 40
    ),
    "llm, responses": Runaway(
        "llm", ("llm", "chat", "-m", "gpt-5.1"), "0.06", "go on [[standin: tokens=200]]\n" * 40
    ),
    "llm, messages": Runaway(
        "llm",
        ("llm", "chat", "-m", "claude-sonnet-4.5"),
        "0.06",
        "go on [[standin: tokens=200]]\n" * 40,
    ),
    "openai-agents": Runaway(
        "agents", python("agents_task.py", "add [[standin: tools=add times=0]]"), "0.05"
    ),
    "langchain": Runaway(
        "langchain", python("langchain_task.py", "add [[standin: tools=add times=0]]"), "0.05"
    ),
    "aider": Runaway("aider", AIDER, "0.012", script={"say": EDIT}, fails=False),
    "aider, Anthropic": Runaway("aider", AIDER_CLAUDE, "0.03", script={"say": EDIT}, fails=False),
    "opencode, Anthropic": Runaway(
        "opencode", (*OPENCODE, "anthropic/claude-sonnet-4-5"), "0.25", "go on " + BASH % 99
    ),
    "opencode, OpenAI": Runaway(
        "opencode", (*OPENCODE, "openai/gpt-5-mini"), "0.03", "go on " + BASH % 99
    ),
    "codex": Runaway(
        "codex",
        (*CODEX, "-m", "gpt-5-mini", 'go [[standin: tools=exec_command:{"cmd":"pwd"} times=99]]'),
        "0.03",
    ),
    "anthropic 2, create": Runaway("anthropic2", python("anthropic_runaway.py", "create"), "0.06"),
    "anthropic 2, stream": Runaway("anthropic2", python("anthropic_runaway.py", "stream"), "0.06"),
    "anthropic 1, create": Runaway("anthropic1", python("anthropic_runaway.py", "create"), "0.06"),
    "anthropic 1, stream": Runaway("anthropic1", python("anthropic_runaway.py", "stream"), "0.06"),
    "claude code": Runaway("claude", (*CLAUDE, "go on " + PWD % 99), "1"),
    "google-genai 3, whole": Runaway("genai3", python("genai_runaway.py", "whole"), "0.02"),
    "google-genai 3, stream": Runaway("genai3", python("genai_runaway.py", "stream"), "0.02"),
    "google-genai 2, whole": Runaway("genai2", python("genai_runaway.py", "whole"), "0.02"),
    "google-genai 2, stream": Runaway("genai2", python("genai_runaway.py", "stream"), "0.02"),
    "gemini cli": Runaway(
        "gemini",
        (*GEMINI, 'go [[standin: tools=list_directory:{"dir_path":"."} times=99]]'),
        "0.045",
    ),
}


#: the six programs that people run, by the work and the runaway whose screens docs/ shows
SHOWN = {
    "claude code": "claude code",
    "codex, another model": "codex",
    "gemini cli": "gemini cli",
    "opencode, Anthropic": "opencode, Anthropic",
    "aider": "aider",
    "llm, chat": "llm",
}


def _repository(folder: Path) -> None:
    """What a coding agent works in."""
    (folder / "hello.py").write_text("print('hello')\n")
    (folder / ".gitignore").write_text("*\n!hello.py\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@localhost"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "hello"]):
        subprocess.run([*git, *arguments], cwd=folder, check=True, capture_output=True)


def _run(bench: Any, client: Callable[[str], Path], what: Task | Runaway, **terms: Any) -> Any:
    program, *arguments = what.command
    if what.script is not None:
        bench.standin.default(what.script)
    _repository(bench.folder)
    return bench.run(str(client(what.client) / program), *arguments, said=what.said, **terms)


def _books_agree(run: Any) -> None:
    assert run.settled == run.bill["billed_nanos"], run.screen
    assert run.report["calls"] == run.bill["requests"], run.screen
    assert run.report["estimated"] == 0
    assert run.bill["wrong_key"] == 0 and run.bill["leaks"] == []


@pytest.mark.parametrize("name", TASKS)
def test_its_work_is_done_and_the_books_agree_to_the_nano_dollar(name, bench, client):
    run = _run(bench, client, TASKS[name])
    assert run.code == 0, run.screen
    _books_agree(run)
    assert run.report["calls"] == TASKS[name].calls, run.screen
    assert run.report["refusals"] == 0
    assert "agentwatch: spent $" in run.screen
    if name in SHOWN:
        assert run.report["calls"] >= 3
        keep(name, "work", TASKS[name].said, run)


@pytest.mark.parametrize("name", RUNAWAYS)
def test_its_ceiling_stops_it_at_the_first_refusal_in_words_that_it_shows(name, bench, client):
    runaway = RUNAWAYS[name]
    run = _run(bench, client, runaway, budget=runaway.budget)
    _books_agree(run)
    assert run.report["calls"] >= 2, run.screen
    assert run.report["refusals"] == runaway.refusals, run.screen
    assert run.settled <= nanos(float(runaway.budget))
    assert BROKE in run.screen
    assert (run.code != 0) == runaway.fails, run.screen
    if name in SHOWN.values():
        keep(name, "ceiling", runaway.said, run)
