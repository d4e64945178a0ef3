"""The watched clients on the previous major version of OpenAI's SDK, which is made of httpx."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Daemon, nanos

from agentwatch.standin.process import StandinProcess

pytestmark = pytest.mark.clients

_ROOT = Path(__file__).resolve().parents[3]
_PROGRAM = Path(__file__).parent / "programs" / "watched_before.py"


def test_openai_2_is_governed(
    daemon: Daemon, standin: StandinProcess, client: Callable[[str], Path]
) -> None:
    """Nothing but the SDK is installed there: none of what the daemon needs is missed."""
    done = subprocess.run(
        [client("openai2") / "python", _PROGRAM],
        env={
            "PATH": os.environ["PATH"],
            "AGENTWATCH_HOME": str(daemon.home),
            "PYTHONPATH": str(_ROOT),
        },
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (done.returncode, done.stdout[:2]) == (0, "2."), done.stderr
    shown, bill = daemon.get("/v1/sessions/before"), standin.bill()
    assert (shown["iterations"], bill["requests"], bill["leaks"]) == (8, 8, [])
    assert nanos(shown["settled_usd"]) == bill["billed_nanos"]
