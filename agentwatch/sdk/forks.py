"""Locks that a fork leaves open: one that another thread held would be held in the child for good,
as that thread is not there to let go of it.
"""

from __future__ import annotations

import os
import threading
import weakref


class ForkLock:
    """A lock that is free in a process that has just begun as a fork."""

    def __init__(self) -> None:
        self.renew()
        _locks.add(self)

    def renew(self) -> None:
        """Nobody holds it."""
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_locks: weakref.WeakSet[ForkLock] = weakref.WeakSet()


def _renew_all() -> None:
    for lock in list(_locks):
        lock.renew()


os.register_at_fork(after_in_child=_renew_all)
