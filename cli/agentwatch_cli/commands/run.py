"""`agentwatch run`: a command under a session's ceiling."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand

from agentwatch.errors import AgentWatchError, UsageError
from agentwatch_cli.output import emit_json, harmless, note

STOPPED_BY_US = 124
OWN_FAILURE = 125
NO_DAEMON_WORDS = "what was spent is not known here: `agentwatch sessions show {}` will tell"


class Mode(StrEnum):
    """How a ceiling is kept."""

    enforce = "enforce"
    soft = "soft"
    observe = "observe"


class OnExceeded(StrEnum):
    """What a refusal for want of money does to the command."""

    block = "block"
    kill = "kill"


class OnAnomaly(StrEnum):
    """What an alert does to the session."""

    alert = "alert"
    pause = "pause"
    kill = "kill"


class RunCommand(TyperCommand):
    """Wrong usage of `run` is 125: 2 may be what the command itself ends with."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """As the parent's, with another exit code in what it raises."""
        try:
            return super().make_context(*args, **extra)
        except Exception as error:
            if hasattr(error, "exit_code") and error.exit_code == 2:
                error.exit_code = OWN_FAILURE
            raise

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the parent's, which leaves the options behind CMD to it: of one of ours that may be
        a slip. Raises UsageError where CMD would run without a ceiling."""
        typed = list(args)
        left = list(super().parse_args(ctx, args))
        command = list(ctx.params.get("command") or ())
        if typed[: len(typed) - len(command)][-1:] != ["--"] and not ctx.resilient_parsing:
            self._tell_option_behind(command, ctx.params)
        return left

    def _tell_option_behind(self, command: Sequence[str], given: Mapping[str, Any]) -> None:
        from agentwatch_cli.run_command_line import option_behind, words_for

        own = {name for each in self.params for name in (*each.opts, *each.secondary_opts)}
        option = option_behind(command, own)
        if option is None:
            return
        if given["budget"] is None and given["session"] is None:
            raise UsageError(words_for(option, command[0]))
        note(words_for(option, command[0]))


class Options(NamedTuple):
    """What was asked, beside the session itself."""

    on_exceeded: str = "block"
    report: str | None = None
    ci: bool = False
    as_json: bool = False


def register(app: typer.Typer) -> None:
    """Add the command."""
    settings = {"allow_interspersed_args": False, "help_option_names": ["-h", "--help"]}
    app.command("run", cls=RunCommand, context_settings=settings)(run)


def run(
    command: Annotated[list[str], typer.Argument(metavar="-- CMD ...", show_default=False)],
    budget: Annotated[
        str | None, typer.Option(metavar="USD", help="The most that it may spend, like 2.00.")
    ] = None,
    session: Annotated[
        str | None, typer.Option(metavar="ID", help="Charge this session; it is left open.")
    ] = None,
    project: Annotated[str | None, typer.Option(help="Charge this project as well.")] = None,
    team: Annotated[str | None, typer.Option(help="Charge this team as well.")] = None,
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="Refuse what might pass the ceiling; refuse once it is passed; count only."
        ),
    ] = None,
    on_exceeded: Annotated[
        OnExceeded, typer.Option(help="Refuse calls only, or end CMD as well.")
    ] = OnExceeded.block,
    on_anomaly: Annotated[
        OnAnomaly | None, typer.Option(help="What an alert does to the session.")
    ] = None,
    fail_open: Annotated[
        bool | None,
        typer.Option(
            "--fail-open/--fail-closed",
            show_default=False,
            help="Where the ledger can't be reached: let calls through, or refuse them.",
        ),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the report (.json .md .xml .html .txt)."),
    ] = None,
    ci: Annotated[
        bool, typer.Option("--ci", help="End with 124 where the budget was exceeded.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="The report on stdout, after CMD's own output.")
    ] = False,
) -> None:
    """Run CMD under a ceiling; print what was spent.

    Exit code: CMD's own; 124 the session was killed, or (with --on-exceeded kill or --ci) its
    budget was exceeded; 125 AgentWatch itself failed; 126 CMD can't be run; 127 it is not found.
    """
    from agentwatch.core.money import parse_usd, to_usd
    from agentwatch_cli.run_session import Asked

    options = Options(on_exceeded.value, report, ci, as_json)
    try:
        asked = Asked(
            session_id=session,
            budget_usd=None if budget is None else to_usd(parse_usd(budget, "--budget")),
            mode=mode and mode.value,
            project=project,
            team=team,
            on_anomaly=on_anomaly and on_anomaly.value,
            fail_open=fail_open,
        )
        code = _run(command, asked, options)
    except AgentWatchError as error:
        note(str(error))
        raise typer.Exit(_code_of(error)) from None
    if code < 0:
        from agentwatch_cli.run_process import die_of

        die_of(-code)
    raise typer.Exit(code if code >= 0 else 128 - code)


def _code_of(error: AgentWatchError) -> int:
    from agentwatch_cli.run_process import CommandError
    from agentwatch_cli.run_session import SessionOver

    if isinstance(error, SessionOver) and error.state == "killed":
        return STOPPED_BY_US
    return error.exit_code if isinstance(error, CommandError) else OWN_FAILURE


def _run(command: Sequence[str], asked: Any, options: Options) -> int:
    """The whole run: its exit code, or minus the signal that the command died of."""
    from agentwatch.settings import load_settings
    from agentwatch_cli.report_formats import form_of
    from agentwatch_cli.run_command_line import check_command
    from agentwatch_cli.run_process import WrappedCommand

    if options.report is not None:
        form_of(options.report)
        _check_folder(Path(options.report))
    check_command(command[0])
    settings = load_settings()
    opened, control = _open(settings, asked)
    try:
        argv, variables = _prepared(command, opened, settings)
        wrapped = WrappedCommand(argv, variables, grace_s=settings.run.kill_grace_s)
        wrapped.start()
    except BaseException:
        _abandon(control, opened)
        raise
    return _follow(wrapped, control, opened, options)


def _check_folder(report: Path) -> None:
    """Tell a report that can't be written before money is spent on it."""
    if not os.access(report.parent, os.W_OK | os.X_OK):
        raise AgentWatchError(f"--report {harmless(report)}: its folder can't be written to")


