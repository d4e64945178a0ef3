"""`python -m agentwatch.daemon`: the supervisor's program. Runs in the foreground.

One per home: a second one says that the first runs, and ends with 0. Exit codes: 0 ended or
runs already, 1 failed, 78 the configuration is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import time
from collections.abc import Sequence

from msgspec.structs import replace

from agentwatch import __version__
from agentwatch.daemon import hygiene, log
from agentwatch.daemon.handover import Handover
from agentwatch.daemon.listening import Listening, open_listening
from agentwatch.daemon.supervisor import (
    CHILD,
    EXIT_CONFIG,
    EXIT_DONE,
    EXIT_FAILED,
    Plan,
    Supervisor,
)
from agentwatch.daemonfile import (
    Process,
    Running,
    config_files,
    read_running,
    take_lock,
    write_running,
)
from agentwatch.errors import AgentWatchError, SettingsError
from agentwatch.mark import is_marked
from agentwatch.paths import find_paths
from agentwatch.settings import Settings, load_settings
from agentwatch.upstreams import own_key_variables

logger = logging.getLogger("agentwatch.daemon")


def main(argv: Sequence[str] | None = None, command: Sequence[str] = CHILD) -> int:
    """Start and supervise; the exit code. `command` is what is started to serve."""
    hygiene.not_dumpable()
    keys = hygiene.take_keys_from_environment()
    os.umask(0o077)
    arguments = _arguments(argv)
    try:
        if not arguments.check:
            _refuse_inside()
        handover = Handover(keys, config_files(find_paths(os.environ)), time.time())
        settings = load_settings({"port": arguments.port}, read=handover.read)
        own = hygiene.take_keys_from_environment(own_key_variables(settings.own_providers))
        handover = replace(handover, keys={**own, **keys})
        log.configure(settings.log.level, handover.keys.values())
        if arguments.check:
            return _check(settings, handover)
        settings.paths.prepare()
        return _locked(settings, handover, command)
    except SettingsError as error:
        return _fail(error, EXIT_CONFIG)
    except AgentWatchError as error:
        return _fail(error, EXIT_FAILED)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="agentwatch.daemon", description=__doc__)
    parser.add_argument("--port", type=int, help="the data port on 127.0.0.1; 0: any free one")
    parser.add_argument("--check", action="store_true", help="only say what a start would end of")
    return parser.parse_args(argv)


def _check(settings: Settings, handover: Handover) -> int:
    """All of the configuration that a process ends of before it serves. Raises SettingsError."""
    from agentwatch.daemon.channels import channels_of
    from agentwatch.pricing import load_book

    paths = settings.paths
    load_book(
        # looking makes no folder
        paths.cache_dir if paths.cache_dir.exists() else None,
        paths.prices_file,
        upstreams={name: settings.upstream(name) for name in settings.provider_names},
        read=handover.read,
    )
    channels_of(settings.alerts)
    return EXIT_DONE


def _fail(error: Exception, code: int) -> int:
    print(f"agentwatch: {log.scrub(str(error))}", file=sys.stderr)  # noqa: T201 - its terminal
    return code


def _reread(handover: Handover) -> Handover:
    """The configuration as it is now; as it was where it can't be read."""
    try:
        return Handover(handover.keys, config_files(find_paths(os.environ)), time.time())
    except SettingsError as error:
        logger.error("the configuration stays as it was: %s", error)
        return handover


def _refuse_inside() -> None:
    """A daemon that a wrapped agent started would go by what the agent wrote for it."""
    if is_marked(os.getpid()):
        raise AgentWatchError("from inside a wrapped session no daemon can be started")


def _locked(settings: Settings, handover: Handover, command: Sequence[str]) -> int:
    lock_fd = take_lock(settings.paths.lock)
    if lock_fd is None:
        print(f"agentwatch: {_runs_already(settings)}", file=sys.stderr)  # noqa: T201
        return EXIT_DONE
    with contextlib.closing(open_listening(settings.port, settings.paths.socket)) as listening:
        try:
            return _supervise(settings, handover, command, lock_fd, listening)
        finally:
            settings.paths.daemon_file.unlink(missing_ok=True)


def _runs_already(settings: Settings) -> str:
    running = read_running(settings.paths.daemon_file)
    if running is None:
        return "a daemon of this home is just starting"
    pid = (running.serving or running.supervisor).pid
    return f"the daemon runs already (pid {pid}, port {running.port})"


def _supervise(
    settings: Settings,
    handover: Handover,
    command: Sequence[str],
    lock_fd: int,
    listening: Listening,
) -> int:
    hygiene.raise_file_limit()
    about = Running(
        version=__version__,
        supervisor=Process.of(os.getpid()),
        port=listening.port,
        socket=str(listening.path),
        started_at=time.time(),
        config_at=handover.read_at,
    )
    write_running(settings.paths.daemon_file, about)

    def told(pid: int, config_at: float) -> None:
        now = replace(about, serving=Process.of(pid), config_at=config_at)
        # a full disk must not end the daemon: what the file tells can be asked on the socket
        with contextlib.suppress(OSError):
            write_running(settings.paths.daemon_file, now)

    plan = Plan(
        handover=handover,
        reread=_reread,
        lock_fd=lock_fd,
        stop_grace_s=settings.daemon.stop_grace_s,
        command=command,
        on_ready=told,
        # a terminal that is closed hangs up: the daemon that ran in it ends with it
        hangup_stops=sys.stdin is not None and sys.stdin.isatty(),
    )
    return Supervisor(plan, listening).run()


if __name__ == "__main__":
    sys.exit(main())
