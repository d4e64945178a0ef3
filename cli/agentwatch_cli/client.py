"""The CLI's line to the daemon: JSON over HTTP on the Unix socket, standard library only.

The socket is trusted only where it belongs to this user: somebody else's daemon would be told
what to do, and would see what the agent asks. A process inside a wrapped session shows its
session's token with each call, so that it may read its own session; a person whose shell merely
has the variables of `agentwatch env` does not, and keeps a person's rights.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import quote

from agentwatch.core.ids import SESSION_ID
from agentwatch.errors import AgentWatchError, DaemonUnavailable, UsageError
from agentwatch.mark import is_marked

REQUEST_TIMEOUT_S = 15.0
#: a follower that hears nothing for so long asks again: the daemon may be gone without a word
FOLLOW_TIMEOUT_S = 60.0

NO_DAEMON = "no daemon is running: start it with `agentwatch up`"


class _Paths(Protocol):
    @property
    def socket(self) -> Path: ...


class HasSocket(Protocol):
    """What is needed of the settings: where the socket is."""

    @property
    def paths(self) -> _Paths: ...


class ControlError(AgentWatchError):
    """The daemon said no. `code` is its word for why, `status` the HTTP status."""

    def __init__(self, message: str, code: str, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class ControlUsageError(ControlError, UsageError):
    """The daemon could not make sense of what it was asked."""


def checked_session_id(session_id: str) -> str:
    """The id, if it can be one; UsageError else."""
    if SESSION_ID.fullmatch(session_id) is None:
        raise UsageError(
            "a session id is letters, digits and . _ : - (at most 128, a letter or digit first)"
        )
    return session_id


def session_path(session_id: str, verb: str = "") -> str:
    """The control path of one session, or of what is to be done to it."""
    path = "/v1/sessions/" + quote(checked_session_id(session_id), safe=":")
    return f"{path}/{verb}" if verb else path


class Control:
    """Asks the daemon of one home. Each request is a connection of its own."""

    def __init__(self, settings: HasSocket, *, token: str | None = None) -> None:
        self.socket_path = Path(settings.paths.socket)
        self._token = token or _own_token()

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> dict[str, Any]:
        """The answer's JSON object.

        Raises DaemonUnavailable where nobody answers, and ControlError (ControlUsageError for a
        400) with the daemon's own words where it says no.
        """
        connection = _UnixConnection(self.socket_path, timeout_s)
        try:
            response = self._send(connection, method, path, body)
            return _answer(response.status, _read_all(response))
        finally:
            connection.close()

    def lines(self, path: str, *, timeout_s: float = FOLLOW_TIMEOUT_S) -> Iterator[str]:
        """The lines of an answer that may be too long to be held.

        Raises as `request` does, and DaemonUnavailable where it breaks off.
        """
        connection = _UnixConnection(self.socket_path, timeout_s)
        try:
            response = self._send(connection, "GET", path, None, accept="application/x-ndjson")
            if response.status != http.client.OK:
                _answer(response.status, _read_all(response))
            while line := response.readline():
                yield line.decode().rstrip("\n")
        except (OSError, http.client.HTTPException) as error:
            raise DaemonUnavailable(_why_unreachable(error)) from error
        finally:
            connection.close()

    def events(self, path: str, *, timeout_s: float = FOLLOW_TIMEOUT_S) -> EventStream:
        """Server-sent events of `path`; the connection stands when this returns.

        Raises as `request` does.
        """
        connection = _UnixConnection(self.socket_path, timeout_s)
        try:
            response = self._send(connection, "GET", path, None, accept="text/event-stream")
            if response.status != http.client.OK:
                _answer(response.status, _read_all(response))
        except BaseException:
            connection.close()
            raise
        return EventStream(connection, response)

    def _send(
        self,
        connection: _UnixConnection,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        accept: str = "application/json",
    ) -> http.client.HTTPResponse:
        headers = {"Accept": accept}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body=data, headers=headers)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise DaemonUnavailable(_why_unreachable(error)) from error


class EventStream:
    """Events of one connection. Iterating ends when the daemon ends it."""

    def __init__(self, connection: _UnixConnection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Each event's JSON object. Raises DaemonUnavailable when the line breaks."""
        data: list[bytes] = []
        for line in self._lines():
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                event = _json_object(b"\n".join(data))
                data.clear()
                if event is not None:
                    yield event

    def _lines(self) -> Iterator[bytes]:
        while True:
            try:
                line = self._response.readline()
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise DaemonUnavailable("the daemon's event stream broke off") from error
            if not line:
                return
            yield line.rstrip(b"\r\n")

    def close(self) -> None:
        """End it; safe to call twice."""
        self._response.close()
        self._connection.close()

    def __enter__(self) -> EventStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over a Unix socket of this user's."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        _check_owner(self._path.lstat().st_uid, self._path)
        self.sock.connect(os.fspath(self._path))
        _check_owner(_serving_uid(self.sock), self._path)


def _own_token() -> str | None:
    """The token of the wrapped session that this process runs in."""
    wrapped = sys.platform != "linux" or is_marked(os.getpid())
    return os.environ.get("AGENTWATCH_SESSION_TOKEN") if wrapped else None


def _serving_uid(sock: socket.socket) -> int:
    """The uid of the process that listens; our own where the platform can't tell."""
    if sys.platform != "linux":
        return os.getuid()
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", raw)
    return int(uid)


def _check_owner(uid: int, path: Path) -> None:
    if uid != os.getuid():
        raise AgentWatchError(
            f"the socket {path} belongs to another user: set AGENTWATCH_HOME to a folder of yours"
        )


def _why_unreachable(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "the daemon does not answer: look at `agentwatch logs`, then `agentwatch restart`"
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError, NotADirectoryError)):
        return NO_DAEMON
    if isinstance(error, PermissionError):
        return "the daemon's socket can't be opened: it belongs to another user, or is walled off"
    return f"the daemon broke off ({type(error).__name__}): look at `agentwatch logs`"


def _read_all(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read()
    except (OSError, http.client.HTTPException) as error:
        raise DaemonUnavailable(_why_unreachable(error)) from error


def _answer(status: int, raw: bytes) -> dict[str, Any]:
    answer = _json_object(raw)
    if 200 <= status < 300:
        if answer is None and raw.strip():
            raise AgentWatchError("the daemon's answer is no JSON: is this its socket?")
        return answer or {}
    message, code = _said(answer, status)
    kind = ControlUsageError if status == http.client.BAD_REQUEST else ControlError
    raise kind(message, code, status)


def _said(answer: dict[str, Any] | None, status: int) -> tuple[str, str]:
    error = (answer or {}).get("error")
    if not isinstance(error, dict):
        return f"the daemon answered with HTTP {status}: look at `agentwatch logs`", "unknown"
    return str(error.get("message", f"HTTP {status}")), str(error.get("code", "unknown"))


def _json_object(raw: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(raw)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