def _open(settings: Any, asked: Any) -> tuple[Any, Any]:
    from agentwatch_cli.client import Control
    from agentwatch_cli.run_daemon import ensure_daemon_apart
    from agentwatch_cli.run_session import join_outer, open_session, outer_session

    outer = outer_session(os.environ)
    if outer is not None:
        control = Control(settings)
        return join_outer(control, asked, outer, os.environ), control
    ensure_daemon_apart(settings)
    control = Control(settings)
    home = os.environ.get("AGENTWATCH_HOME")
    return open_session(control, asked, wrapper=True, home=home), control


def _prepared(
    command: Sequence[str], opened: Any, settings: Any
) -> tuple[list[str], Mapping[str, str]]:
    """The command line and environment that CMD is started with."""
    from agentwatch_cli import run_environment as environment

    variables = dict(os.environ)
    if not opened.nested:
        tell_missing_keys(opened)
        gemini = environment.write_gemini_settings(settings.paths.state_dir, os.environ)
        made = environment.child_environment(os.environ, opened.access, gemini)
        variables = made.variables
        if made.also_taken_out:
            names = ", ".join(made.also_taken_out)
            note(f"also taken out of its environment, as they hold a provider's key: {names}")
    argv, variables, warning = environment.adapt_command(command, variables)
    if warning is not None:
        note(warning)
    return argv, variables


def tell_missing_keys(opened: Any) -> None:
    """Say before the first call what would make it fail."""
    from agentwatch_cli.run_environment import missing_keys

    if opened.providers is not None:
        for words in missing_keys(os.environ, opened.providers):
            note(words)


def _abandon(control: Any, opened: Any) -> None:
    """Close the session of a command that never started."""
    from agentwatch_cli.client import session_path

    if opened.made:
        try:
            control.request("POST", session_path(opened.access.session_id, "close"))
        except AgentWatchError as error:
            note(f"session {opened.access.session_id} is still open: {error}")


def _follow(wrapped: Any, control: Any, opened: Any, options: Options) -> int:
    from agentwatch_cli.run_report import build_report, to_go_on
    from agentwatch_cli.run_session import finish_session
    from agentwatch_cli.run_watch import Watch

    watch = Watch(
        control,
        opened.access.session_id,
        wrapped.stop,
        kill_on_exceeded=options.on_exceeded == "kill",
    )
    watch.start()
    ending = wrapped.wait()
    watch.stop()
    _tell_ending(ending)
    try:
        session = finish_session(control, opened)
    except AgentWatchError as error:
        note(f"{error}; {NO_DAEMON_WORDS.format(opened.access.session_id)}")
        return _code_unreported(_exit_code(ending, {}, watch.exceeded, options), options)
    exceeded = watch.exceeded or session.get("state") == "exhausted"
    code = _exit_code(ending, session, exceeded, options)
    report = build_report(session, opened.before, code if code >= 0 else 128 - code)
    _tell_report(report, options)
    hint = to_go_on(report, exceeded=exceeded, closed=opened.made)
    if hint is not None and not opened.nested:
        note(hint)
    return code


def _code_unreported(code: int, options: Options) -> int:
    """A run whose end is not known is no success to who asked for its figures."""
    if code != 0 or not (options.ci or options.report):
        return code
    lost = "" if options.report is None else f", and {harmless(options.report)} was not written"
    note(f"the command ended well, but whether its budget held can't be told{lost}: 125")
    return OWN_FAILURE


def _tell_ending(ending: Any) -> None:
    if ending.verdict == "killed":
        note("the session was killed: its command was ended")
    elif ending.verdict == "exceeded":
        note("the budget is exceeded: its command was ended (--on-exceeded kill)")
    elif ending.left_behind:
        note(f"ended {ending.left_behind} background process(es) that the command left behind")
    if ending.unkillable:
        note(f"{ending.unkillable} process(es) could not be ended: another user's, or stuck")


def _exit_code(ending: Any, session: Mapping[str, Any], exceeded: bool, options: Options) -> int:
    asked_to_tell = options.ci or options.on_exceeded == "kill"
    if ending.verdict or session.get("state") == "killed" or (exceeded and asked_to_tell):
        return STOPPED_BY_US
    return int(ending.exit_code)


def _tell_report(report: Mapping[str, Any], options: Options) -> None:
    """The closing line, the warning where nothing was governed, and the reports asked for."""
    from agentwatch_cli.run_report import ci_line, closing_line, nothing_governed, stopped_for

    line, warning = closing_line(report), nothing_governed(report)
    for why in stopped_for(report):
        note(ci_line(why) if options.ci else why)
    note(ci_line(line) if options.ci else line)
    if warning is not None:
        note(warning)
    _write_reports(report, options)
    if options.as_json:
        emit_json(report)
        sys.stdout.flush()


def _write_reports(report: Mapping[str, Any], options: Options) -> None:
    from agentwatch_cli.report_formats import form_of, render

    try:
        if options.report is not None:
            text = render(report, form_of(options.report))
            Path(options.report).write_text(text, encoding="utf-8")
        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if options.ci and summary:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(render(report, "markdown"))
    except OSError as error:
        raise AgentWatchError(
            f"the report can't be written: {harmless(error.filename)}: {error.strerror}"
        ) from None
