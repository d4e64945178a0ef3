"""The mark that every wrapped process bears, and can't rub off.

`run` lowers the hard limit of an rlimit that Linux no longer uses (RLIMIT_LOCKS, since 2.4.25) in
the child before it becomes CMD. Children inherit it, whatever they do to their environment, their
group or their parent; an unprivileged process can lower a hard limit but never raise it. So the
daemon can tell that a peer comes out of a wrapped session even when it was forked twice and
started clean.

What it does not hold: a process with CAP_SYS_RESOURCE (root), and one that somebody unmarked was
asked to start (cron, a running tmux server, `systemd-run --user`).
"""

from __future__ import annotations

import sys
from pathlib import Path

if sys.platform == "linux":
    import resource

#: RLIMIT_LOCKS of <asm-generic/resource.h>; Python's `resource` does not name it
RLIMIT_LOCKS = 10
MARK = 4141

_LINE = "Max file locks"


def mark_self() -> None:
    """Mark this process and all that it will start, for good. Elsewhere than Linux: nothing.

    Is called between fork and exec: it allocates next to nothing and takes no lock.
    """
    if sys.platform == "linux":
        _soft, hard = resource.getrlimit(RLIMIT_LOCKS)
        limit = MARK if hard == resource.RLIM_INFINITY else min(hard, MARK)
        resource.setrlimit(RLIMIT_LOCKS, (limit, limit))


def is_marked(pid: int) -> bool:
    """Whether process `pid` came out of a wrapped session. Elsewhere than Linux: False.

    A limit under the mark's counts, as a marked process can still go lower. A process that is
    gone, or can't be read, counts too: it must not lose its mark by leaving its connection to a
    child.
    """
    if sys.platform != "linux":
        return False
    try:
        text = Path(f"/proc/{pid}/limits").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    return _hard_limit(text) <= MARK


def _hard_limit(limits: str) -> float:
    for line in limits.splitlines():
        if line.startswith(_LINE):
            hard = line.removeprefix(_LINE).split()[1]
            return float("inf") if hard == "unlimited" else int(hard)
    return 0
