"""`run` on a terminal: the keys, the stops and the window's size work as if it were not there."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

PY = sys.executable
RUN = f"{PY} -m agentwatch_cli run --budget 1 --"


class Screen:
    """A shell with job control on a pseudo-terminal."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], environment)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def wait_for(self, text: str, seconds: float = 10) -> str:
        """What was shown until `text`, which is then behind us."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} did not come: {self.seen!r}"
            ready, _, _ = select.select([self.fd], [], [], 0.1)
            if ready:
                self.seen += os.read(self.fd, 4096).decode("utf-8", "replace")
        head, _, self.seen = self.seen.partition(text)
        return head

    def foreground(self) -> int:
        """The process group that has the terminal."""
        return os.tcgetpgrp(self.fd)

    def is_at_its_prompt(self) -> bool:
        """Whether the shell itself reads keys: it has the terminal, and edits the line."""
        edits = not termios.tcgetattr(self.fd)[3] & termios.ICANON
        return edits and self.foreground() == self.pid

    def read_until(self, is_so: Callable[[], bool], seconds: float = 10) -> bool:
        """Read on until it is so; whether it came to that."""
        deadline = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() >= deadline:
                return False
            ready, _, _ = select.select([self.fd], [], [], 0.02)
            if ready:
                self.seen += os.read(self.fd, 4096).decode("utf-8", "replace")
        return True

    def fg(self, job: int) -> None:
        """Bring this stopped job to the front, as somebody does who looks at the screen: a key
        that is typed while the shell sets the terminal up can get lost, and is typed again."""
        for _ in range(3):
            assert self.read_until(self.is_at_its_prompt)
            self.type("fg\n")
            if self.read_until(lambda: self.foreground() == job, seconds=3):
                return
        raise AssertionError(f"the job did not come to the front: {self.seen!r}")

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        os.close(self.fd)
        os.waitpid(self.pid, 0)


@pytest.fixture
def screen(fake_daemon: Any) -> Iterator[Screen]:
    shell = Screen(fake_daemon.environment(PS1="$ ", TERM="dumb", HISTFILE=""))
    shell.wait_for("$ ")
    yield shell
    shell.close()


def _program(code: str, tmp_path: Any) -> str:
    file = tmp_path / "program.py"
    file.write_text(code)
    return f"{PY} {file}"


def test_ctrl_c_reaches_an_interactive_program_once(screen, tmp_path):
    code = (
        "import signal, time\n"
        "hits = []\n"
        "signal.signal(signal.SIGINT, lambda *a: hits.append(1))\n"
        "print('REA' + 'DY', flush=True)\n"
        "while not hits: time.sleep(0.01)\n"
        "time.sleep(0.5)\n"
        "print('HITS', len(hits), flush=True)\n"
    )
    screen.type(f"{RUN} {_program(code, tmp_path)}; echo CODE=$?\n")
    screen.wait_for("READY")
    screen.type("\x03")
    screen.wait_for("HITS 1")
    screen.wait_for("CODE=0")


def test_ctrl_c_on_a_plain_program_ends_a_shell_loop(screen):
    screen.type(f"for i in 1 2 3; do echo ROUND$i; {RUN} sleep 30; done; echo LOOP-IS-OVER\n")
    screen.wait_for("ROUND1\r\n")
    time.sleep(1.5)
    screen.type("\x03")
    screen.wait_for("spent")
    shown = screen.wait_for("$ ")
    assert "ROUND2" not in shown


def test_ctrl_z_and_fg_stop_and_go_on(screen, tmp_path):
    code = "print('REA' + 'DY', flush=True)\ninput()\nprint('WENT', 'ON')\n"
    screen.type(f"{RUN} {_program(code, tmp_path)}; echo CODE=$?\n")
    screen.wait_for("READY")
    job = screen.foreground()
    screen.type("\x1a")
    screen.wait_for("Stopped")
    screen.fg(job)
    screen.type("\n")
    screen.wait_for("WENT ON")


def test_a_program_that_stops_only_itself_gives_the_prompt_back(screen, tmp_path):
    code = (
        "import os, signal\n"
        "print('REA' + 'DY', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGSTOP)\n"
        "print('WENT', 'ON', flush=True)\n"
    )
    screen.type(f"{RUN} {_program(code, tmp_path)}\n")
    screen.wait_for("READY")
    job = screen.foreground()
    screen.wait_for("Stopped")
    screen.fg(job)
    screen.wait_for("WENT ON")
    screen.wait_for("spent")


def test_a_new_window_size_reaches_the_program(screen, tmp_path):
    code = (
        "import os, signal, time\n"
        "seen = []\n"
        "signal.signal(signal.SIGWINCH, lambda *a: seen.append(os.get_terminal_size(0).columns))\n"
        "print('REA' + 'DY', flush=True)\n"
        "while not seen: time.sleep(0.01)\n"
        "time.sleep(0.3)\n"
        "print('WIDTH', seen, flush=True)\n"
    )
    screen.type(f"{RUN} {_program(code, tmp_path)}\n")
    screen.wait_for("READY")
    screen.resize(40, 133)
    screen.wait_for("WIDTH [133]")


def test_a_killed_program_leaves_the_terminal_as_it_was(screen, fake_daemon, tmp_path):
    code = "import sys, time, tty\ntty.setraw(0)\nprint('REA' + 'DY', flush=True)\ntime.sleep(60)\n"
    screen.type(f"AGENTWATCH_RUN_KILL_GRACE_S=0.1 {RUN} {_program(code, tmp_path)}; stty -a\n")
    screen.wait_for("READY")
    fake_daemon.kill("s-1")
    shown = screen.wait_for("echoctl")
    assert {"icanon", "isig", "echo"} <= set(shown.split())
