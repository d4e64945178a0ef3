"""The simulator at the size of CI: a million events, and a broken core that it must notice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentwatch.core.ledger import Ledger
from prove.judge import Broken
from prove.shares import Share, play_share
from prove.story import LENGTH, NAMES, play, shrink, story

ROOT = Path(__file__).parents[2]
#: halves, for two processes of pytest
HALF = 500_000 // LENGTH + 1


@pytest.mark.parametrize("first", [0, 1_000_000_000])
def test_half_a_million_events_break_nothing(first: int) -> None:
    played = play_share(Share(first, 1, HALF))
    assert played.broken == []
    assert played.events >= 500_000


def test_a_seed_is_the_same_story_again() -> None:
    assert story(4711) == story(4711) != story(4712)
    assert {what for what, _, _ in story(4711)} <= set(range(len(NAMES)))


def test_a_failing_story_is_cut_to_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A core whose crashes give money back: a call and a crash are enough to show it."""
    real = Ledger.settle

    def refunds(self: Ledger, hold_id: str, nanos: int, basis: str, **details: Any) -> Any:
        return real(self, hold_id, 0 if basis == "crash" else nanos, basis, **details)

    monkeypatch.setattr(Ledger, "settle", refunds)
    seed = next(seed for seed in range(100) if play(seed) is not None)
    shortest = shrink(seed, story(seed))
    assert len(shortest) <= 6
    assert "crash" in {NAMES[what] for what, _, _ in shortest}
    assert isinstance(play(seed, shortest), Broken)


def test_one_command_plays_a_seed_again() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prove", "--seed", "7"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing is broken" in done.stdout
