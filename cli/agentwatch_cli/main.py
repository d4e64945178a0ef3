"""The frame of the command line: which commands there are, how help groups them, how errors end.

Each module of `commands` has `register(app)`. They are imported at every start, so their own
imports stay light: what is heavy (rich, HTTP, SQLite) is imported inside a command.

Errors are one line of text on stderr, with `--json` too: stdout carries the answer or nothing,
and the exit code tells a script what to think (0 done, 1 failed, 2 wrong usage; `run` has its
own, see the contract).
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import agentwatch_cli.commands
from agentwatch.errors import AgentWatchError
from agentwatch_cli.output import note, say

INTERRUPTED = 130

#: how --help groups the commands; one that is in none is listed at the end
GROUPS: dict[str, tuple[str, ...]] = {
    "Run an agent": ("run", "env", "demo"),
    "The daemon": ("up", "down", "restart", "status", "logs", "doctor"),
    "Sessions and money": ("sessions", "budgets", "alerts", "report", "purge"),
    "Keys and prices": ("keys", "prices"),
}


class GroupedCommands(TyperGroup):
    """Lists the commands under the headings of GROUPS."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the groups, the others after them."""
        names = [name for group in GROUPS.values() for name in group if name in self.commands]
        return names + sorted(name for name in self.commands if name not in names)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section a group."""
        left = dict.fromkeys(self.list_commands(ctx))
        for heading, members in GROUPS.items():
            self._section(formatter, heading, [name for name in members if name in left])
            for name in members:
                left.pop(name, None)
        self._section(formatter, "More", list(left))

    def invoke(self, ctx: Any) -> Any:
        """As the parent's; what it says of wrong usage is put into words for people."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if isinstance(message := getattr(error, "message", None), str):
                error.message = _plainly(message, getattr(error, "option_name", ""))  # type: ignore[attr-defined]
            raise

    def _section(self, formatter: Any, heading: str, names: list[str]) -> None:
        shown = [(name, self.commands[name]) for name in names if not self.commands[name].hidden]
        if not shown:
            return
        width = formatter.width - 16
        with formatter.section(heading):
            rows = [(name.ljust(9), cmd.get_short_help_str(width)) for name, cmd in shown]
            formatter.write_dl(rows)


def _plainly(message: str, option: object) -> str:
    if str(option)[1:2].isdigit():
        return f"{message} (an amount can't be negative)"
    return message.removeprefix("Value error, ")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"agentwatch {version('agentwatch')}")
        raise typer.Exit


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        cls=GroupedCommands,
        name="agentwatch",
        rich_markup_mode=None,
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def agentwatch(
        version: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")
        ] = False,
    ) -> None:
        """The spending limit that holds: `agentwatch run --budget 2.00 -- CMD`."""

    @app.command("version", hidden=True)
    def version() -> None:
        """Show the version, for who looks for it here."""
        _version(True)

    for module in sorted(pkgutil.iter_modules(agentwatch_cli.commands.__path__), key=_by_name):
        name = f"{agentwatch_cli.commands.__name__}.{module.name}"
        importlib.import_module(name).register(app)
    return app


def _by_name(module: pkgutil.ModuleInfo) -> str:
    return module.name


def main() -> None:
    """The program `agentwatch`. Ends the process with the command's exit code."""
    try:
        build()(prog_name="agentwatch")
    except AgentWatchError as error:
        note(str(error) or type(error).__name__)
        _leave(error.exit_code)
    except KeyboardInterrupt:
        _leave(INTERRUPTED)
    except BrokenPipeError:
        _leave_quietly()


def _leave(code: int) -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_quietly()
    sys.exit(code)


def _leave_quietly() -> None:
    """The reader went away (`| head`): nothing is left to say, at exit neither."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)


if __name__ == "__main__":
    main()
