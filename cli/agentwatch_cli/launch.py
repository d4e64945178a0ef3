"""Starts, finds and ends the daemon's processes. It is no daemon code: it knows the daemon by its
program's name, its lock, daemon.json and the socket.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agentwatch.daemonfile import (
    Process,
    Running,
    lock_held,
    read_running,
)
from agentwatch.errors import AgentWatchError, DaemonUnavailable, SettingsError, UsageError
from agentwatch.settings import Settings, load_settings
from agentwatch_cli.client import Control
from agentwatch_cli.output import harmless, note

START_LIMIT_S = 15.0
#: beyond the daemon's own grace, until it is killed
STOP_MARGIN_S = 12.0
KILL_LIMIT_S = 5.0
LOG_MAX_BYTES = 10_000_000
_ASK_TIMEOUT_S = 5.0
#: it looks at its configuration first
_RESTART_TIMEOUT_S = 45.0
_POLL_S = 0.02
_TOLD_LIMIT_S = 1.0
_PROGRAM = (sys.executable, "-P", "-m", "agentwatch.daemon")
_FOR_PEOPLE = "agentwatch: "


def settings_anyway() -> Settings:
    """The settings, for who looks at what runs, or stops it: a slip in config.toml keeps nobody
    from that. One in a variable may mean another home, and raises SettingsError."""
    try:
        return load_settings()
    except SettingsError as error:
        settings = load_settings(read=lambda path: b"")
        note(str(error))
        return settings


def daemon_command(settings: Settings) -> list[str]:
    """The program of the supervisor, as these settings want it."""
    return [*_PROGRAM, "--port", str(settings.port)]


def check_configuration(settings: Settings) -> None:
    """Have the daemon's own program look at the configuration, while what serves goes on.

    Raises SettingsError, in the daemon's words, for what a new process would end of.
    """
    command = [*_PROGRAM, "--port", str(settings.port), "--check"]
    done = subprocess.run(
        command, capture_output=True, stdin=subprocess.DEVNULL, env=_environment(settings)
    )
    if done.returncode != 0:
        raise SettingsError(_gist(done.stderr.decode("utf-8", "replace").splitlines()))


def ensure_daemon(settings: Settings) -> bool:
    """Return once a daemon of this home serves; True if it had to be started.

    Raises DaemonUnavailable where it can't, with the last lines of its log.
    """
    if is_serving(settings, _ASK_TIMEOUT_S):
        return False
    limit_s = START_LIMIT_S
    if lock_held(settings.paths.lock):
        # it is being replaced, or is about to end: its calls may take their time
        limit_s += settings.daemon.stop_grace_s
    else:
        refuse_inside("start the daemon")
    with _alone(settings):
        return _start(settings, time.monotonic() + limit_s)


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """One at a time starts or ends this home's daemon. A start that came too late would else come
    up after the `down` that it was meant to be before."""
    settings.paths.prepare()
    path = settings.paths.lock.with_name("launch.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def refuse_inside(what: str) -> None:
    """Raise UsageError inside a wrapped session: an agent has no business to `what`."""
    if os.environ.get("AGENTWATCH_SESSION_TOKEN"):
        raise UsageError(f"not from inside a session: {what} from a shell outside of it")


def is_serving(settings: Settings, timeout_s: float) -> bool:
    """Whether a daemon answers on the socket."""
    try:
        Control(settings).request("GET", "/v1/healthz", timeout_s=timeout_s)
    except DaemonUnavailable:
        return False
    return True


def _start(settings: Settings, deadline: float) -> bool:
    if is_serving(settings, _ASK_TIMEOUT_S):
        return False
    log = settings.paths.log
    if not lock_held(settings.paths.lock):
        _rotate(log)
    before = log.stat().st_size if log.exists() else 0
    process = _spawn(settings)
    while time.monotonic() < deadline:
        if is_serving(settings, max(0.1, min(_ASK_TIMEOUT_S, deadline - time.monotonic()))):
            return True
        if process.poll() is not None:
            if process.returncode != 0:
                break
            # another one has the lock: it is coming up too, or about to end
            if not lock_held(settings.paths.lock):
                process = _spawn(settings)
        time.sleep(_POLL_S)
    raise _did_not_start(settings, process, before)


def _spawn(settings: Settings) -> subprocess.Popen[bytes]:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    log = os.open(settings.paths.log, flags, 0o600)
    try:
        return subprocess.Popen(
            daemon_command(settings),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
            env=_environment(settings),
        )
    finally:
        os.close(log)


def _environment(settings: Settings) -> dict[str, str]:
    """Ours, with the home's folders made absolute, as the daemon runs in /."""
    environ = dict(os.environ)
    if environ.get("AGENTWATCH_HOME"):
        environ["AGENTWATCH_HOME"] = str(settings.paths.state_dir)
    if environ.get("AGENTWATCH_SOCKET"):
        environ["AGENTWATCH_SOCKET"] = str(settings.paths.socket)
    return environ


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_MAX_BYTES:
        log.replace(log.with_name(log.name + ".1"))


