"""What was typed and what the screen showed, as the tests saw it: docs/transcripts.md is made so.

Each test of a program that the page shows keeps its screen below `.clients/transcripts`;
`make transcripts` runs those tests and writes the page. Only what is this machine's is rewritten:
its paths, colours, and the middle of what is long.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[3]
_KEPT = _ROOT / ".clients" / "transcripts"
PAGE = _ROOT / "docs" / "transcripts.md"

_PROGRAMS = {
    "Claude Code": ("claude code", "claude code"),
    "Codex": ("codex, another model", "codex"),
    "Gemini CLI": ("gemini cli", "gemini cli"),
    "opencode": ("opencode, Anthropic", "opencode, Anthropic"),
    "aider": ("aider", "aider"),
    "llm": ("llm, chat", "llm"),
}
_HEAD = """\
# Six programs, their work and their ceiling

Written by `make transcripts` from what [tests/e2e/clients](../tests/e2e/clients) saw: each \
program as it is released, against the stand-in provider, with nothing set but what `run` sets, \
an empty home, and what keeps a program from asking for updates or, without a terminal, for trust. \
`[[standin: …]]` in a prompt tells the stand-in what to answer. Paths are shortened, colours left \
out, and `[…]` stands for what was cut out of the middle.
"""
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\r")
_LONGEST_LINE, _FIRST, _LAST = 700, 14, 22
_CUT = "[…]"


def keep(name: str, what: str, said: str, run: Any) -> None:
    """Keep one run's screen; `what` is "work" or "ceiling", `said` its standard input."""
    _KEPT.mkdir(parents=True, exist_ok=True)
    *before, program, typed = _split(run.argv)
    command = shlex.join([*before, Path(program).name, *typed])
    screen = _shortened(_COLOUR.sub("", run.screen))
    text = f"$ {command}{_input(said)}\n{screen}\n$ echo $?\n{run.code}\n"
    (_KEPT / f"{name}.{what}").write_text(_without_paths(text, run.folder), encoding="utf-8")


def _split(argv: tuple[str, ...]) -> list[Any]:
    at = argv.index("--") + 1
    return [*argv[:at], argv[at], argv[at + 1 :]]


def _input(said: str) -> str:
    """How a shell would be told the same."""
    lines = said.splitlines()
    if len(lines) > 4:
        lines = [*lines[:2], _CUT]
    return f" <<< {shlex.quote(chr(10).join(lines))}" if lines else ""


def _shortened(screen: str) -> str:
    lines = [_line(line.rstrip()) for line in screen.strip().splitlines()]
    if len(lines) > _FIRST + _LAST + 1:
        lines = [*lines[:_FIRST], _CUT, *lines[-_LAST:]]
    return "\n".join(lines)


def _line(line: str) -> str:
    half = _LONGEST_LINE // 2
    return line if len(line) <= _LONGEST_LINE else f"{line[:half]} {_CUT} {line[-half:]}"


def _without_paths(text: str, folder: Path) -> str:
    for path, name in ((folder, "~"), (_ROOT, "…"), (Path.home(), "…")):
        text = text.replace(str(path.resolve()), name).replace(str(path), name)
    text = re.sub(r"/(?:tmp|var/tmp|private)/[^\s\"':,)]+", "/tmp/…", text)
    return re.sub(r"(127\.0\.0\.1|localhost):\d+", r"\1:4141", text)


def page() -> str:
    """The page, of what was kept. Raises FileNotFoundError where a test has not run."""
    parts = [_HEAD]
    for title, (work, ceiling) in _PROGRAMS.items():
        shown = [(_KEPT / f"{work}.work"), (_KEPT / f"{ceiling}.ceiling")]
        texts = [path.read_text(encoding="utf-8") for path in shown]
        parts.append(f"## {title}\n\nIts work:\n\n````text\n{texts[0]}````\n")
        parts.append(f"Stopped by its ceiling:\n\n````text\n{texts[1]}````\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {os.path.relpath(PAGE)}")
