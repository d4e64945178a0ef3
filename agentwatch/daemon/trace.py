"""What is noted of a call while it is out, and the record that is made of it when it is over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from agentwatch.core.accounts import Outcome, Session
from agentwatch.core.call_record import CallRecord
from agentwatch.core.usage import Usage
from agentwatch.daemon.quoting import Charge
from agentwatch.daemon.telemetry_frames import Item
from agentwatch.wire.dialect import Ask

if TYPE_CHECKING:
    from agentwatch.daemon.flight import Flight

#: an answer is kept up to this size, for who looks at what it says
LARGEST_ANSWER = 8 << 20


class Trace:
    """Times, sizes and outcome of one call. Noting costs no more than a list's append."""

    def __init__(self, held: int = 0) -> None:
        self.began = time.monotonic()
        self.began_at = time.time()
        self.held = held
        self.status: int | None = None
        self.usage: Usage | None = None
        self.charge: Charge | None = None
        self.voided: str | None = None
        self.request: bytes = b""
        #: whether what comes is to be kept until the end
        self.keeps = False
        self._first_at: float | None = None
        self._pieces: list[bytes] = []
        self._size = 0

    def sent(self, body: bytes) -> None:
        """What goes to the provider."""
        self.request = body

    def came(self, plain: bytes) -> None:
        """Some more of the answer, decoded."""
        if self._first_at is None:
            self._first_at = time.monotonic()
        self._size += len(plain)
        if self.keeps and self._size <= LARGEST_ANSWER:
            self._pieces.append(plain)

    @property
    def answer(self) -> bytes:
        """What came, as far as it was kept: a larger one is left out, as it can't be read."""
        return b"".join(self._pieces) if self._size <= LARGEST_ANSWER else b""

    def record(
        self, request_id: str, session: Session, ask: Ask, price_version: str, ended_by: str | None
    ) -> CallRecord:
        """The call's record."""
        charge = self.charge
        return CallRecord(
            request_id=request_id,
            **_who(session, ask),
            at=self.began_at,
            model=charge.model if charge else ask.model,
            ended=self._ended(ended_by),
            reason=(charge.reason if charge else self.voided) or "",
            status=self.status,
            basis=charge.basis if charge else "void",
            price_version=price_version,
            held_nanos=self.held,
            cost_nanos=charge.nanos if charge else 0,
            input_tokens=charge.input_tokens if charge else 0,
            output_tokens=charge.output_tokens if charge else 0,
            usage=_by_kind(self.usage),
            first_byte_s=None if self._first_at is None else _rounded(self._first_at - self.began),
            seconds=_rounded(time.monotonic() - self.began),
            request_bytes=len(self.request),
            answer_bytes=self._size,
        )

    def _ended(self, ended_by: str | None) -> str:
        if ended_by is not None:
            return ended_by
        if self.charge is None:
            return "failed" if self.status else "not_sent"
        if self.status is None:
            return "lost"
        return "complete" if self.charge.basis == "usage" else "cut"


def item_of(flight: Flight, session: Session, limit: int | None, price_version: str) -> Item:
    """A flight that is over, for the telemetry. `limit`: the output limit that was put in."""
    trace = flight.trace
    record = trace.record(flight.hold_id, session, flight.ask, price_version, flight.ended_by)
    record.iteration = flight.iteration
    if limit is not None:
        record.verdict = "clamped"
    return Item(record, trace.request, trace.answer) if trace.keeps else Item(record)


def record_elsewhere(
    trace: Trace, outcome: Outcome, session: Session, ask: Ask, price_version: str
) -> CallRecord:
    """The record of a call for which money was asked here, and which was made elsewhere."""
    ended = "complete" if outcome.basis == "usage" else None
    record = trace.record(outcome.hold, session, ask, price_version, ended)
    record.iteration = outcome.iteration
    return record


def refused(session: Session, ask: Ask | None, reason: str, at: float) -> CallRecord:
    """The record of a request that was not let through."""
    return CallRecord(
        request_id="",
        **_who(session, ask),
        at=at,
        verdict="refused",
        reason=reason,
        ended="refused",
        model=ask.model if ask else "",
    )


def _who(session: Session, ask: Ask | None) -> dict[str, Any]:
    who: dict[str, Any] = {
        "session_id": session.name,
        "project": session.project,
        "team": session.team,
    }
    if ask is not None:
        who |= {"provider": ask.provider, "api": ask.api, "stream": ask.stream}
        who["model_asked"] = ask.model
    return who


def _by_kind(usage: Usage | None) -> dict[str, Any]:
    """The counts that were reported; what is 0 is left out."""
    if usage is None:
        return {}
    told: dict[str, Any] = msgspec.to_builtins(usage)
    return {name: value for name, value in told.items() if name != "by_kind"}


def _rounded(seconds: float) -> float:
    return round(seconds, 6)
