"""The runaways of examples/ are stopped, each by the real daemon for what it does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "runaways.py"


def test_a_runaway_runs_until_its_money_is_gone() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shares = [float(share) for share in re.findall(r"\((\d+\.\d)% of \$2\)", done.stdout)]
    assert len(shares) == 11
    assert max(shares) < 20
    for kind in ("prompt_growth", "cycle", "stale_answers", "same_error", "failing_calls",
                 "repeated_tool_call", "fan_out"):  # fmt: skip
        assert f"  {kind}: " in done.stdout, done.stdout
