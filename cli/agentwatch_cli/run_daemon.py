"""Sees to it that a daemon serves, without becoming its ancestor: `run` ends all that descends
from it, and a daemon that it started must outlive it."""

from __future__ import annotations

import subprocess
import sys

from agentwatch.errors import DaemonUnavailable
from agentwatch.settings import Settings
from agentwatch_cli.launch import is_serving, refuse_inside

_ASK_TIMEOUT_S = 5.0
_START_LIMIT_S = 120.0


def ensure_daemon_apart(settings: Settings) -> None:
    """Return once a daemon of this home serves. Raises DaemonUnavailable where it can't.

    It is started by a process of its own that ends at once, so that the daemon becomes a child of
    init. Must come before we are a subreaper.
    """
    if is_serving(settings, _ASK_TIMEOUT_S):
        return
    refuse_inside("start the daemon")
    command = [sys.executable, "-P", "-m", "agentwatch_cli", "up"]
    started = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_START_LIMIT_S
    )
    if started.returncode != 0:
        words = started.stderr.strip().splitlines() or ["the daemon did not start"]
        raise DaemonUnavailable(words[-1].removeprefix("agentwatch: "))
