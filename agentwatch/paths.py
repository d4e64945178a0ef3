"""Where a home's files live, and the privacy of folders and files.

`AGENTWATCH_HOME` is one folder for everything; without it the platform's own folders are used.
A Unix socket's path may have some 107 bytes at most: a home deeper than that gets its socket in
a short folder, under a name derived from the home.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agentwatch.errors import SettingsError

#: sun_path has 108 bytes on Linux and 104 on macOS, one of them for the final NUL
SOCKET_PATH_LIMIT = 103

#: names by which a folder is known to be ours, so that it may be closed to others unasked
_OURS = frozenset(
    {
        "config.toml",
        "prices.toml",
        "keys.json",
        "ledger.sqlite3",
        "alerts.sqlite3",
        "telemetry.sqlite3",
        "agentwatch.lock",
        "daemon.json",
    }
)


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Every file of one home. Nothing is made by looking: see `prepare`."""

    config_file: Path
    prices_file: Path
    keys_file: Path
    state_dir: Path
    ledger: Path
    alerts: Path
    telemetry: Path
    lock: Path
    daemon_file: Path
    log: Path
    socket: Path
    cache_dir: Path
    #: what calls cost that went out while the daemon was away
    spool: Path
    #: the socket lies elsewhere than asked, as its path would have been too long
    socket_moved: bool = False

    def prepare(self) -> None:
        """Make the folders (0700). Raises SettingsError for one that is not private to us."""
        for folder in dict.fromkeys((self.state_dir, self.config_file.parent, self.cache_dir)):
            private_folder(folder)
        if not self.socket.parent.exists() or self.socket_moved:
            private_folder(self.socket.parent)


def private_folder(folder: Path) -> None:
    """Make `folder` with mode 0700, or close one of ours that others may enter.

    Raises SettingsError where it is no folder, belongs to somebody else, or is open to others
    and holds files that are not ours (AGENTWATCH_HOME=/tmp must not close /tmp).
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except (FileExistsError, NotADirectoryError):
        raise SettingsError(f"{folder} is not a folder: move it, or set AGENTWATCH_HOME") from None
    except OSError as error:
        raise SettingsError(f"{folder} can't be used: {error.strerror}") from None
    if found.st_uid != os.geteuid():
        raise SettingsError(
            f"{folder} belongs to another user (uid {found.st_uid}): set AGENTWATCH_HOME to a "
            "folder of your own"
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        _close(folder)


def write_private(path: Path, content: bytes) -> None:
    """Replace a file in one step, durably; only this user may read it, at every instant."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _close(folder: Path) -> None:
    names = {entry.name for entry in folder.iterdir()}
    # a home in which only prices were looked at so far
    if names - {"cache"} and not names & _OURS:
        raise SettingsError(
            f"{folder} is open to other users and holds files that are not AgentWatch's: "
            f"`chmod 700 {folder}`, or set AGENTWATCH_HOME to a folder of its own"
        )
    folder.chmod(0o700)


def find_paths(environ: Mapping[str, str]) -> Paths:
    """The paths that this environment means. Raises SettingsError for an unusable override."""
    home = environ.get("AGENTWATCH_HOME")
    if home:
        root = Path(home).expanduser().absolute()
        config = state = runtime = root
        cache = root / "cache"
    else:
        config, state, cache = _platform_folders()
        base = _runtime_base(environ)
        runtime = base / "agentwatch" if base else state
    socket, moved = _socket_path(environ, runtime, state)
    return Paths(
        config_file=config / "config.toml",
        prices_file=config / "prices.toml",
        keys_file=state / "keys.json",
        state_dir=state,
        ledger=state / "ledger.sqlite3",
        alerts=state / "alerts.sqlite3",
        telemetry=state / "telemetry.sqlite3",
        lock=state / "agentwatch.lock",
        daemon_file=state / "daemon.json",
        log=state / "daemon.log",
        socket=socket,
        cache_dir=cache,
        spool=state / "spool",
        socket_moved=moved,
    )


def _platform_folders() -> tuple[Path, Path, Path]:
    from platformdirs import PlatformDirs

    dirs = PlatformDirs("agentwatch", appauthor=False)
    return dirs.user_config_path, dirs.user_state_path, dirs.user_cache_path


def _runtime_base(environ: Mapping[str, str]) -> Path | None:
    """The login's runtime folder. The same with and without XDG_RUNTIME_DIR (cron, `su`): one
    user's shells must all find one socket."""
    if sys.platform != "linux":
        return None
    for candidate in (environ.get("XDG_RUNTIME_DIR"), f"/run/user/{os.geteuid()}"):
        if candidate and _is_our_folder(Path(candidate)):
            return Path(candidate)
    return None


def _is_our_folder(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        found = folder.stat()
        return (
            folder.is_absolute()
            and stat.S_ISDIR(found.st_mode)
            and found.st_uid == os.geteuid()
            and not stat.S_IMODE(found.st_mode) & 0o022
        )
    return False


def _socket_path(environ: Mapping[str, str], runtime: Path, state: Path) -> tuple[Path, bool]:
    override = environ.get("AGENTWATCH_SOCKET")
    if override:
        path = Path(override).expanduser().absolute()
        if _too_long(path):
            raise SettingsError(
                f"AGENTWATCH_SOCKET is longer than the {SOCKET_PATH_LIMIT} bytes that a Unix "
                "socket's path may have: choose a shorter one"
            )
        return path, False
    path = runtime / "agentwatch.sock"
    if not _too_long(path):
        return path, False
    return _short_socket(environ, state), True


def _too_long(path: Path) -> bool:
    return len(os.fsencode(path)) > SOCKET_PATH_LIMIT


def _short_socket(environ: Mapping[str, str], state: Path) -> Path:
    """Each home has its own name; the folder is private, so that nobody can sit on the name."""
    name = f"{hashlib.sha256(os.fsencode(state)).hexdigest()[:16]}.sock"
    base = _runtime_base(environ)
    if base and not _too_long(base / "agentwatch" / name):
        return base / "agentwatch" / name
    per_user = f"agentwatch-{os.geteuid()}"
    candidate = Path(tempfile.gettempdir()) / per_user / name
    return Path("/tmp") / per_user / name if _too_long(candidate) else candidate  # noqa: S108
