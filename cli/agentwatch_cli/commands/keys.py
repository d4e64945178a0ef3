"""`agentwatch keys`: provider keys and AgentWatch keys. A value is never shown, but for the one
time when an AgentWatch key is issued."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from agentwatch.errors import AgentWatchError, DaemonUnavailable, UsageError
from agentwatch_cli.output import Column, emit_json, emit_rows, note

if TYPE_CHECKING:
    from agentwatch.keyfile import KeyFile
    from agentwatch.settings import Settings

_STDIN_MAX_CHARS = 8_192

Name = Annotated[str, typer.Argument(metavar="NAME")]

#: how long a daemon may take to see that the key file changed, and how often it is asked
_SEEN_WITHIN_S = 3.0
_ASK_EVERY_S = 0.1


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    keys = typer.Typer(no_args_is_help=True, help="Provider keys and AgentWatch keys.")
    keys.command("set", context_settings={"allow_extra_args": True})(set_key)
    keys.command()(issue)
    keys.command("ls")(ls)
    keys.command()(rm)
    app.add_typer(keys, name="keys")


def _file() -> KeyFile:
    from agentwatch.keyfile import KeyFile

    return KeyFile(_settings().paths.keys_file)


def _settings() -> Settings:
    from agentwatch.settings import load_settings

    return load_settings()


def _refuse_inside() -> None:
    from agentwatch_cli.launch import refuse_inside

    refuse_inside("change keys")


def set_key(context: typer.Context, name: Name) -> None:
    """Keep the key of provider NAME; it is read from standard input, or asked for unseen."""
    _refuse_inside()
    if context.args:
        raise UsageError(
            "a key is not given as an argument, where others can read it and the shell keeps it: "
            f"`agentwatch keys set {name}` asks for it, or reads it from standard input"
        )
    file = _file()
    file.set_provider(name, _read_value(name), time.time(), _settings().provider_names)
    _await_daemon(name)
    note(f"the key of {name} is kept in {file.path}; a running daemon uses it within a second")


def _await_daemon(name: str) -> None:
    """Return once a daemon that runs knows a key of this provider: what is typed next may call."""
    from agentwatch.settings import load_settings
    from agentwatch_cli import launch

    settings, deadline = load_settings(), time.monotonic() + _SEEN_WITHIN_S
    with contextlib.suppress(DaemonUnavailable):
        while time.monotonic() < deadline:
            if name in launch.status(settings).get("providers", ()):
                return
            time.sleep(_ASK_EVERY_S)


def _read_value(name: str) -> str:
    if sys.stdin.isatty():
        import getpass

        return getpass.getpass(f"key of {name} (not shown): ")
    return sys.stdin.read(_STDIN_MAX_CHARS)


def issue(name: Name) -> None:
    """Make an AgentWatch key called NAME and print it, for the only time."""
    _refuse_inside()
    key = _file().issue(name, time.time())
    sys.stdout.write(key + "\n")
    note("keep it now: only its digest is stored, and it can't be shown again")


def ls(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """List the names of the keys in the key file, and of those that the daemon has from elsewhere;
    never their values."""
    ring = _file().read()
    rows: list[tuple[str, str, float | None]] = [
        ("provider", name, key.set_at) for name, key in sorted(ring.providers.items())
    ]
    rows += [("agentwatch", name, key.created_at) for name, key in sorted(ring.agentwatch.items())]
    rows += [("provider", name, None) for name in _known_to_daemon() if name not in ring.providers]
    if as_json:
        named = [{"name": name, "kind": kind, "created_at": at} for kind, name, at in rows]
        emit_json({"keys": named})
        return
    emit_rows(
        (Column("name"), Column("kind"), Column("since")),
        [(name, kind, _since(at)) for kind, name, at in rows],
        empty="no keys yet: `agentwatch keys set openai`",
    )


def _known_to_daemon() -> list[str]:
    """The providers that a running daemon has a key for, wherever it is from."""
    from agentwatch_cli import launch

    settings = _settings()
    keyless = {name for name in settings.own_providers if not settings.provider(name).needs_key}
    try:
        return sorted(set(launch.status(settings).get("providers", ())) - keyless)
    except AgentWatchError:
        return []


def _since(seconds: float | None) -> str:
    if seconds is None:
        return "from the daemon's environment or credentials"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def rm(name: Name) -> None:
    """Forget the key called NAME."""
    _refuse_inside()
    if not _file().remove(name):
        raise AgentWatchError(f"there is no key {name!r}: `agentwatch keys ls` shows them")
    note(f"the key {name} is forgotten")
