"""Sessions that end with their program: those without an id of its own that its clients opened.

One that was named is meant to be opened again, and stays. One that was not is closed when the
program exits; or once nothing can call on it any more, with the next one that is opened, so that
a server that makes a client for each request leaves no heap of them. What was spent to its end
stays as it is, and so does what a fork knows of: who goes on with it is not known. All this is
done as well as it can be: it delays no exit, and raises nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from agentwatch.sdk.door import Door
    from agentwatch.sdk.session import Session

#: what an exit is delayed at most, in seconds
PATIENCE_S = 0.25


class _Left(NamedTuple):
    id: str
    token: str
    door: Door

    def close(self, timeout_s: float) -> None:
        # whatever it is: the program is elsewhere already
        with contextlib.suppress(Exception):
            path = f"/v1/sessions/{self.id}/close"
            self.door.ask("POST", path, {}, self.token, timeout_s=timeout_s)


_open: dict[str, _Left] = {}
#: of sessions that nothing leads to any more
_over: deque[_Left] = deque()


def opened(session: Session, token: str) -> None:
    """This session ends with its program."""
    _open[session.id] = _Left(session.id, token, session.door)
    weakref.finalize(session, _gone, session.id).atexit = False


def stays(session_id: str) -> None:
    """This session is not to be closed, or is already."""
    _open.pop(session_id, None)


def _gone(session_id: str) -> None:
    """Anywhere, at any time: nothing may be asked from here."""
    left = _open.pop(session_id, None)
    if left is not None:
        _over.append(left)


def close_over(but: str) -> None:
    """Close those that nothing leads to; the id that is about to be opened again is one that
    somebody has kept."""
    while _over:
        with contextlib.suppress(IndexError):
            left = _over.popleft()
            if left.id != but:
                left.close(PATIENCE_S)


def _close_all() -> None:
    until = time.monotonic() + PATIENCE_S
    for left in (*_over, *_open.values()):
        rest_s = until - time.monotonic()
        if rest_s <= 0:
            break
        left.close(rest_s)


def _forget() -> None:
    _open.clear()
    _over.clear()


atexit.register(_close_all)
os.register_at_fork(before=_forget)
