"""The walk over what a command started: whole, honest about names, and sparing who was there."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from agentwatch_cli.run_tree import descendants, end_all, is_below

TREE = (
    "import os, subprocess, sys, time\n"
    "subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
    "print('up', flush=True)\n"
    "time.sleep(60)"
)
NASTY = (
    "import ctypes, time\n"
    "ctypes.CDLL(None).prctl(15, b') R 1 1 (', 0, 0, 0)\n"
    "print('up', flush=True)\n"
    "time.sleep(60)"
)
DEAF = (
    "import signal, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('up', flush=True)\n"
    "time.sleep(60)"
)


def _start(code: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def _end(process: subprocess.Popen[str]) -> None:
    end_all(lambda: descendants(process.pid), lambda: None, 0.0)
    process.kill()
    process.communicate()


def test_processes_in_other_sessions_are_found():
    process = _start(TREE)
    below = descendants(process.pid)
    assert len(below) == 1
    assert below[0] in descendants(os.getpid())
    assert is_below(below[0], os.getpid())
    assert not is_below(os.getpid(), process.pid)
    _end(process)


def test_a_name_that_looks_like_the_kernels_fields_deceives_nobody():
    process = _start(NASTY)
    assert process.pid in descendants(os.getpid())
    _end(process)


def test_who_was_there_before_is_spared_with_all_that_hangs_on_it():
    process = _start(TREE)
    child = descendants(process.pid)[0]
    assert not {process.pid, child} & set(descendants(os.getpid(), [process.pid]))
    _end(process)


def test_a_process_that_does_not_hear_is_killed_after_its_grace_and_not_before():
    process = _start(DEAF)
    started = time.monotonic()
    found, left = end_all(
        lambda: [process.pid] if process.poll() is None else [], lambda: None, 0.3
    )
    assert (found, left) == (1, 0)
    assert 0.3 <= time.monotonic() - started < 1.5
    process.communicate()


def test_a_process_that_hears_is_not_waited_for_longer_than_it_takes():
    process = _start("import time; print('up', flush=True); time.sleep(60)")
    started = time.monotonic()
    end_all(lambda: [process.pid] if process.poll() is None else [], lambda: None, 5.0)
    assert time.monotonic() - started < 1.0
    assert process.returncode == -15
    process.communicate()


def test_a_stopped_process_takes_its_sigterm_too():
    process = _start("import time; print('up', flush=True); time.sleep(60)")
    os.kill(process.pid, 19)
    end_all(lambda: [process.pid] if process.poll() is None else [], lambda: None, 5.0)
    assert process.returncode == -15
    process.communicate()
