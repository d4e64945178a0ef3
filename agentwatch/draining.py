"""A mark beside the daemon's socket while the process that serves lets its calls end: who calls
meanwhile waits for the next one, and does not take the silence for a daemon that hangs.

The mark is a file of nothing, and its time is when at the latest the next process serves. Times are
seconds since 1970.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def _mark(socket: str) -> Path:
    return Path(socket + ".draining")


def begin(socket: str, until: float) -> None:
    """From now on, and until then at the latest, nobody serves at this socket."""
    # without a mark callers wait less, and lose nothing else
    with contextlib.suppress(OSError):
        mark = _mark(socket)
        mark.touch(mode=0o600)
        os.utime(mark, (until, until))


def end(socket: str) -> None:
    """Somebody serves again."""
    with contextlib.suppress(OSError):
        _mark(socket).unlink()


def lasts_until(socket: str) -> float:
    """When the next process serves at the latest; 0 where none is waited for."""
    try:
        return _mark(socket).stat().st_mtime
    except OSError:
        return 0.0
