"""The telemetry's file: what comes back, what is removed for good, what a crash leaves behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentwatch.core.call_record import CallRecord, as_row, exported
from agentwatch.store.telemetry import AT_ONCE, Kept, Purge, TelemetryStore, age_limits

DAY = 86_400.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "telemetry.sqlite3"


@pytest.fixture
def store(file: Path) -> Iterator[TelemetryStore]:
    opened = TelemetryStore(file)
    yield opened
    opened.close()


def record(number: int = 1, session: str = "s", **fields: Any) -> CallRecord:
    return CallRecord(request_id=f"id-{number:06}", session_id=session, **{"at": 1000.0, **fields})


def bytes_of(file: Path) -> bytes:
    """All that is in the file and beside it."""
    return b"".join(path.read_bytes() for path in sorted(file.parent.glob(f"{file.name}*")))


def test_what_was_written_comes_back_as_it_was(store: TelemetryStore) -> None:
    full = record(
        2, usage={"input_tokens": 3}, risks=["PII_IP"], iteration=7, stream=True, first_byte_s=0.5,
        cost_nanos=2**60, project="p", status=200,
    )  # fmt: skip
    store.add([Kept(record(1)), Kept(full, {"request": "said \u2603", "answer": {"a": [1]}})])
    (first, second), last = store.calls("s")
    assert first == as_row(record(1))
    assert second.pop("payload") == {"request": "said \u2603", "answer": {"a": [1]}}
    assert second == as_row(full)
    assert store.calls("s", last) == ([], last)
    assert store.calls("s", payloads=False)[0][1].get("payload") is None
    assert exported(second)["cost_usd"] == 2**60 / 1e9
    assert "cost_nanos" not in exported(second)


def test_a_long_session_comes_page_by_page(store: TelemetryStore) -> None:
    store.add(Kept(record(number)) for number in range(25))
    seen, last = [], 0
    while page := store.calls("s", last, 10):
        if not page[0]:
            break
        seen += [row["request_id"] for row in page[0]]
        last = page[1]
    assert seen == [f"id-{number:06}" for number in range(25)]


@pytest.mark.parametrize(
    ("what", "left"),
    [
        (Purge(session="a"), {2, 3}),
        (Purge(project="p"), {2}),
        (Purge(before=50.0), {1, 3}),
        (Purge(session="a", before=50.0), {1, 2, 3}),
        (Purge(but_projects=("p",)), {1, 3}),
        (Purge(), set()),
    ],
)
def test_what_meets_all_that_is_said_is_gone_from_every_byte(
    store: TelemetryStore, file: Path, what: Purge, left: set[int]
) -> None:
    store.add(
        [
            Kept(record(1, "a", project="p", at=100.0, reason="canary-1")),
            Kept(record(2, "b", at=0.0, reason="canary-2")),
            Kept(record(3, "b", project="p", at=100.0, reason="canary-3")),
        ]
    )
    assert store.has(what) == (len(left) < 3)
    assert store.purge(what) == 3 - len(left)
    assert not store.has(what)
    # wherever it stood: pages, free pages, the WAL
    assert {n for n in (1, 2, 3) if f"canary-{n}".encode() in bytes_of(file)} == left


def test_large_purges_go_on_in_steps_and_give_the_room_back(
    store: TelemetryStore, file: Path
) -> None:
    store.add(Kept(record(n, reason="canary" * 50)) for n in range(2 * AT_ONCE + 10))
    large = store.size
    assert store.purge(Purge(session="s")) == 2 * AT_ONCE + 10
    assert b"canary" not in bytes_of(file)
    assert file.stat().st_size < large / 5


def test_a_purge_that_a_crash_cut_off_is_finished_by_the_next_start(file: Path) -> None:
    store = TelemetryStore(file)
    store.add(Kept(record(n, reason="canary")) for n in range(2 * AT_ONCE))
    store.close()
    # the state in which a crash leaves the file after the first step
    cut = sqlite3.connect(file)
    cut.execute("INSERT INTO purges (what) VALUES ('[\"s\", null, null, []]')")
    cut.execute("DELETE FROM calls WHERE id <= 500")
    cut.commit()
    cut.close()
    store = TelemetryStore(file)
    assert store.go_on() == 2 * AT_ONCE - 500
    assert store.count() == 0 and b"canary" not in bytes_of(file)
    assert store.go_on() == 0
    store.close()


def test_too_large_a_file_loses_its_oldest_records(store: TelemetryStore) -> None:
    store.add(Kept(record(n, reason="x" * 1000)) for n in range(3000))
    most = store.size * 2 // 3
    removed = store.keep_within(most)
    assert 0 < removed < 3000
    assert store.size <= most
    assert store.calls("s", limit=1)[0][0]["request_id"] == f"id-{removed:06}"
    assert store.keep_within(most) == 0


def test_age_is_by_project_where_one_has_a_rule(store: TelemetryStore) -> None:
    now = 100 * DAY
    store.add(
        Kept(record(n, project=project, at=now - age * DAY))
        for n, (project, age) in enumerate([(None, 29), (None, 31), ("p", 3), ("p", 1), ("q", 31)])
    )
    for old in age_limits(30, {"p": 2}, now):
        store.purge(old)
    assert [row["request_id"][-1] for row in store.calls("s")[0]] == ["0", "3"]


def test_a_file_of_an_older_version_gets_the_fields_that_are_new(file: Path) -> None:
    old = sqlite3.connect(file)
    old.execute("CREATE TABLE calls (id INTEGER PRIMARY KEY, request_id TEXT, session_id TEXT,"
                " project TEXT, at FLOAT, stream INTEGER)")  # fmt: skip
    old.execute("INSERT INTO calls (request_id, session_id, stream) VALUES ('old', 's', 0)")
    old.commit()
    old.close()
    store = TelemetryStore(file)
    store.add([Kept(record(1))])
    rows, _ = store.calls("s")
    assert [row["request_id"] for row in rows] == ["old", "id-000001"]
    assert rows[0]["risks"] is None
    store.close()


def test_a_damaged_file_is_set_aside_and_only_a_purge_of_everything_removes_it(file: Path) -> None:
    file.write_bytes(b"no database, but a canary" * 400)
    store = TelemetryStore(file)
    store.add([Kept(record(1))])
    aside = file.with_suffix(".damaged")
    assert b"canary" in aside.read_bytes()
    store.purge(Purge(session="s"))
    assert aside.exists()
    store.purge(Purge())
    assert not aside.exists()
    store.close()


def test_the_file_is_its_owner_s_alone(store: TelemetryStore, file: Path) -> None:
    store.add([Kept(record(1))])
    loose = [each.name for each in file.parent.iterdir() if each.stat().st_mode & 0o077]
    assert loose == []
