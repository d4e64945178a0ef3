"""A soak of CI's size: what `make soak` judges over 172,800 calls, over 8,000 by the same code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parent.parent.parent / "bench" / "soak.py"
CALLS = 8_000


@pytest.mark.timeout(300)
def test_calls_that_go_wrong_wear_the_daemon_out() -> None:
    done = subprocess.run(
        [sys.executable, str(SOAK), str(CALLS)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    print("\n" + done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
