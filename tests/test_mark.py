"""The mark of wrapped processes: inherited, seen from outside, and never got rid of."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from agentwatch.mark import MARK, RLIMIT_LOCKS, is_marked, mark_self

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the mark is Linux's")

HOLD = "import sys; print('up', flush=True); sys.stdin.read()"
LOWER = f"import resource; resource.setrlimit({RLIMIT_LOCKS}, (0, 0)); {HOLD}"


def _process(code: str, **kw: Any) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **kw,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.communicate()


def test_a_process_that_nobody_marked_is_not_marked():
    process = _process(HOLD)
    assert not is_marked(process.pid)
    assert not is_marked(os.getpid())
    _end(process)


def test_a_marked_process_passes_its_mark_to_a_clean_session_of_its_own():
    process = _process(HOLD, preexec_fn=mark_self, env={}, start_new_session=True)
    assert is_marked(process.pid)
    _end(process)


def test_going_below_the_mark_is_no_way_out():
    process = _process(LOWER, preexec_fn=mark_self)
    assert is_marked(process.pid)
    _end(process)


def test_an_unprivileged_process_cannot_rub_it_off():
    code = (
        "import os, resource, sys\n"
        "from agentwatch.mark import mark_self\n"
        "mark_self()\n"
        "if os.getuid() == 0:\n"
        "    os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"for limit in ({MARK} + 1, resource.RLIM_INFINITY):\n"
        f"    try: resource.setrlimit({RLIMIT_LOCKS}, (limit, limit))\n"
        "    except (ValueError, OSError): continue\n"
        "    sys.exit('rubbed off')\n" + HOLD
    )
    process = _process(code)
    assert is_marked(process.pid)
    _end(process)
    assert process.returncode == 0


def test_marking_twice_keeps_the_mark():
    code = f"from agentwatch.mark import mark_self; mark_self(); mark_self(); {HOLD}"
    process = _process(code)
    assert is_marked(process.pid)
    _end(process)


def test_a_process_that_is_gone_counts_as_marked():
    process = _process(HOLD)
    _end(process)
    assert is_marked(process.pid)
