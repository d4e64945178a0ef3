"""Calls that were made elsewhere, told of when their money is gone: what they cost is charged, and
never refused.

Two ways lead here: the record that the old client posts (`/v1/ingest`), and the files of the SDK's
calls that went out while no daemon was there (spooled.py). Each is priced by the daemon.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from agentwatch.core.accounts import Session
from agentwatch.core.money import to_usd
from agentwatch.core.price_book import ModelPrice, PriceBook
from agentwatch.core.prices import Unpriced, cost
from agentwatch.core.prompt_sizes import lane_key
from agentwatch.core.usage import Usage
from agentwatch.daemon.fields import count, seconds, text
from agentwatch.daemon.flight import Over
from agentwatch.daemon.governor import Governor
from agentwatch.daemon.quoting import ABSURD_TOKENS, Charge
from agentwatch.daemon.routes import Asked, Route, Said, row
from agentwatch.daemon.shapes import SCHEMA_VERSION
from agentwatch.daemon.trace import Trace
from agentwatch.errors import UsageError
from agentwatch.store.store import Store, Written, new_hold_id
from agentwatch.upstreams import PROVIDERS
from agentwatch.wire.dialect import Ask

#: the session of records that name none
UNNAMED = "elsewhere"
#: ids of the calls that are charged here, beside "h" of the proxy's and "p" of asked holds
_PREFIX = "i"
_MOST_TAGS = 32
#: why a call is charged nothing, as it has no price; or at its worst, as its server is nobody's:
#: reasons that are counted where people look
UNPRICED, UNKNOWN_SERVER = _PASSES = ("unpriced", "unknown_server")


class Bill(Struct, frozen=True, kw_only=True):
    """What a call that was made elsewhere comes to, and what was told of it. Nanos, tokens."""

    #: what was asked for; of a record that is told, as far as it says
    ask: Ask
    charge: Charge
    usage: Usage | None = None
    #: when it began, since 1970 (None: just now), and how long it took, in seconds
    at: float | None = None
    seconds: float = 0.0

    @property
    def counted(self) -> int | None:
        """Its input as somebody counted it; None: there is only a bound."""
        told = self.charge.basis == "usage" or self.charge.reason == UNPRICED
        return (self.charge.input_tokens or None) if told else None


class Elsewhere:
    """Charges them, and takes the old client's records."""

    def __init__(self, governor: Governor) -> None:
        self._governor = governor
        self._store: Store = governor.store

    def routes(self) -> tuple[Route, ...]:
        """The rows of this part."""
        return (row("POST", r"/v1/ingest", self.ingest, port=True),)

    async def ingest(self, asked: Asked) -> Said:
        """Take the record of one call; 202 once it is written down."""
        body = asked.body
        usage, model = _usage(body), text(body, "model")
        if not model:
            raise UsageError("model is missing")
        latency_s = _latency_s(body)
        _check_rest(body)
        session = self._session(body)
        if session.proxied:
            told = {"charged_usd": 0.0, "reason": "its calls come through the daemon"}
            return Said(202, {"schema_version": SCHEMA_VERSION, "accepted": True, **told})
        bill = bill_of(self._governor.book, model, usage, latency_s)
        risks = body.get("identified_risks") or []
        written = self.charge(session, bill, _PREFIX + new_hold_id()[1:], risks=risks)
        if written is not None:
            await written
        told = {"charged_usd": to_usd(bill.charge.nanos), "reason": bill.charge.reason or None}
        return Said(202, {"schema_version": SCHEMA_VERSION, "accepted": True, **told})

    def _session(self, body: Mapping[str, Any]) -> Session:
        name = text(body, "session_id") or UNNAMED
        known = self._store.ledger.sessions.get(name)
        if known is not None:
            return known
        terms = {"project": text(body, "project") or None, "team": text(body, "team") or None}
        return self._store.open_session(name, **terms)[0]

    def charge(
        self,
        session: Session,
        bill: Bill,
        call_id: str,
        cause: str | None = None,
        risks: list[str] | None = None,
    ) -> Written | None:
        """Charge one call, once: None where it has been before. `cause`: why no hold was made,
        where the SDK let it pass. `risks`: what was found in it; None: nobody looked."""
        cost = bill.charge
        reason = cost.reason or cause or ""
        written = self._store.charge(
            session.name,
            cost.nanos,
            cost.basis,
            hold_id=call_id,
            provider=bill.ask.provider,
            lane=lane_key(bill.ask.model, bill.ask.thread),
            counted=bill.counted or 0,
            model=cost.model,
            input_tokens=cost.input_tokens,
            output_tokens=cost.output_tokens,
            price_version=self._governor.book.version,
            reason=reason,
        )
        if written is not None:
            for each in filter(None, (cause, cost.reason if cost.reason in _PASSES else None)):
                self._governor.count_pass(session, each)
            self._watch(session, bill)
            self._record(session, bill, call_id, reason, risks)
        return written

    def _record(
        self, session: Session, bill: Bill, call_id: str, reason: str, risks: list[str] | None
    ) -> None:
        """What was told of the call, beside those that went through the daemon."""
        now = self._store.now()
        trace = Trace()
        trace.began_at = now - bill.seconds if bill.at is None else min(bill.at, now)
        trace.charge, trace.usage = replace(bill.charge, reason=reason), bill.usage
        ended = "lost" if bill.counted is None else "complete"
        record = trace.record(call_id, session, bill.ask, self._governor.book.version, ended)
        record.iteration, record.verdict = session.iterations, "elsewhere"
        record.seconds, record.risks = bill.seconds, risks
        self._governor.telemetry.tell(record)

    def _watch(self, session: Session, bill: Bill) -> None:
        """A runaway is one wherever its calls are made."""
        watch = self._governor.watch
        begun = watch.begun(session, session.iterations, bill.ask, bill.counted)
        watch.ended(session, begun, Over(bill.charge.nanos, bill.counted))


