"""Alerts on disk: nothing that was told is lost, and nothing that is asked waits for long."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentwatch.core.alert import Alert
from agentwatch.errors import AlertsUnavailable
from agentwatch.store import alerts as module
from agentwatch.store.alerts import DEAD, PENDING, AlertStore


def alert(number: int, session_id: str = "s", **fields: object) -> Alert:
    made = {
        "id": f"al{number}",
        "at": float(number),
        "session_id": session_id,
        "kind": "cycle",
        "severity": "warning",
        "message": "again and again",
        "evidence": {"rounds": number, "model": "gpt-4o"},
    }
    return Alert(**{**made, **fields})  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "alerts.sqlite3"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[AlertStore]:
    made = AlertStore(path)
    made.open()
    yield made
    await made.close()


async def again(store: AlertStore, path: Path) -> AlertStore:
    """As the next process finds it."""
    await store.close()
    made = AlertStore(path)
    made.open()
    return made


async def test_what_was_just_told_is_not_in_the_answer(store: AlertStore) -> None:
    for number in range(50):
        store.add(alert(number))
        assert (await store.latest(1))[0].id == f"al{number}"


async def test_what_goes_on_is_ended_with_the_rest(store: AlertStore) -> None:
    for number, kind in enumerate(["prompt_growth", "cycle", "prompt_growth", "prompt_growth"]):
        store.add(alert(number, kind=kind))
    store.end("al2", 8.0)
    found = await store.unended("prompt_growth")
    assert [each.id for each in found] == ["al0", "al3"]
    store.end_all(9.0, but=["al3"])
    assert [each.ended_at for each in await store.latest(9)] == [9.0, 9.0, 8.0, None]
    store.end_all(10.0)
    assert await store.unended("prompt_growth") == []


async def test_a_restart_forgets_alerts(store: AlertStore, path: Path) -> None:
    store.add(alert(1, evidence={"ratios": [1.5, None], "thread": "ünï"}, action="pause"))
    store.add(alert(2, "other"))
    store.end("al1", 9.0)
    new = await again(store, path)
    found = await new.latest(10)
    assert [each.id for each in found] == ["al1", "al2"]
    assert found[0].evidence == {"ratios": [1.5, None], "thread": "ünï"}
    assert (found[0].action, found[0].ended_at, found[1].ended_at) == ("pause", 9.0, None)
    assert [each.id for each in await new.latest(10, "other")] == ["al2"]
    await new.close()


async def test_others_can_read_the_file(store: AlertStore, path: Path) -> None:
    store.add(alert(1))
    await store.latest(1)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


async def test_an_acknowledged_alert_is_shown_as_new(store: AlertStore) -> None:
    for number in range(3):
        store.add(alert(number))
    assert await store.acknowledge(["al1"], 5.0) == ["al1"]
    assert await store.acknowledge(["al1"], 6.0) == []
    assert [each.id for each in await store.latest(9, unacked=True)] == ["al0", "al2"]
    assert sorted(await store.acknowledge(None, 7.0)) == ["al0", "al2"]
    assert [each.acked_at for each in await store.latest(9)] == [7.0, 5.0, 7.0]
    assert await store.known(["al1", "nope"]) == {"al1"}


async def test_a_delivery_is_lost_or_made_twice(store: AlertStore, path: Path) -> None:
    store.add(alert(1), ["webhook", "apprise"])
    store.add(alert(2), ["webhook"])
    store.add(alert(2), ["webhook"])
    first, *rest = await store.due(1.0, 10)
    assert (first.alert.id, first.state, first.attempts, len(rest)) == ("al1", PENDING, 0, 1)
    store.delivered("al1", "webhook")
    store.failed("al1", "apprise", 60.0, "refused")
    store.died("al2", "webhook", "gone")
    store = await again(store, path)
    assert await store.due(59.0, 10) == []
    (late,) = await store.due(60.0, 10)
    assert (late.channel, late.attempts, late.why) == ("apprise", 1, "refused")
    (dead,) = await store.dead(10)
    assert (dead.alert.id, dead.state, dead.why) == ("al2", DEAD, "gone")
    assert await store.next_due_at() == 60.0
    store.delivered("al2", "webhook")
    assert len(await store.dead(10)) == 1
    await store.close()


async def test_the_file_grows_for_ever_or_forgets_what_is_due(
    store: AlertStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 20)
    store.add(alert(0), ["webhook"])
    for number in range(1, 60):
        store.add(alert(number))
    kept = await store.latest(1_000)
    assert len(kept) == 21
    assert [each.alert.id for each in await store.due(0.0, 9)] == ["al0"]


async def test_a_damaged_file_keeps_the_daemon_from_its_start(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"nonsense" * 1_000)
    store = AlertStore(path)
    store.open()
    store.add(alert(1))
    assert len(await store.latest(9)) == 1
    assert path.with_suffix(".damaged").exists()
    await store.close()


async def test_a_newer_file_is_set_aside(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    store = AlertStore(path)
    store.open()
    store.add(alert(1))
    assert len(await store.latest(9)) == 1  # in memory
    await store.close()
    assert not path.with_suffix(".damaged").exists()


async def test_what_the_disk_did_not_take_is_lost(
    store: AlertStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.latest(1)
    monkeypatch.setattr(module, "RETRY_S", 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.add(alert(1))
    await asyncio.sleep(0)
    assert await store.latest(9) == []  # asked while another writes: what there is
    other.execute("COMMIT")
    other.close()
    async with asyncio.timeout(20):
        while not await store.latest(9):  # noqa: ASYNC110 - a disk has no event
            await asyncio.sleep(0.02)


async def test_who_asks_after_the_end_waits_for_ever(path: Path) -> None:
    store = AlertStore(path)
    store.open()
    await store.close()
    with pytest.raises(AlertsUnavailable):
        await store.latest(1)
    await store.close()
