"""One connection to a daemon, and the one question at a time that is asked on it: in frames over
the Unix socket (the format is daemon/frames.py's), in hand-written HTTP/1.1 at the port.

Read is what the daemon writes, and no more: all else is an OSError, as a broken connection is.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

from agentwatch.errors import UsageError

#: a socket's path, or host and port
Address = str | tuple[str, int]

_LENGTH = struct.Struct("!I")
_HEAD = struct.Struct("!IH")
_LONGEST_QUESTION = (1 << 24) - 1
_LONGEST_ANSWER = 1 << 28
_LONGEST_HEAD = 65_536
_CREDENTIALS = struct.Struct("3i")


class Said(NamedTuple):
    """An answer of the control path."""

    status: int
    body: dict[str, Any]


class Unheard(ConnectionError):
    """The connection ended, and nobody can have heard the question."""


def line_to(address: Address, timeout_s: float) -> Line:
    """A new connection. Raises OSError."""
    if isinstance(address, str):
        return FrameLine(address, timeout_s)
    return HttpLine(address, timeout_s)


class Line(ABC):
    """What both kinds have in common. All of it raises OSError where the connection breaks."""

    def __init__(self, sock: socket.socket, address: Address, timeout_s: float) -> None:
        #: another question may follow
        self.reusable = True
        self._sock = sock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        sock.settimeout(timeout_s)
        try:
            sock.connect(address)
        except BaseException:
            sock.close()
            raise

    def stands(self, timeout_s: float) -> bool:
        """Whether nothing has come on it since it was last used, not even its end. Then it may be
        used for one more question, each step of which may take so long."""
        if self.has_something(0):
            return False
        self._sock.settimeout(timeout_s)
        return True

    @abstractmethod
    def send(
        self, method: str, path: str, body: Mapping[str, Any] | None, credential: str | None
    ) -> None:
        """Ask. Raises UsageError for what is too long."""

    @abstractmethod
    def receive(self) -> Said:
        """The answer."""

    def has_something(self, timeout_s: float) -> bool:
        """Whether an answer, or the connection's end, has come by then."""
        return bool(self._poll.poll(timeout_s * 1000))

    def close(self) -> None:
        """Let go of it."""
        self._sock.close()

    def _more(self) -> bytes:
        more = self._sock.recv(65_536)
        if not more:
            raise ConnectionError("the daemon closed the connection")
        return more

    def _whole(self, data: bytes, length: int) -> bytes:
        """`data`, and what else there must come to make it so long."""
        if len(data) >= length:
            return data
        whole = bytearray(data)
        while len(whole) < length:
            whole += self._more()
        return bytes(whole)


class FrameLine(Line):
    """Frames over the Unix socket. The kernel tells of a peer that went without having read the
    question, so that it can be asked again: by a broken pipe, or a reset."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__(socket.socket(socket.AF_UNIX), path, timeout_s)
        try:
            _check_owner(self._sock, path)
        except BaseException:
            self._sock.close()
            raise

    def send(
        self, method: str, path: str, body: Mapping[str, Any] | None, credential: str | None
    ) -> None:
        data = json.dumps((method, path, body, credential)).encode()
        if len(data) > _LONGEST_QUESTION:
            raise UsageError("what the daemon is told is over 16 MB")
        try:
            self._sock.sendall(_LENGTH.pack(len(data)) + data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Unheard("the daemon closed the connection") from error

    def receive(self) -> Said:
        try:
            data = self._whole(self._more(), _HEAD.size)
        except ConnectionResetError as error:
            raise Unheard("the daemon closed the connection") from error
        length, status = _HEAD.unpack_from(data)
        if length > _LONGEST_ANSWER:
            raise _no_daemon()
        data = self._whole(data, _LENGTH.size + length)
        return Said(status, _object(data[_HEAD.size : _LENGTH.size + length]))


class HttpLine(Line):
    """HTTP/1.1 at the port."""

    def __init__(self, address: tuple[str, int], timeout_s: float) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(socket.socket(family), address, timeout_s)
        self._host = f" HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\n"

    def send(
        self, method: str, path: str, body: Mapping[str, Any] | None, credential: str | None
    ) -> None:
        head = method + " " + path + self._host
        if credential:
            head += "Authorization: Bearer " + credential + "\r\n"
        data = b""
        if body is not None:
            data = json.dumps(body).encode()
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        self._sock.sendall(head.encode("latin-1") + b"\r\n" + data)

    def receive(self) -> Said:
        data = self._more()
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) > _LONGEST_HEAD:
                raise _no_daemon()
            data += self._more()
        status, length = self._head(data[:end])
        body = self._whole(data[end + 4 :], length)
        return Said(status, _object(body))

    def _head(self, head: bytes) -> tuple[int, int]:
        first, *lines = head.split(b"\r\n")
        named = dict(line.lower().split(b":", 1) for line in lines if b":" in line)
        self.reusable = named.get(b"connection", b"").strip() != b"close"
        try:
            return int(first.split(b" ", 2)[1]), int(named[b"content-length"])
        except (IndexError, KeyError, ValueError):
            raise _no_daemon() from None


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise _no_daemon()
    return told


def _no_daemon() -> ConnectionError:
    return ConnectionError("what answers there is no daemon of ours")


def _check_owner(sock: socket.socket, path: str) -> None:
    """Somebody else's daemon would see what is asked."""
    uid = os.lstat(path).st_uid
    if sys.platform == "linux":
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        uid = _CREDENTIALS.unpack(raw)[1]
    if uid != os.getuid():
        raise PermissionError(f"the socket {path} belongs to another user")
