"""What was typed after `run`: is it a command, and were its options meant for it?"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from agentwatch_cli.run_process import CANNOT_RUN, NOT_FOUND, CommandError


def option_behind(command: Sequence[str], own: Collection[str]) -> str | None:
    """The first of `own` options that stands among the command's, up to a `--` of its own."""
    for word in command[1:]:
        if word == "--":
            return None
        if word.partition("=")[0] in own:
            return word.partition("=")[0]
    return None


def words_for(option: str, name: str) -> str:
    """What to do about it."""
    return (
        f"{option} stands behind the command, and is taken for one of its own: put {option} "
        f"before the command, or `--` before {name} where it is meant so"
    )


def check_command(name: str) -> None:
    """Tell a command that can't be started before anything is opened for it. Raises CommandError,
    with what may have been meant."""
    if shutil.which(name) is not None:
        return
    there = Path(name).is_file()
    if os.sep in name and Path(name).exists():
        meant = f" (`python {name}`?)" if there and name.endswith(".py") else ""
        raise CommandError(f"{name}: is no program that can be run{meant}", CANNOT_RUN)
    raise CommandError(f"{name}: command not found{_meant(name, there)}", NOT_FOUND)


def _meant(name: str, there: bool) -> str:
    if there:
        typed = f"python ./{name}" if name.endswith(".py") else f"./{name}"
        return f", but there is a file of that name here (`{typed}`?)"
    first, _, rest = name.partition(" ")
    if rest and shutil.which(first) is not None:
        return f": it was quoted whole, and is taken for one name (`{name}` without quotes?)"
    return ""
