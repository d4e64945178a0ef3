"""The daemon's listening sockets: made once, by the supervisor, or handed over by systemd.

They stay open while the process that serves is replaced, so that a call that comes meanwhile
waits in the backlog and is not refused.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from pathlib import Path

from agentwatch.errors import AgentWatchError, SettingsError

#: as many calls as may wait while the serving process is replaced (the kernel has its own bound)
BACKLOG = 4096

_FIRST_SYSTEMD_FD = 3


class Listening:
    """The loopback port and the Unix socket, open."""

    def __init__(
        self, port: socket.socket, unix: socket.socket, path: Path, *, bound_here: bool
    ) -> None:
        self.port_socket = port
        self.unix_socket = unix
        self.path = path
        self._bound_here = bound_here

    @property
    def port(self) -> int:
        """The number of the port, also where any free one was asked for."""
        return int(self.port_socket.getsockname()[1])

    def keep_reachable(self) -> bool:
        """Bind the Unix socket again where its file was removed (a runtime folder goes with the
        last login); whether that was so. Its descriptor is another one then."""
        if not self._bound_here or self.path.exists():
            return False
        fresh = _bind_unix(self.path)
        self.unix_socket.close()
        self.unix_socket = fresh
        return True

    def close(self) -> None:
        """Close both, and remove the socket's file if we made it."""
        self.port_socket.close()
        self.unix_socket.close()
        if self._bound_here:
            self.path.unlink(missing_ok=True)


def open_listening(port: int, path: Path) -> Listening:
    """Take systemd's sockets, and bind what it did not hand over.

    Only who holds the home's lock may call this: a socket file that nobody serves is replaced.
    Raises SettingsError for an address that can't be, AgentWatchError for one that is taken.
    """
    given_port, given_unix = _from_systemd()
    port_socket = given_port or _bind_port(port)
    try:
        unix_socket = given_unix or _bind_unix(path)
    except BaseException:
        port_socket.close()
        raise
    at = Path(os.fsdecode(unix_socket.getsockname()))
    return Listening(port_socket, unix_socket, at, bound_here=given_unix is None)


def _bind_port(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise _port_problem(port, error) from None
    return made


def _port_problem(port: int, error: OSError) -> AgentWatchError:
    if error.errno == errno.EADDRINUSE:
        why = "is taken by another program"
    elif error.errno in (errno.EACCES, errno.EPERM):
        why = "may not be opened by this user"
    else:
        why = f"can't be opened ({error.strerror})"
    return AgentWatchError(
        f"port {port} {why}: choose another with --port or AGENTWATCH_PORT (0: any free one)"
    )


def _bind_unix(path: Path) -> socket.socket:
    _clear_stale(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # the file must never be there with a wider mode, not for an instant
    before = os.umask(0o177)
    try:
        made.bind(os.fspath(path))
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise AgentWatchError(f"the socket {path} can't be made: {error.strerror}") from None
    finally:
        os.umask(before)
    return made


def _clear_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise AgentWatchError(f"the socket {path} can't be made: {error.strerror}") from None
    if not stat.S_ISSOCK(mode):
        raise SettingsError(f"{path} is there and is no socket: move it, or set AGENTWATCH_SOCKET")
    if _answers(path):
        raise SettingsError(
            f"another daemon, of another AGENTWATCH_HOME, serves {path}: set another "
            "AGENTWATCH_SOCKET for one of the two"
        )
    path.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True


def _from_systemd() -> tuple[socket.socket | None, socket.socket | None]:
    """(port, unix) as systemd handed them over, told apart by their family."""
    count = _handed_over()
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"):
        os.environ.pop(name, None)
    port = unix = None
    for descriptor in range(_FIRST_SYSTEMD_FD, _FIRST_SYSTEMD_FD + count):
        os.set_inheritable(descriptor, False)
        given = socket.socket(fileno=descriptor)
        if given.family == socket.AF_UNIX and unix is None:
            unix = given
        elif given.family == socket.AF_INET and port is None:
            port = _loopback_only(given)
        else:
            raise SettingsError(
                "the socket unit hands over a socket too many: one 127.0.0.1 port, one Unix socket"
            )
    return port, unix


def _handed_over() -> int:
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return 0
    count = os.environ.get("LISTEN_FDS", "")
    return int(count) if count.isdecimal() and len(count) < 4 else 0


def _loopback_only(given: socket.socket) -> socket.socket:
    if not ipaddress.ip_address(given.getsockname()[0]).is_loopback:
        raise SettingsError("the socket unit's port is not on 127.0.0.1: other machines could call")
    return given