def bill_of(book: PriceBook, model: str, usage: Usage, seconds: float = 0.0) -> Bill:
    """The bill of a call of which the model's name, its tokens and how long it took are all that
    is told."""
    price = _price(book, model)
    nanos, basis, reason = 0, "estimate", UNPRICED
    if price is not None:
        try:
            nanos, basis, reason = cost(price, usage), "usage", ""
        except Unpriced:
            pass
    ask = Ask(
        provider=price.provider if price else "",
        api="elsewhere",
        upstream_path="",
        model=model[:256],
        input_bound=usage.input_tokens,
    )
    charge = Charge(nanos, basis, ask.model, usage.input_tokens, usage.output_tokens, reason)
    return Bill(ask=ask, charge=charge, usage=usage, seconds=seconds)


def _price(book: PriceBook, model: str) -> ModelPrice | None:
    """By the first provider that has the model; by the ceiling price where none has."""
    known = book.with_unknown(None)
    found = (known.find(provider, model) for provider in PROVIDERS)
    return next((each for each in found if each), None) or book.find(PROVIDERS[0], model)


def _usage(body: Mapping[str, Any]) -> Usage:
    read, made = count(body, "prompt_tokens"), count(body, "completion_tokens")
    if read is None or made is None:
        raise UsageError("prompt_tokens and completion_tokens are missing: whole numbers")
    if read + made > ABSURD_TOKENS:
        raise UsageError("prompt_tokens and completion_tokens are more than any call has")
    return Usage(input_tokens=read, output_tokens=made)


def _latency_s(body: Mapping[str, Any]) -> float:
    told = body.get("latency_ms")
    return (seconds({"latency_ms": told}, "latency_ms") or 0.0) / 1000 if told else 0.0


def _check_rest(body: Mapping[str, Any]) -> None:
    """What does not bear on the money must still be what it says that it is."""
    count(body, "iteration_index")
    tags = body.get("identified_risks") or []
    if not isinstance(tags, list) or len(tags) > _MOST_TAGS:
        raise UsageError("identified_risks must be a list of tags")
    if not all(isinstance(tag, str) and len(tag) <= 64 for tag in tags):
        raise UsageError("identified_risks must be a list of tags")
