"""The examples that README shows, run as it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from harness import Daemon, nanos

from agentwatch.standin.process import StandinProcess

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_runaway_goes_on_under_a_ceiling(beside: Daemon, standin: StandinProcess) -> None:
    program = (sys.executable, str(EXAMPLES / "runaway.py"))
    done = beside.command("run", "--budget", "0.05", "--", *program)
    assert done.returncode == 1
    calls = re.search(r"call (\d+) was refused: .*AgentWatch: the budget of", done.stdout)
    assert calls is not None, done.stdout
    assert int(calls[1]) > 2
    assert 0 < standin.bill()["billed_nanos"] <= nanos(0.05)


def test_a_watched_client_goes_on_above_its_ceiling(
    beside: Daemon, standin: StandinProcess
) -> None:
    standin.script("tokens=400", count=0)
    program = [sys.executable, str(EXAMPLES / "watched.py")]
    environ = {**beside.environ, "OPENAI_API_KEY": ""}
    done = subprocess.run(
        program, env=environ, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"stopped after [1-9]\d* calls: spent \$0\.0[0-9]+ of \$0\.0100\n", done.stdout
    )
    assert 0 < standin.bill()["billed_nanos"] <= nanos(0.01)
