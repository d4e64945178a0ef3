"""Places on a call's way where a test can have the daemon die; off, they cost one empty call.

AGENTWATCH_FAILPOINTS names a file that says `POINT` or `POINT:N`: the serving process that finds
it at its start is killed the N-th time (default: the first) that a call comes to that point. The
file is removed first, so that the process that comes after it lives.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

VARIABLE = "AGENTWATCH_FAILPOINTS"

#: in the order in which a call comes to them; `chunk` once for each piece of an answer
POINTS = (
    "before_hold",
    "after_hold",
    "after_written",
    "before_send",
    "after_head",
    "chunk",
    "before_settle",
    "after_settle",
)


def _nothing(point: str) -> None:
    """Nobody wants to die here."""


#: called with the name of each point that a call comes to
at: Callable[[str], None] = _nothing


def arm() -> None:
    """Read what this process is to die of, once, at its start. Raises ValueError for a point that
    there is not: a test that waits for it would wait for ever."""
    global at
    name = os.environ.get(VARIABLE)
    if not name or not Path(name).exists():
        return
    point, _, count = Path(name).read_text().strip().partition(":")
    if point not in POINTS:
        raise ValueError(f"no such failpoint: {point!r}")
    at = _Deadly(Path(name), point, int(count or 1))


class _Deadly:
    def __init__(self, file: Path, point: str, count: int) -> None:
        self._file = file
        self._point = point
        self._left = count

    def __call__(self, point: str) -> None:
        if point != self._point:
            return
        self._left -= 1
        if self._left == 0:
            self._file.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
