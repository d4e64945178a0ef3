"""The telemetry process: looks for risks, writes records, removes what is too old, answers.

A process of its own, as reading a megabyte holds Python's lock for as long as it takes: in the
daemon every other call would wait. It sees prompts and no keys, talks to its parent alone, works
at a lower priority, and ends when the pipe does, once all that came through it is written.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agentwatch.core.risk import Finding, base64_findings, redacted
from agentwatch.core.risk_policy import RiskPolicy
from agentwatch.daemon import log
from agentwatch.daemon.hygiene import not_dumpable
from agentwatch.daemon.telemetry_frames import (
    LENGTH_BYTES,
    Ask,
    Batch,
    Item,
    Setup,
    Told,
    Written,
    for_worker,
    frame,
)
from agentwatch.errors import AgentWatchError
from agentwatch.store.telemetry import FAILURES, Kept, Purge, TelemetryStore, age_limits
from agentwatch.wire.transcript import rewritten, said

logger = logging.getLogger(__name__)

#: how often old records are looked for, and a file that could not be opened is tried again
SWEEP_S = 60.0
REOPEN_S = 5.0
_BETWEEN = "\n"


class Looked:
    """A body that was looked at: its value, its strings, and what was found in them."""

    def __init__(self, policy: RiskPolicy, raw: bytes | None) -> None:
        self._policy = policy
        self.raw = raw
        self.value: Any
        self.value, self._strings = (None, []) if raw is None else said(raw)
        self._text = _BETWEEN.join(self._strings)
        self.found = self._policy.look(self._text) if self._strings else []

    @property
    def tags(self) -> set[str]:
        """What was found."""
        return {each.tag for each in self.found}

    def kept(self, payloads: str) -> Any:
        """What of it is kept by this setting."""
        everything = payloads == "redacted"
        out = self._policy.taken_out(self.found, everything=everything)
        if everything:
            out += base64_findings(self._text)
        if self.raw is None or not (out or everything):
            return None if self.raw is None else self.raw.decode("utf-8", "backslashreplace")
        pieces = iter(_each_redacted(self._strings, sorted(out, key=lambda each: each.start)))
        return rewritten(self.value, lambda _: next(pieces))


def _each_redacted(texts: list[str], out: list[Finding]) -> Iterator[str]:
    """Each text without the part of the findings that lies in it; places are those of all texts
    joined."""
    start = 0
    for text in texts:
        end = start + len(text)
        inside = [
            Finding(each.tag, max(0, each.start - start), min(each.end, end) - start)
            for each in out
            if each.start < end and start < each.end
        ]
        yield redacted(text, inside) if inside else text
        start = end + len(_BETWEEN)


class Worker:
    """Deals with one frame after the other."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._store: TelemetryStore | None = None
        self._try_at = 0.0
        self._sweep_at = 0.0
        self._policy = setup.risks.policy()
        self._looks = bool(self._policy.tags)

    # ---- frames

    def take(self, message: Batch | Ask) -> Written | Told:
        """Deal with a frame; what is to be said to it."""
        if isinstance(message, Batch):
            return self._take_batch(message)
        try:
            return Told(message.number, getattr(self, f"do_{message.verb}")(**message.arguments))
        except (AgentWatchError, *FAILURES) as error:
            return Told(message.number, failed=str(error))

    def _take_batch(self, batch: Batch) -> Written:
        kept = [self._kept(item) for item in batch.items]
        told = Written(
            len(kept),
            # those that came with a record were counted when it was told of
            risks=[
                (item.record.session_id, item.record.risks)
                for item in batch.items
                if item.record.risks and item.request is not None
            ],
        )
        try:
            self._open_store().add(kept)
        except (AgentWatchError, *FAILURES) as error:
            told.failed = str(error)
        return told

    def _kept(self, item: Item) -> Kept:
        payloads = self._setup.telemetry.payloads
        if not (self._looks or self._setup.telemetry.keeps_text) or item.request is None:
            return Kept(item.record)
        try:
            request, answer = (Looked(self._policy, raw) for raw in (item.request, item.answer))
            if self._looks:
                tags = request.tags | answer.tags
                item.record.risks = self._policy.in_order(tags)
            if self._setup.telemetry.keeps_text:
                said = {"request": request.kept(payloads), "answer": answer.kept(payloads)}
                return Kept(item.record, said)
        except Exception as error:  # whatever a body is made of, its call is recorded
            logger.warning("a body could not be looked at (%s)", type(error).__name__)
        return Kept(item.record)

    # ---- questions

    def do_calls(self, session: str, after: int, limit: int, payloads: bool) -> dict[str, Any]:
        """A session's records behind `after`."""
        rows, last = self._open_store().calls(session, after, limit, payloads=payloads)
        return {"calls": rows, "last": last}

    def do_purge(
        self, session: str | None, project: str | None, before: float | None
    ) -> dict[str, Any]:
        """Remove what meets all of these."""
        return {"removed": self._open_store().purge(Purge(session, project, before))}

    def do_stats(self) -> dict[str, Any]:
        """How much there is."""
        store = self._open_store()
        return {"records": store.count(), "bytes": store.size}

    def do_blocked(self, body: bytes) -> list[str]:
        """The tags of a request for which it is not to be sent."""
        return self._policy.in_order(Looked(self._policy, body).tags & self._policy.blocked)

    # ---- the file

    def sweep(self) -> None:
        """Remove what is too old or too much, where it is time to look."""
        if self._setup.file is None or time.monotonic() < self._sweep_at:
            return
        self._sweep_at = time.monotonic() + SWEEP_S
        told = self._setup.telemetry
        try:
            store = self._open_store()
            removed = sum(
                store.purge(old)
                for old in age_limits(told.retention_days, told.project_retention_days)
                if store.has(old)
            )
            removed += store.keep_within(told.max_mb << 20)
        except (AgentWatchError, *FAILURES) as error:
            logger.error("old telemetry can't be removed: %s", error)
            return
        if removed:
            logger.info("telemetry: %d records were too old or too many, and were removed", removed)

    def _open_store(self) -> TelemetryStore:
        if self._store is None:
            if time.monotonic() < self._try_at or self._setup.file is None:
                raise AgentWatchError("the telemetry's file can't be opened")
            self._try_at = time.monotonic() + REOPEN_S
            store = TelemetryStore(Path(self._setup.file))
            store.go_on()
            self._store = store
        return self._store

    def close(self) -> None:
        """The pipe is at its end."""
        if self._store is not None:
            self._store.close()


