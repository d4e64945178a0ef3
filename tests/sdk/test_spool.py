"""The files of calls that went out while no daemon was there."""

from __future__ import annotations

import json
import logging
import stat
from pathlib import Path

import pytest

from agentwatch.sdk.session import Session
from agentwatch.sdk.spool import Spool
from agentwatch.sdk.straight import prepare
from agentwatch.sdk.terms import Terms


def _files(home: Path) -> list[Path]:
    return sorted((home / "spool").iterdir())


def test_a_call_is_written_down_before_it_goes_and_again_at_its_end(alone: Path) -> None:
    session = Session(Terms(session_id="s", budget_usd=2.0))
    entry = Spool.of(session.terms).begin(session, {"model": "m"})
    (file,) = _files(alone)
    told = json.loads(file.read_text())
    assert (told["session_id"], told["terms"]) == ("s", {"budget_usd": 2.0})
    assert (told["ask"], "seen" in told) == ({"model": "m"}, False)
    entry.end({"output_floor": 3})
    (file,) = _files(alone)
    assert json.loads(file.read_text())["seen"] == {"output_floor": 3}
    assert json.loads(file.read_text())["id"] == told["id"] == file.stem


def test_only_its_owner_reads_it(alone: Path) -> None:
    session = Session(Terms())
    Spool.of(session.terms).begin(session, {})
    (file,) = _files(alone)
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (file, file.parent)]
    assert modes == [0o600, 0o700]


def test_a_call_that_was_never_sent_leaves_nothing(alone: Path) -> None:
    session = Session(Terms())
    Spool.of(session.terms).begin(session, {}).drop()
    assert _files(alone) == []


def test_a_disk_that_takes_nothing_is_told(alone: Path, caplog: pytest.LogCaptureFixture) -> None:
    (alone / "spool").write_text("in the way")
    with caplog.at_level(logging.ERROR, "agentwatch"):
        Spool(alone / "spool").begin(Session(Terms()), {})
    assert "can't be kept" in caplog.text


def test_what_was_said_is_in_no_file(alone: Path) -> None:
    body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"the launch code"}]}'
    prepare(Session(Terms()), "POST", "/openai/v1/chat/completions", {}, body)
    (file,) = _files(alone)
    assert '"gpt-4o"' in file.read_text()
    assert "launch" not in file.read_text()
