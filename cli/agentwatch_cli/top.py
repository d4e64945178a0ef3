"""The live view of sessions: twice a second, until q."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from agentwatch_cli.output import drawn, harmless
from agentwatch_cli.views import TOP_COLUMNS, burn_per_minute, top_row

EVERY_S = 0.5
#: the rate at which money goes is measured over this many samples: one minute
_SAMPLES = 120
_QUIT = frozenset("qQ\x03\x04\x1b")

Sessions = Sequence[Mapping[str, Any]]


class Burn:
    """Remembers what each session had spent, and tells how fast it spends."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[tuple[float, float]]] = {}

    def rows(self, sessions: Sessions, now: float) -> list[list[object]]:
        """Rows for TOP_COLUMNS, the dearest first; sessions that are gone are forgotten."""
        seen = {session["session_id"]: session for session in sessions}
        self._samples = {name: self._samples.get(name, _samples()) for name in seen}
        for name, session in seen.items():
            self._samples[name].append((now, session.get("settled_usd") or 0.0))
        busiest = sorted(sessions, key=lambda s: s.get("settled_usd") or 0.0, reverse=True)
        return [top_row(s, burn_per_minute(self._samples[s["session_id"]])) for s in busiest]


def _samples() -> deque[tuple[float, float]]:
    return deque(maxlen=_SAMPLES)


def show_top(fetch: Callable[[], Sessions]) -> None:
    """Draw what `fetch` gives until q, Esc or Ctrl-C. Standard output must be a terminal."""
    from rich.console import Console
    from rich.live import Live

    burn, console = Burn(), Console()
    with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            rows = burn.rows(fetch(), time.monotonic())
            cells = [[harmless(cell) for cell in row] for row in rows]
            title = "agentwatch sessions · q quits"
            live.update(drawn(TOP_COLUMNS, cells, console.width, title))
            live.refresh()
            if pressed(EVERY_S) in _QUIT:
                return


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Single keys from the terminal: a function that waits so many seconds for one ("" none)."""
    fd = sys.stdin.fileno()
    if not os.isatty(fd):
        yield _no_key
        return
    modes = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield lambda wait_s: _read_key(fd, wait_s)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, modes)


def _no_key(wait_s: float) -> str:
    time.sleep(wait_s)
    return ""


def _read_key(fd: int, wait_s: float) -> str:
    ready, _, _ = select.select([fd], [], [], wait_s)
    return os.read(fd, 1).decode("latin-1") or "q" if ready else ""
