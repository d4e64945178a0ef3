"""All that a wrapped command started, and how it is ended.

`run` is the subreaper of its descendants: whatever forks twice, changes its group or its session
becomes a child of `run` when its parent dies, so a walk over parent pids finds all of them.
Whatever was there before CMD was started (a daemon that `run` launched) is left alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

#: how long processes may take to go after SIGKILL before they are given up (uninterruptible I/O)
KILL_PATIENCE_S = 3.0
_STEP_S = 0.01


def descendants(root: int, spared: Iterable[int] = ()) -> list[int]:
    """Pids of all living processes below `root`, parents first, without zombies.

    The trees that hang on a pid of `spared` are left out.
    """
    children = _children()
    left_out = frozenset(spared)
    found: list[int] = []
    queue = [root]
    while queue:
        below = [pid for pid in children.get(queue.pop(), ()) if pid not in left_out]
        found += below
        queue += below
    return found


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for pid, parent in _parents().items():
        children.setdefault(parent, []).append(pid)
    return children


def _parents() -> Mapping[int, int]:
    """Parent of each process that is alive: {pid: ppid}."""
    if sys.platform != "linux":
        return _parents_by_ps()
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            read = _state_and_parent(entry)
            if read is not None and read[0] not in "ZX":
                parents[int(entry.name)] = read[1]
    return parents


def _state_and_parent(process: Path) -> tuple[str, int] | None:
    try:
        stat = (process / "stat").read_bytes()
    except OSError:
        return None
    # a process can put blanks and brackets into its name: the fields begin after the last one
    fields = stat[stat.rfind(b")") + 2 :].split()
    return fields[0].decode("ascii"), int(fields[1])


def _parents_by_ps() -> Mapping[int, int]:
    lines = subprocess.run(
        ["ps", "-axo", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    rows = (line.split() for line in lines)
    return {int(pid): int(parent) for pid, parent, stat in rows if not stat.startswith("Z")}


def is_below(pid: int, root: int) -> bool:
    """Whether process `pid` descends from `root`."""
    parents = _parents()
    while pid > 1 and pid != root:
        pid = parents.get(pid, 0)
    return pid == root


def end_all(
    find: Callable[[], list[int]], reap: Callable[[], None], grace_s: float
) -> tuple[int, int]:
    """End what `find` finds: SIGTERM, `grace_s` seconds, SIGSTOP and SIGKILL until none is left.

    `reap` is called between the looks. Returns how many there were at first, and how many are
    left at the end (another user's, or stuck in the kernel).
    """
    first = find()
    _signal(first, signal.SIGTERM)
    # a stopped process takes its SIGTERM only once it goes on
    _signal(first, signal.SIGCONT)
    asked = set(first)
    deadline = time.monotonic() + grace_s
    while (alive := _look(find, reap)) and time.monotonic() < deadline:
        late = [pid for pid in alive if pid not in asked]
        _signal(late, signal.SIGTERM)
        asked.update(late)
        time.sleep(_STEP_S)
    deadline = time.monotonic() + KILL_PATIENCE_S
    while alive and time.monotonic() < deadline:
        # stopped first, all of them: what runs on while its siblings die can fork a new one
        _signal(alive, signal.SIGSTOP)
        _signal(find(), signal.SIGKILL)
        time.sleep(_STEP_S)
        alive = _look(find, reap)
    return len(first), len(alive)


def _look(find: Callable[[], list[int]], reap: Callable[[], None]) -> list[int]:
    reap()
    return find()


def _signal(pids: Iterable[int], signum: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, signum)
        except (ProcessLookupError, PermissionError):
            continue
