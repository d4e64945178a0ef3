"""Something that answers in a daemon's or a provider's place: connections that a test serves as it
likes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path

OK = b'\x00\x00\x00\x11\x00\xc8{"status":"ok"}'
#: the same at the port
OK_HTTP = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"status":"ok"}'


class Listener:
    """A socket whose connections are handed to `serve`, each in a thread."""

    def __init__(self, path: Path | None, ok: bytes = OK) -> None:
        self.ok = ok
        self.serve: Callable[[socket.socket], object] = self.answer
        self.connections = self.closed = 0
        self.answers = threading.Event()
        self.answers.set()
        self._sock = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self._sock.bind(str(path) if path else ("127.0.0.1", 0))
        self._sock.listen()
        self.address = self._sock.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._sock.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self.serve(connection)
        self.closed += 1

    def answer(self, connection: socket.socket) -> None:
        while connection.recv(65_536):
            self.answers.wait(20)
            connection.sendall(self.ok)

    def close(self) -> None:
        self.answers.set()
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
