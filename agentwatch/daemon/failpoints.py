"""Places on a call's way where a test can have the daemon die; off, they cost one empty call.

AGENTWATCH_FAILPOINTS names a file of lines `POINT` or `POINT:N`: the serving process that finds it
at its start is killed the N-th time (default: the first) that a call comes to its first line's
point. The line is removed first, so that the process that comes after it dies of the next; with
the last line the file goes, and the next process lives.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

VARIABLE = "AGENTWATCH_FAILPOINTS"

#: in the order in which a call comes to them; `chunk` once for each piece of an answer, and
#: `after_extend` where one goes on past its hold
POINTS = (
    "before_hold",
    "after_hold",
    "after_written",
    "before_send",
    "after_head",
    "chunk",
    "after_extend",
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
    line, *others = Path(name).read_text().split()
    point, _, count = line.partition(":")
    if point not in POINTS:
        raise ValueError(f"no such failpoint: {point!r}")
    at = _Deadly(Path(name), point, int(count or 1), others)


class _Deadly:
    def __init__(self, file: Path, point: str, count: int, others: list[str]) -> None:
        self._file = file
        self._point = point
        self._left = count
        self._others = others

    def __call__(self, point: str) -> None:
        if point != self._point:
            return
        self._left -= 1
        if self._left == 0:
            self._leave_others()
            os.kill(os.getpid(), signal.SIGKILL)

    def _leave_others(self) -> None:
        if not self._others:
            self._file.unlink()
            return
        shorter = self._file.with_suffix(".next")
        shorter.write_text("\n".join(self._others))
        shorter.replace(self._file)