def _did_not_start(
    settings: Settings, process: subprocess.Popen[bytes], before: int
) -> DaemonUnavailable:
    words = _gist(_log_since(settings.paths.log, before)) or "it said nothing"
    if process.returncode not in (None, 0):
        return DaemonUnavailable(f"the daemon did not start: {words}")
    return DaemonUnavailable(
        f"the daemon does not answer ({words}): look at `agentwatch logs`, "
        "then `agentwatch restart`"
    )


def _gist(said: list[str]) -> str:
    """The line that was meant for people; else the last ones, of a traceback only its end."""
    for_people = [line for line in said if line.startswith(_FOR_PEOPLE)]
    last = for_people[-1:] or [line.rpartition("\\n")[2] for line in said[-5:]]
    return " | ".join(harmless(line.removeprefix(_FOR_PEOPLE)) for line in last)


def _log_since(log: Path, offset: int) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(offset)
            return file.read(65_536).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def stop_daemon(settings: Settings) -> bool:
    """End the daemon, and return once it is gone; False where none ran.

    It lets calls end (`[daemon] stop_grace_s`); what is left after that is killed.
    """
    if not lock_held(settings.paths.lock):
        return False
    with _alone(settings):
        return _stop(settings)


def _stop(settings: Settings) -> bool:
    lock = settings.paths.lock
    if not lock_held(lock):
        return False
    processes = _processes(settings)
    if not processes:
        raise AgentWatchError(
            f"a daemon holds {lock}, but can't be found: end it by hand (`fuser {lock}`)"
        )

    def gone() -> bool:
        # where a service manager starts the next one at once, the lock is never seen free
        return not lock_held(lock) or not any(process.alive() for process in processes)

    # the supervisor ends the process that serves; without one, that process is told itself
    _signal_first(processes, signal.SIGTERM)
    if not _wait(gone, settings.daemon.stop_grace_s + STOP_MARGIN_S):
        for process in processes:
            process.signal(signal.SIGKILL)
        if not _wait(gone, KILL_LIMIT_S):
            raise AgentWatchError(f"the daemon does not end: `fuser {lock}` shows who holds it")
    return True


def _signal_first(processes: list[Process], number: int) -> None:
    for process in processes:
        if process.signal(number):
            # one that somebody stopped would never see it
            process.signal(signal.SIGCONT)
            return


def _processes(settings: Settings) -> list[Process]:
    """The supervisor and the process that serves, in that order, those that are alive."""
    running = _told(settings)
    known = [running.supervisor, running.serving] if running else []
    alive = [process for process in known if process is not None and process.alive()]
    return alive or _asked_process(settings)


def _told(settings: Settings) -> Running | None:
    """daemon.json; a process that answers already is in it a moment later."""
    path = settings.paths.daemon_file

    def complete() -> bool:
        running = read_running(path)
        return running is None or running.serving is not None or not running.supervisor.alive()

    _wait(complete, _TOLD_LIMIT_S)
    return read_running(path)


def _asked_process(settings: Settings) -> list[Process]:
    try:
        pid = status(settings).get("pid")
    except AgentWatchError:
        return []
    return [Process.of(pid)] if isinstance(pid, int) and pid > 1 else []


def status(settings: Settings) -> dict[str, Any]:
    """The daemon's own account of itself. Raises DaemonUnavailable."""
    return Control(settings).request("GET", "/v1/status")


def restart_daemon(settings: Settings, version: str) -> str:
    """Put a new process in the place of the one that serves: "started", "replaced" (the listening
    sockets stayed open) or "restarted" (they could not: another port, version, no supervisor).

    Raises AgentWatchError where it goes on by its old configuration, with what is wrong with the
    new one; DaemonUnavailable where nothing serves.
    """
    if not lock_held(settings.paths.lock):
        ensure_daemon(settings)
        return "started"
    running = _told(settings)
    if running is not None and _can_replace(running, settings, version):
        return _replace(settings, running)
    stop_daemon(settings)
    ensure_daemon(settings)
    return "restarted"


def _can_replace(running: Running, settings: Settings, version: str) -> bool:
    return (
        running.serving is not None
        and running.version == version
        and settings.port in (0, running.port)
        and running.supervisor.alive()
    )


def _replace(settings: Settings, running: Running) -> str:
    log = settings.paths.log
    before, reread = log.stat().st_size if log.exists() else 0, True
    try:
        Control(settings).request("POST", "/v1/restart", timeout_s=_RESTART_TIMEOUT_S)
    except DaemonUnavailable:
        # it does not answer: another takes its place, and goes by what it went by
        running.supervisor.signal(signal.SIGUSR1)
        reread = False
    running.supervisor.signal(signal.SIGCONT)

    def replaced() -> bool:
        now = read_running(settings.paths.daemon_file)
        return now is not None and now.serving not in (None, running.serving)

    patience_s = settings.daemon.stop_grace_s + STOP_MARGIN_S + START_LIMIT_S
    if not _wait(replaced, patience_s) or not is_serving(settings, _ASK_TIMEOUT_S):
        raise DaemonUnavailable("the daemon did not come back: look at `agentwatch logs`")
    now = read_running(settings.paths.daemon_file)
    if reread and now is not None and now.config_at == running.config_at:
        why = _gist(_log_since(log, before)) or "look at `agentwatch logs`"
        raise AgentWatchError(f"{why}. The daemon goes on by its old configuration")
    return "replaced"


def _wait(until: Callable[[], bool], patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while not until():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True
