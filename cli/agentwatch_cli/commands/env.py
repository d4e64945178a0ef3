"""`agentwatch env`: the variables of a session as lines for the shell."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from agentwatch_cli.output import note

USAGE = (
    'these lines hold a token, and are for the shell: eval "$(agentwatch env --budget 2)" || exit'
)


@contextmanager
def _failure_as_lines() -> Iterator[None]:
    """`eval` of nothing succeeds, and what comes next would run ungoverned: where there are no
    variables, the line is `false`."""
    try:
        yield
    except BaseException as error:
        # --help ends with 0
        if getattr(error, "exit_code", 1) != 0 and not sys.stdout.isatty():
            sys.stdout.write("false\n")
        raise


class EnvCommand(TyperCommand):
    """Wrong usage and failures are told to the shell as well."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """As the parent's."""
        with _failure_as_lines():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """As the parent's."""
        with _failure_as_lines():
            return super().invoke(ctx)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("env", cls=EnvCommand)(env)


def env(
    budget: Annotated[
        str | None, typer.Option(metavar="USD", help="The most that may be spent, like 2.00.")
    ] = None,
    session: Annotated[
        str | None, typer.Option(metavar="ID", help="Use this session, opened where it is not.")
    ] = None,
    project: Annotated[str | None, typer.Option(help="Charge this project as well.")] = None,
    team: Annotated[str | None, typer.Option(help="Charge this team as well.")] = None,
) -> None:
    """Print a session's variables: eval "$(agentwatch env --budget 2)" || exit.

    Where it fails, the line is `false`, so that eval fails as well.
    """
    if sys.stdout.isatty():
        note(USAGE)
        raise typer.Exit(2)
    sys.stdout.write(_lines(budget, session, project, team))


def _lines(budget: str | None, session: str | None, project: str | None, team: str | None) -> str:
    from agentwatch.core.money import parse_usd, to_usd
    from agentwatch.settings import load_settings
    from agentwatch_cli import run_environment as environment
    from agentwatch_cli.client import Control
    from agentwatch_cli.commands.run import tell_missing_keys
    from agentwatch_cli.launch import ensure_daemon
    from agentwatch_cli.run_session import Asked, open_session

    usd = None if budget is None else to_usd(parse_usd(budget, "--budget"))
    settings = load_settings()
    ensure_daemon(settings)
    asked = Asked(session_id=session, budget_usd=usd, project=project, team=team)
    home = os.environ.get("AGENTWATCH_HOME")
    opened = open_session(Control(settings), asked, wrapper=False, home=home)
    tell_missing_keys(opened)
    gemini = environment.write_gemini_settings(settings.paths.state_dir, os.environ)
    wanted = environment.child_environment(os.environ, opened.access, gemini).variables
    name = opened.access.session_id
    note(f"session {name} is open: `agentwatch sessions close {name}` ends it")
    return shell_lines(os.environ, wanted)


def shell_lines(environ: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """POSIX shell lines that turn `environ` into `wanted`."""
    from agentwatch_cli.run_environment import changes

    to_set, to_unset = changes(environ, wanted)
    lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(to_set.items())]
    lines += [f"unset {name}" for name in to_unset if name.isidentifier()]
    return "\n".join(lines) + "\n"
