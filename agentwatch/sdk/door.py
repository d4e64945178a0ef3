"""One daemon's address, asked by hand-written HTTP, and whether anybody answers there.

A socket that nobody listens on is known for dead at once. A daemon that takes connections and says
nothing is waited for once: its question stays open, and whoever comes later looks whether it was
answered meanwhile, and waits no more.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from agentwatch.errors import DaemonUnavailable

#: an answer that came so recently proves that the daemon is there
PROVEN_S = 0.5
#: what a control call may take: the ledger may have to wait for its disk
ASK_TIMEOUT_S = 15.0
#: lines that are kept open for the next questions
_MOST_IDLE = 8
_LONGEST_HEAD = 65_536
_PING = ("GET", "/v1/healthz")


class Said(NamedTuple):
    """An answer of the control path."""

    status: int
    body: dict[str, Any]


class Door:
    """A daemon's address: a socket's path, or host and port. Safe in threads and across forks."""

    def __init__(self, address: str | tuple[str, int]) -> None:
        self.address = address
        self._pid = os.getpid()
        self._forget()

    def _forget(self) -> None:
        self._idle: deque[_Line] = deque(maxlen=_MOST_IDLE)
        self._lock = threading.Lock()
        self._heard_at = -PROVEN_S
        #: a question that was not answered in time
        self._open_question: _Line | None = None

    def _same_process(self) -> None:
        """Lines that were inherited are the parent's."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._forget()

    # ---- is anybody there?

    @property
    def is_proven(self) -> bool:
        """Whether the daemon has just answered, so that `silence` needs no look."""
        self._same_process()
        return time.monotonic() - self._heard_at < PROVEN_S

    def heard(self) -> None:
        """The daemon has just answered, here or on another connection."""
        self._heard_at = time.monotonic()

    def silence(self, timeout_s: float) -> str | None:
        """Why nobody can be expected to answer; None: somebody does."""
        if self.is_proven:
            return None
        with self._lock:
            if self.is_proven:
                return None
            try:
                return self._ask_for_a_sign(timeout_s)
            except OSError as error:
                return _why(error)

    def _ask_for_a_sign(self, timeout_s: float) -> str | None:
        line, self._open_question = self._open_question, None
        if line is None:
            line = self._line(timeout_s)
            line.send(*_PING)
        else:
            timeout_s = 0.0
        if not line.has_something(timeout_s):
            self._open_question = line
            return f"the daemon does not answer on {self.shown}"
        try:
            line.receive()
        except OSError:
            line.close()
            if timeout_s:
                raise
            # the one that was asked has gone: another may have taken its place
            return self._ask_for_a_sign(_A_MOMENT_S)
        self._keep(line)
        return None

    # ---- questions

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        credential: str | None = None,
        timeout_s: float = ASK_TIMEOUT_S,
    ) -> Said:
        """One control call. Raises DaemonUnavailable."""
        self._same_process()
        line = None
        try:
            line = self._line(timeout_s)
            line.send(method, path, body, credential)
            status, data = line.receive()
        except OSError as error:
            if line is not None:
                line.close()
            raise DaemonUnavailable(_why(error)) from error
        self._keep(line)
        return Said(status, data)

    def _line(self, timeout_s: float) -> _Line:
        """An idle line that still stands, or a new one."""
        while self._idle:
            with contextlib.suppress(IndexError):
                line = self._idle.pop()
                if line.stands(timeout_s):
                    return line
                line.close()
        return _Line(self.address, timeout_s)

    def _keep(self, line: _Line) -> None:
        self.heard()
        if line.reusable and len(self._idle) < _MOST_IDLE:
            self._idle.append(line)
        else:
            line.close()

    @property
    def shown(self) -> str:
        """The address, for people."""
        return self.address if isinstance(self.address, str) else "{}:{}".format(*self.address)


#: another process serves within so long where one has gone
_A_MOMENT_S = 0.2


@cache
def door(address: str | tuple[str, int]) -> Door:
    """The door at this address: one a process, so that all clients know what one has seen."""
    return Door(address)


def find_door(environ: Mapping[str, str], origin: str | None) -> Door:
    """The door that this environment means, or the port that was named. Raises SettingsError."""
    if origin is not None:
        parts = urlsplit(origin)
        return door((parts.hostname or "", parts.port or 80))
    told = environ.get("AGENTWATCH_SOCKET")
    if told and len(os.fsencode(told)) < 100 and told.startswith("/"):
        return door(told)
    from agentwatch.paths import find_paths

    return door(str(find_paths(environ).socket))


class _Line:
    """One connection, and HTTP/1.1 on it by hand: of what the daemon sends, and nothing else."""

    def __init__(self, address: str | tuple[str, int], timeout_s: float) -> None:
        self.reusable = True
        if isinstance(address, str):
            self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            self._sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self._sock.settimeout(timeout_s)
        try:
            self._sock.connect(address)
            if isinstance(address, str):
                _check_owner(self._sock, address)
        except BaseException:
            self._sock.close()
            raise
        name = "agentwatch" if isinstance(address, str) else f"{address[0]}:{address[1]}"
        self._host = f" HTTP/1.1\r\nHost: {name}\r\n"

    def stands(self, timeout_s: float) -> bool:
        """Whether nothing has come on it since it was last used, not even its end."""
        try:
            self._sock.settimeout(0)
            self._sock.recv(1, socket.MSG_PEEK)
            return False
        except BlockingIOError:
            self._sock.settimeout(timeout_s)
            return True
        except OSError:
            return False

    def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        credential: str | None = None,
    ) -> None:
        head = method + " " + path + self._host
        if credential:
            head += "Authorization: Bearer " + credential + "\r\n"
        data = b""
        if body is not None:
            data = json.dumps(body).encode()
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        self._sock.sendall(head.encode("latin-1") + b"\r\n" + data)

    def has_something(self, timeout_s: float) -> bool:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def receive(self) -> tuple[int, dict[str, Any]]:
        """Status and JSON object of the answer. Raises OSError."""
        data = self._more(b"")
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) > _LONGEST_HEAD:
                raise ConnectionError("what answers there is no daemon of ours")
            data = self._more(data)
        status, length = self._head(data[:end])
        body = data[end + 4 :]
        while len(body) < length:
            body = self._more(body)
        try:
            told = json.loads(body)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise ConnectionError("what answers there is no daemon of ours")
        return status, told

    def _head(self, head: bytes) -> tuple[int, int]:
        first, *lines = head.split(b"\r\n")
        named = dict(line.lower().split(b":", 1) for line in lines if b":" in line)
        self.reusable = named.get(b"connection", b"").strip() != b"close"
        try:
            return int(first.split(b" ", 2)[1]), int(named[b"content-length"])
        except (IndexError, KeyError, ValueError):
            raise ConnectionError("what answers there is no daemon of ours") from None

    def _more(self, data: bytes) -> bytes:
        more = self._sock.recv(65_536)
        if not more:
            raise ConnectionError("the daemon closed the connection")
        return data + more if data else more

    def close(self) -> None:
        self._sock.close()


def _check_owner(sock: socket.socket, path: str) -> None:
    """Somebody else's daemon would see what is asked."""
    uid = os.lstat(path).st_uid
    if sys.platform == "linux":
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        uid = struct.unpack("3i", raw)[1]
    if uid != os.getuid():
        raise PermissionError(f"the socket {path} belongs to another user")


def _why(error: OSError) -> str:
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return "no daemon is running"
    if isinstance(error, TimeoutError):
        return "the daemon does not answer in time"
    return error.strerror or str(error) or type(error).__name__
