"""Writes cli-reference.md from the program's own --help, so that it can't tell another story.

`python docs/generate.py` writes it; `--check` only compares, and ends with 1 where they differ.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from agentwatch_cli.main import GROUPS, build

PAGE = Path(__file__).parent / "cli-reference.md"

#: the width of the pages, whatever terminal this runs in
_WIDTH = {"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "TERM": "dumb"}

_HEAD = """\
# Command line

Written by `make docs` from `agentwatch --help`; change the commands, not this page.

Every listing has `--json`, an object with `"schema_version": 1`. Data goes to stdout, words to
stderr. Exit codes: 0 done, 1 failed, 2 wrong usage; `run` has its own, see there.
"""


def reference() -> str:
    """The whole page."""
    app = build()
    parts = [_HEAD]
    for heading, names in _headings(app):
        parts.append(f"## {heading}\n")
        parts.extend(
            f"{'#' * depth} `agentwatch {' '.join(path)}`\n\n```text\n{_help(app, path)}```\n"
            for name in names
            for depth, path in _paths(_root(app), (name,))
        )
    return "\n".join(parts)


def _root(app: typer.Typer) -> Any:
    return typer.main.get_command(app)


def _headings(app: typer.Typer) -> Iterator[tuple[str, list[str]]]:
    left = [name for name, command in _root(app).commands.items() if not command.hidden]
    for heading, members in GROUPS.items():
        yield heading, [name for name in members if name in left]
    grouped = {name for members in GROUPS.values() for name in members}
    more = sorted(name for name in left if name not in grouped)
    if more:
        yield "More", more


def _paths(group: Any, path: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """A command and those below it, with the depth of their headings."""
    command = group.commands[path[-1]]
    if command.hidden:
        return
    yield 2 + len(path), path
    for name in getattr(command, "commands", {}):
        yield from _paths(command, (*path, name))


def _help(app: typer.Typer, path: tuple[str, ...]) -> str:
    done = CliRunner().invoke(app, [*path, "--help"], prog_name="agentwatch", env=_WIDTH)
    if done.exit_code != 0:
        raise SystemExit(f"agentwatch {' '.join(path)} --help ended with {done.exit_code}")
    lines = (line.rstrip() for line in done.stdout.strip().splitlines())
    return "".join(f"{line}\n" for line in lines)


def main() -> None:
    """Write the page, or compare it."""
    text = reference()
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit(f"{PAGE.name} is not what --help says: `make docs` writes it anew")


if __name__ == "__main__":
    main()
