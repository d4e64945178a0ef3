"""One daemon's address, the lines to it that are kept open, and whether anybody answers there.

A socket that nobody listens on is known for dead at once. A daemon that takes connections and says
nothing is waited for once: its question stays open, and whoever comes later looks whether it was
answered meanwhile, and waits no more.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

from agentwatch import draining
from agentwatch.errors import DaemonUnavailable
from agentwatch.sdk.line import Address, Line, Said, Unheard, line_to

T = TypeVar("T")

#: an answer that came so recently proves that the daemon is there
PROVEN_S = 0.5
#: what a control call may take: the ledger may have to wait for its disk
ASK_TIMEOUT_S = 15.0
#: lines that are kept open for the next questions
_MOST_IDLE = 8
#: method, path, body, credential
Question = tuple[str, str, Mapping[str, Any] | None, str | None]
_PING: Question = ("GET", "/v1/healthz", None, None)
#: processes that may go one after the other before the question is heard
_MOST_TRIES = 4


class Door:
    """A daemon's address: a socket's path, or host and port. Safe in threads and across forks."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._pid = os.getpid()
        self._forget()

    def _forget(self) -> None:
        self._idle: deque[Line] = deque(maxlen=_MOST_IDLE)
        self._lock = threading.Lock()
        self._heard_at = -PROVEN_S
        #: a question that was not answered in time
        self._open_question: Line | None = None

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

    def doubt(self) -> None:
        """What was heard proves nothing any more: a connection ended and nobody had read it."""
        self._heard_at = -PROVEN_S

    def silence(self, timeout_s: float) -> str | None:
        """Why nobody can be expected to answer; None: somebody does."""
        if self.is_proven:
            return None
        with self._lock:
            if self.is_proven:
                return None
            try:
                return _until_heard(lambda: self._ask_for_a_sign(timeout_s))
            except OSError as error:
                return _why(error)

    def _ask_for_a_sign(self, timeout_s: float) -> str | None:
        line, self._open_question = self._open_question, None
        if line is None:
            line = self._line(timeout_s)
            line.send(*_PING)
        else:
            timeout_s = 0.0
        if not line.has_something(timeout_s) and not self._is_answered_next(line):
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

    def _is_answered_next(self, line: Line) -> bool:
        """Whether the next process has answered, where the one that serves lets its calls end."""
        if not isinstance(self.address, str):
            return False
        is_replaced = False
        while (left_s := draining.lasts_until(self.address) - time.time()) > 0:
            is_replaced = True
            if line.has_something(min(left_s, _A_MOMENT_S)):
                return True
        return is_replaced and line.has_something(_FIRST_ANSWER_S)

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
        question = (method, path, body, credential)
        try:
            return _until_heard(lambda: self._asked(question, timeout_s))
        except OSError as error:
            raise DaemonUnavailable(_why(error)) from error

    def _asked(self, question: Question, timeout_s: float) -> Said:
        line = self._line(timeout_s)
        try:
            line.send(*question)
            said = line.receive()
        except BaseException:
            line.close()
            raise
        self._keep(line)
        return said

    def _line(self, timeout_s: float) -> Line:
        """An idle line that still stands, or a new one."""
        while self._idle:
            with contextlib.suppress(IndexError):
                line = self._idle.pop()
                if line.stands(timeout_s):
                    return line
                line.close()
        return line_to(self.address, timeout_s)

    def _keep(self, line: Line) -> None:
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
#: what it may take to answer those who have waited for it
_FIRST_ANSWER_S = 2.0


@cache
def door(address: Address) -> Door:
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


def _until_heard(ask: Callable[[], T]) -> T:
    """What `ask` returns or raises, once somebody has heard it: a process that is about to go may
    close a line that a question is on."""
    for _ in range(_MOST_TRIES - 1):
        with contextlib.suppress(Unheard):
            return ask()
    return ask()


def _why(error: OSError) -> str:
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return "no daemon is running"
    if isinstance(error, TimeoutError):
        return "the daemon does not answer in time"
    return error.strerror or str(error) or type(error).__name__
