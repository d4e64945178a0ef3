"""Runaways are noticed in time, and who works is left alone: a few traces of each family, from
seeds that no threshold was chosen on. `make detect` has many more, and prints the table."""

from __future__ import annotations

import json
import random
from pathlib import Path

import detect
import healthy
import pytest
import runaways

from agentwatch.core.prices import PriceBook
from agentwatch.pricing import load_book

SEEDS = range(detect.HELD_OUT, detect.HELD_OUT + 5)
#: of the $2 that a runaway has, so much may be gone when it is noticed
SHARE = 0.2


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return load_book(None)


@pytest.mark.parametrize("name", runaways.FAMILIES)
def test_a_runaway_is_noticed_late_or_not_at_all(name: str, book: PriceBook) -> None:
    for seed in SEEDS:
        found = detect.chase(runaways.FAMILIES[name], seed, book)
        assert found.first is not None, seed
        assert found.nanos < SHARE * detect.CEILING_USD * detect.NANOS, seed
        assert found.early == [], seed


@pytest.mark.parametrize("name", healthy.FAMILIES)
def test_who_works_is_taken_for_a_runaway(name: str, book: PriceBook) -> None:
    """prompt_growth is a rule, and met by chance where prompts of any size follow each other."""
    for seed in SEEDS:
        _, told = detect.watch(healthy.FAMILIES[name], seed, book)
        assert [kind for kind in told if kind != "prompt_growth"] == [], seed


def test_a_trace_is_another_each_time() -> None:
    def bodies(seed: int) -> list[bytes]:
        trace = runaways.FAMILIES["same_error"](random.Random(seed))
        return [call.body for call, _ in zip(trace, range(3), strict=False) if call is not None]

    assert bodies(1) == bodies(1) != bodies(2)


def test_a_detector_that_is_blind_passes(book: PriceBook, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness tells a runaway that nobody notices."""
    for verb in ("begun", "ended"):
        monkeypatch.setattr(detect.Watched, verb, lambda *_: detect.Change([], []))
    found = detect.chase(runaways.FAMILIES["same_error"], 1, book)
    assert (found.first, found.by) == (None, {})


def test_a_recorded_session_is_not_replayed(book: PriceBook, tmp_path: Path) -> None:
    call = {"type": "toolCall", "name": "ls", "arguments": {}}
    answer = {"role": "assistant", "content": [call], "usage": {"input": 9, "output": 2}}
    result = {"role": "toolResult", "toolCallId": "c", "content": [{"type": "text", "text": "no"}]}
    turn = [{"type": "message", "message": told} for told in (answer, result)]
    lines = [json.dumps(entry) for entry in [{"type": "session"}, *turn * 7]]
    assert detect.replay(lines, book) == (7, ["repeated_tool_call"])
