"""The telemetry process: what it keeps of what was said, by setting; frames; sweeps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agentwatch.core.call_record import CallRecord
from agentwatch.core.telemetry_settings import RisksSettings, TelemetrySettings
from agentwatch.daemon.telemetry_frames import (
    LENGTH_BYTES,
    Ask,
    Batch,
    Item,
    Setup,
    Told,
    Written,
    for_daemon,
    for_worker,
    frame,
)
from agentwatch.daemon.telemetry_worker import Looked, Worker

BODY = {"messages": [{"content": "mail alice@example.com"}, {"content": "x" + "QUJD" * 200}]}
PEM = "-----BEGIN " + "PRIVATE KEY-----"


def looked(body: Any, **risks: Any) -> Looked:
    return Looked(RisksSettings(**risks).policy(), json.dumps(body).encode())


def record(number: int = 1, **fields: Any) -> CallRecord:
    return CallRecord(request_id=f"h{number}", session_id="s", **{"at": time.time(), **fields})


def worker(file: Path | None, risks: RisksSettings | None = None, **telemetry: Any) -> Worker:
    told = TelemetrySettings(**telemetry)
    return Worker(Setup(file and str(file), told, risks or RisksSettings()))


def calls(of: Worker) -> list[dict[str, Any]]:
    return of.do_calls("s", 0, 100, True)["calls"]  # type: ignore[no-any-return]


def test_redacted_is_without_what_was_found_and_without_what_can_t_be_looked_at() -> None:
    kept = looked(BODY).kept("redacted")
    said = [message["content"] for message in kept["messages"]]
    assert said == ["mail [PII_EMAIL]", "[BASE64]"]


def test_full_is_byte_for_byte_but_for_what_is_to_be_redacted() -> None:
    assert looked(BODY).kept("full") == json.dumps(BODY)
    kept = looked(BODY, tags={"PII_EMAIL": "redact"}).kept("full")
    assert kept["messages"][0]["content"] == "mail [PII_EMAIL]"
    assert kept["messages"][1] == BODY["messages"][1]


def test_a_secret_that_goes_over_several_strings_is_taken_out_of_each() -> None:
    lines = [PEM, "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2w", "cXdlcnR6dWlvcGFzZGZnaGpr"]
    kept = looked({"text": [*lines, "and words"]}).kept("redacted")
    assert kept == {"text": ["[SECRET_PRIVATE_KEY]"] * 3 + ["and words"]}


def test_the_order_of_names_and_values_is_kept_when_names_are_risks() -> None:
    kept = looked({"alice@example.com": {"a": 1}, "b": "bob@example.com"}).kept("redacted")
    assert kept == {"[PII_EMAIL]": {"a": 1}, "b": "[PII_EMAIL]"}


@pytest.mark.parametrize("payloads", ["none", "metadata", "redacted", "full"])
def test_each_setting_keeps_what_it_says(tmp_path: Path, payloads: str) -> None:
    of = worker(tmp_path / "t.sqlite3", payloads=payloads)
    raw = json.dumps(BODY).encode()
    told = of.take(Batch([Item(record(), raw, raw), Item(record(2))]))
    assert told == Written(2, risks=[("s", ["PII_EMAIL"])])
    first, second = calls(of)
    assert first["risks"] == ["PII_EMAIL"] and second["risks"] is None
    assert ("payload" in first) == (payloads in ("redacted", "full"))
    of.close()


def test_what_cannot_be_read_is_recorded_all_the_same(tmp_path: Path) -> None:
    of = worker(tmp_path / "t.sqlite3", payloads="full")
    of.take(Batch([Item(record(), b"\xff\0\xfe", b"[" * 5000)]))
    (kept,) = calls(of)
    assert kept["payload"]["request"] == "\\xff\0\\xfe"
    of.close()


def test_old_records_go_by_themselves(tmp_path: Path) -> None:
    of = worker(tmp_path / "t.sqlite3", retention_days=1, project_retention_days={"p": 3})
    old = time.time() - 2 * 86_400
    items = [Item(record(1, at=old)), Item(record(2, at=old, project="p")), Item(record(3))]
    of.take(Batch(items))
    of.sweep()
    assert [each["request_id"] for each in calls(of)] == ["h2", "h3"]
    of.close()


def test_a_file_that_can_t_be_opened_is_told_and_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    of = worker(folder / "t.sqlite3")
    told = of.take(Batch([Item(record())]))
    assert isinstance(told, Written) and "can't be opened" in (told.failed or "")
    assert isinstance(of.take(Ask(1, "stats")), Told)
    folder.mkdir()
    of._try_at = 0.0
    assert of.take(Batch([Item(record())])) == Written(1)
    of.close()


def test_frames_come_out_as_they_went_in() -> None:
    for message in (Setup("f", TelemetrySettings(), RisksSettings()), Ask(3, "stats", {"a": b"b"})):
        data = frame(message)
        assert int.from_bytes(data[:LENGTH_BYTES], "big") == len(data) - LENGTH_BYTES
        assert for_worker(data[LENGTH_BYTES:]) == message
    assert for_daemon(frame(Told(1, [1]))[LENGTH_BYTES:]) == Told(1, [1])


def test_what_came_through_the_pipe_is_written_though_the_daemon_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "t.sqlite3"
    frames = [frame(Setup(str(file), TelemetrySettings(), RisksSettings()))]
    frames += [frame(Batch([Item(record(number), b"{}", b"{}")])) for number in range(50)]
    cut = frame(Batch([Item(record(99))]))[:-5]
    command = [sys.executable, "-P", "-m", "agentwatch.daemon.telemetry_worker"]
    done = subprocess.run(
        command, input=b"".join(frames) + cut, stdout=subprocess.PIPE, timeout=60, check=False
    )
    assert done.returncode == 0
    of = worker(file)
    assert len(calls(of)) == 50
    of.close()
    assert os.stat(file).st_mode & 0o077 == 0
