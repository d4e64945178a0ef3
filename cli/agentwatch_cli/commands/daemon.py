"""`agentwatch up`, `down`, `restart`, `status`, `logs`: the daemon as a process."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from agentwatch_cli.output import emit_json, harmless, note, say

if TYPE_CHECKING:
    from agentwatch.settings import Settings

#: the shape of `status --json` where no daemon runs: the same keys, so that scripts need no test
NOT_RUNNING: dict[str, Any] = {
    "running": False,
    "pid": None,
    "port": None,
    "socket": None,
    "version": None,
    "state_url": None,
    "started_at": None,
    "sessions": 0,
    "fail_open": {},
}

_FOLLOW_S = 0.2
_CHUNK = 65_536

Port = Annotated[
    int | None, typer.Option("--port", help="Data port on 127.0.0.1; 0: any free one.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(up)
    app.command()(down)
    app.command()(restart)
    app.command()(status)
    app.command()(logs)


def _settings(port: int | None = None) -> Settings:
    from agentwatch.settings import load_settings

    return load_settings({"port": port})


def up(
    port: Port = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay in this terminal; for service managers.")
    ] = False,
) -> None:
    """Start the daemon, and return once it serves."""
    from agentwatch_cli import launch

    settings = _settings(port)
    if foreground:
        _become_daemon(settings)
    started = launch.ensure_daemon(settings)
    about = launch.status(settings)
    verb = "serves" if started else "runs already"
    note(f"the daemon {verb}: http://127.0.0.1:{about['port']} (pid {about['pid']})")
    if port and port != about["port"]:
        note(f"it stays on port {about['port']}: `agentwatch down` first to move it to {port}")


def _become_daemon(settings: Settings) -> None:
    import os

    from agentwatch_cli import launch

    launch.refuse_inside("start the daemon")
    command = launch.daemon_command(settings)
    os.execv(command[0], command)  # noqa: S606 - our own interpreter, no shell


def down() -> None:
    """End the daemon, letting calls end first; returns once it is gone."""
    from agentwatch_cli import launch

    launch.refuse_inside("end the daemon")
    ended = launch.stop_daemon(launch.settings_anyway())
    note("the daemon has ended" if ended else "no daemon is running")


def restart(port: Port = None) -> None:
    """Replace the process that serves; calls that come meanwhile wait, none is refused.

    The configuration and the key file are read again. Keys that `up` found in its environment
    stay as they were.
    """
    from agentwatch import __version__
    from agentwatch_cli import launch

    launch.refuse_inside("restart the daemon")
    settings = _checked_settings(port)
    verb = launch.restart_daemon(settings, __version__)
    about = launch.status(settings)
    note(f"the daemon was {verb}: http://127.0.0.1:{about['port']} (pid {about['pid']})")


def _checked_settings(port: int | None) -> Settings:
    """The settings, where a new process can serve by them. Raises AgentWatchError else, so that
    the old one is left alone."""
    from agentwatch.daemonfile import lock_held
    from agentwatch.errors import AgentWatchError, SettingsError
    from agentwatch.paths import find_paths
    from agentwatch_cli import launch

    try:
        settings = _settings(port)
        launch.check_configuration(settings)
    except SettingsError as error:
        import os

        if not lock_held(find_paths(os.environ).lock):
            raise
        raise AgentWatchError(f"{error}. The daemon goes on by its old configuration") from None
    return settings


def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Tell whether the daemon runs, and where. Exit code 1 if it does not."""
    from agentwatch.errors import DaemonUnavailable
    from agentwatch_cli import launch

    settings = launch.settings_anyway()
    try:
        about = {**NOT_RUNNING, **launch.status(settings), "running": True}
    except DaemonUnavailable as error:
        _tell_not_running(str(error), as_json=as_json)
        raise typer.Exit(1) from None
    if as_json:
        emit_json(about)
    else:
        _show(about, settings)


def _tell_not_running(why: str, *, as_json: bool) -> None:
    if as_json:
        emit_json(NOT_RUNNING)
    else:
        note(why)


def _show(about: dict[str, Any], settings: Settings) -> None:
    from agentwatch.daemonfile import read_running
    from agentwatch_cli.views import local_time

    since = local_time(about["started_at"])
    say(f"running     pid {about['pid']}, version {about['version']}")
    say(f"port        http://127.0.0.1:{about['port']}")
    moved = " (the home's own path is too long for a socket)" if settings.paths.socket_moved else ""
    say(f"socket      {about['socket']}{moved}")
    say(f"state       {about['state_url']}")
    say(f"since       {since}")
    say(f"sessions    {about['sessions']}")
    say(f"fail-open   {_causes(about['fail_open'])} since {since}")
    running = read_running(settings.paths.daemon_file)
    if running is None or not running.supervisor.alive():
        note("its supervisor is gone: `agentwatch restart` gives it one")


def _causes(passes: object) -> str:
    if not isinstance(passes, dict) or not passes:
        return "none"
    return ", ".join(f"{cause} {count}" for cause, count in sorted(passes.items()))


def logs(
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as it grows.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="The last so many.")] = 50,
) -> None:
    """Show the daemon's log."""
    from agentwatch_cli import launch

    path = launch.settings_anyway().paths.log
    if not path.exists() and not follow:
        note(f"there is no log yet ({path})")
        return
    for line in _tail(path, lines):
        say(line)
    if follow:
        for line in _grow(path):
            say(line)
            sys.stdout.flush()


def _tail(path: Path, count: int) -> list[str]:
    """The last `count` lines, read from the end: a log may have megabytes."""
    if not path.exists() or count == 0:
        return []
    with path.open("rb") as file:
        file.seek(0, 2)
        left, data = file.tell(), b""
        while left and data.count(b"\n") <= count:
            step = min(_CHUNK, left)
            left -= step
            file.seek(left)
            data = file.read(step) + data
    return [_text(line) for line in data.splitlines()[-count:]]


def _text(line: bytes) -> str:
    return harmless(line.decode("utf-8", "replace"))


def _grow(path: Path) -> Iterator[str]:
    """Lines as they are written, also when the file is replaced; without end."""
    position = path.stat().st_size if path.exists() else 0
    rest = b""
    while True:
        if path.exists():
            if path.stat().st_size < position:
                position, rest = 0, b""
            with path.open("rb") as file:
                position, chunk = _read_on(file, position)
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (_text(line) for line in whole)
        time.sleep(_FOLLOW_S)


def _read_on(file: BinaryIO, position: int) -> tuple[int, bytes]:
    file.seek(position)
    chunk = file.read()
    return position + len(chunk), chunk
