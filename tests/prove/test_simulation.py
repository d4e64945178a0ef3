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
from prove.story import KINDS, play, shrink, story

ROOT = Path(__file__).parents[2]
#: events of each kind, in halves, for two processes of pytest
HALVES = {"ledger": 500_000, "store": 40_000}


@pytest.mark.parametrize("first", [0, 1_000_000_000])
@pytest.mark.parametrize("kind", KINDS)
def test_a_million_events_break_nothing(first: int, kind: str) -> None:
    played = play_share(Share(first, 1, -(-HALVES[kind] // KINDS[kind].LENGTH), kind=kind))
    assert played.broken == []
    assert played.events >= HALVES[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_is_the_same_story_again(kind: str) -> None:
    assert story(4711, kind) == story(4711, kind) != story(4712, kind)
    assert {what for what, _, _ in story(4711, kind)} <= set(range(len(KINDS[kind].PLAYS)))


def test_a_failing_story_is_cut_to_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A core whose crashes give money back: a call and a crash are enough to show it."""
    real = Ledger.settle

    def refunds(self: Ledger, hold_id: str, nanos: int, basis: str, **details: Any) -> Any:
        return real(self, hold_id, 0 if basis == "crash" else nanos, basis, **details)

    monkeypatch.setattr(Ledger, "settle", refunds)
    seed = next(seed for seed in range(100) if play(seed) is not None)
    shortest = shrink(seed, story(seed))
    assert len(shortest) <= 6
    names = tuple(KINDS["ledger"].PLAYS)
    assert "crash" in {names[what] for what, _, _ in shortest}
    assert isinstance(play(seed, shortest), Broken)


@pytest.mark.parametrize("flags", [[], ["--store"]])
def test_one_command_plays_a_seed_again(flags: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prove", *flags, "--seed", "7"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing is broken" in done.stdout
