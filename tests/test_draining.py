"""The mark of a daemon whose serving process lets its calls end."""

from __future__ import annotations

from pathlib import Path

from agentwatch import draining


def test_it_lasts_until_its_time_or_its_end(tmp_path: Path) -> None:
    socket = str(tmp_path / "agentwatch.sock")
    assert draining.lasts_until(socket) == 0
    draining.begin(socket, 2_000_000_000.5)
    assert draining.lasts_until(socket) == 2_000_000_000.5
    draining.begin(socket, 1_000_000_000.0)
    assert draining.lasts_until(socket) == 1_000_000_000.0
    draining.end(socket)
    draining.end(socket)
    assert draining.lasts_until(socket) == 0


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    socket = str(tmp_path / "none" / "agentwatch.sock")
    draining.begin(socket, 2_000_000_000.0)
    assert draining.lasts_until(socket) == 0
    draining.end(socket)