def _frame(descriptor: int) -> bytes | None:
    size = _exactly(descriptor, LENGTH_BYTES)
    return size and _exactly(descriptor, int.from_bytes(size, "big"))


def _serve(worker: Worker, source: int, answers: int) -> None:
    """Until the pipe ends, or nobody hears any more."""
    try:
        while True:
            worker.sweep()
            if not select.select([source], [], [], SWEEP_S)[0]:
                continue
            data = _frame(source)
            if data is None:
                return
            message = for_worker(data)
            if not isinstance(message, Setup):
                _send(answers, worker.take(message))
    except BrokenPipeError:
        return
    finally:
        worker.close()


def _exactly(descriptor: int, size: int) -> bytes | None:
    """So many bytes; None where the pipe ends before."""
    data = bytearray()
    while len(data) < size:
        piece = os.read(descriptor, min(size - len(data), 1 << 20))
        if not piece:
            return None
        data += piece
    return bytes(data)


def _send(descriptor: int, message: Written | Told) -> None:
    data = memoryview(frame(message))
    while data:
        data = data[os.write(descriptor, data) :]


def main() -> int:
    """Serve the parent until the pipe ends."""
    not_dumpable()
    for number in (signal.SIGINT, signal.SIGTERM):
        # they are meant for the daemon, which closes the pipe when it is done
        signal.signal(number, signal.SIG_IGN)
    os.nice(10)
    log.configure("info")
    data = _frame(0)
    setup = data and for_worker(data)
    if isinstance(setup, Setup):
        _serve(Worker(setup), 0, 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
