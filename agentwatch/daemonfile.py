"""daemon.json and the lock: how a process that is not the daemon knows whether one runs.

The lock alone decides: it is held by the supervisor and, as an inherited file, by the process
that serves, so it is free exactly when both are gone. The file only tells whom to talk to; it is
checked against the processes' start times, since process numbers come round again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from agentwatch.errors import SettingsError
from agentwatch.paths import Paths, write_private

#: the most that one file of the configuration may have
FILE_BYTES = 300_000


class Process(Struct, frozen=True, kw_only=True):
    """A process, told apart from a later one of the same number by when it started."""

    pid: int
    #: clock ticks since boot; None where the platform doesn't tell
    born: int | None = None

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this number now."""
        found = _stat(pid)
        return cls(pid=pid, born=found[1] if found else None)

    def alive(self) -> bool:
        """Whether it still runs (a zombie does not)."""
        if self.pid <= 0:
            return False
        if sys.platform == "linux":
            found = _stat(self.pid)
            return found is not None and found[0] not in "ZX" and self.born in (None, found[1])
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return self.born is None
        return True

    def signal(self, number: int) -> bool:
        """Send it a signal; False where it is gone."""
        if not self.alive():
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False


class Running(Struct, frozen=True, kw_only=True):
    """What daemon.json tells of the daemon. `started_at`, and `config_at`, when the configuration
    that it goes by was read: seconds since 1970."""

    schema_version: int = 1
    version: str
    supervisor: Process
    serving: Process | None = None
    port: int
    socket: str
    started_at: float
    config_at: float = 0.0


def config_files(paths: Paths) -> dict[str, bytes]:
    """The files of the configuration that are there. Raises SettingsError."""
    found = {}
    for path in (paths.config_file, paths.prices_file):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise SettingsError(f"{path} can't be read: {error.strerror}") from None
        if len(content) > FILE_BYTES:
            raise SettingsError(f"{path} is longer than {FILE_BYTES:,} bytes")
        found[str(path)] = content
    return found


def write_running(path: Path, running: Running) -> None:
    """Replace daemon.json."""
    write_private(path, msgspec.json.encode(running))


def read_running(path: Path) -> Running | None:
    """What daemon.json says; None where it is not there or makes no sense."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Running)
    except (OSError, msgspec.MsgspecError):
        return None


def take_lock(path: Path, patience_s: float = 0.3) -> int | None:
    """The descriptor of the home's lock, now ours; None where a daemon has it.

    It tries for `patience_s`: `lock_held` takes the lock for an instant, too.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    deadline = time.monotonic() + patience_s
    while not _try_lock(descriptor):
        if time.monotonic() >= deadline:
            os.close(descriptor)
            return None
        time.sleep(0.01)
    return descriptor


def lock_held(path: Path) -> bool:
    """Whether a daemon of this home runs, be it on its way up or down."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stat(pid: int) -> tuple[str, int] | None:
    """State and start of a process, from /proc; None where there is none (or no /proc)."""
    try:
        # the command's name may hold blanks and brackets: what counts is behind the last one
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return fields[0].decode("ascii"), int(fields[19])
    except (OSError, IndexError, ValueError):
        return None
