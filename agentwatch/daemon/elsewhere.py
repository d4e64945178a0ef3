"""Calls that were made elsewhere, told of when their money is gone: what they cost is charged, and
never refused.

Two ways lead here: the record that the old client posts (`/v1/ingest`), and the files of the SDK's
calls that went out while no daemon was there (spooled.py). Each is priced by the daemon.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from msgspec import Struct

from agentwatch.core.accounts import Session
from agentwatch.core.call_record import CallRecord
from agentwatch.core.money import to_usd
from agentwatch.core.price_book import ModelPrice, PriceBook
from agentwatch.core.prices import Unpriced, cost
from agentwatch.core.usage import Usage
from agentwatch.daemon.fields import count, seconds, text
from agentwatch.daemon.flight import Over
from agentwatch.daemon.governor import Governor
from agentwatch.daemon.quoting import ABSURD_TOKENS
from agentwatch.daemon.routes import Asked, Route, json_answer, row
from agentwatch.daemon.shapes import SCHEMA_VERSION
from agentwatch.errors import UsageError
from agentwatch.store.store import Store, Written, new_hold_id
from agentwatch.upstreams import PROVIDERS
from agentwatch.wire.dialect import Ask

#: the session of records that name none
UNNAMED = "elsewhere"
#: ids of the calls that are charged here, beside "h" of the proxy's and "p" of asked holds
_PREFIX = "i"
_MOST_TAGS = 32


class Bill(Struct, frozen=True, kw_only=True):
    """What a call that was made elsewhere comes to. Nanos, tokens."""

    provider: str
    model: str
    nanos: int
    basis: str
    input_tokens: int = 0
    output_tokens: int = 0
    #: why the amount is not what the provider's report says, if it is not
    reason: str = ""


class Elsewhere:
    """Charges them, and takes the old client's records."""

    def __init__(self, governor: Governor) -> None:
        self._governor = governor
        self._store: Store = governor.store

    def routes(self) -> tuple[Route, ...]:
        """The rows of this part."""
        return (row("POST", r"/v1/ingest", self.ingest, port=True),)

    async def ingest(self, asked: Asked) -> web.StreamResponse:
        """Take the record of one call; 202 once it is written down."""
        body = asked.body
        usage, model = _usage(body), text(body, "model")
        if not model:
            raise UsageError("model is missing")
        _check_rest(body)
        session = self._session(body)
        if session.proxied:
            told = {"charged_usd": 0.0, "reason": "its calls come through the daemon"}
            return json_answer(202, {"schema_version": SCHEMA_VERSION, "accepted": True, **told})
        bill = bill_of(self._governor.book, model, usage)
        written = self.charge(session, bill, _PREFIX + new_hold_id()[1:])
        if written is not None:
            self._record(session, bill, body.get("identified_risks") or [])
            await written
        told = {"charged_usd": to_usd(bill.nanos), "reason": bill.reason or None}
        return json_answer(202, {"schema_version": SCHEMA_VERSION, "accepted": True, **told})

    def _session(self, body: Mapping[str, Any]) -> Session:
        name = text(body, "session_id") or UNNAMED
        known = self._store.ledger.sessions.get(name)
        if known is not None:
            return known
        terms = {"project": text(body, "project") or None, "team": text(body, "team") or None}
        return self._store.open_session(name, **terms)[0]

    def charge(
        self, session: Session, bill: Bill, call_id: str, cause: str | None = None
    ) -> Written | None:
        """Charge one call, once: None where it has been before. `cause`: why no hold was made,
        where the SDK let it pass."""
        written = self._store.charge(
            session.name,
            bill.nanos,
            bill.basis,
            hold_id=call_id,
            provider=bill.provider,
            model=bill.model,
            input_tokens=bill.input_tokens,
            output_tokens=bill.output_tokens,
            price_version=self._governor.book.version,
            reason=bill.reason or cause or "",
        )
        if written is not None:
            for each in filter(None, (cause, "unpriced" if bill.reason == _UNPRICED else None)):
                self._governor.count_pass(session, each)
            self._watch(session, bill)
        return written

    def _record(self, session: Session, bill: Bill, risks: list[str]) -> None:
        """What was told of the call, beside those that went through the daemon."""
        self._governor.telemetry.tell(
            CallRecord(
                request_id="",
                session_id=session.name,
                at=self._store.now(),
                project=session.project,
                team=session.team,
                provider=bill.provider,
                api="elsewhere",
                model=bill.model,
                model_asked=bill.model,
                iteration=session.iterations,
                verdict="elsewhere",
                reason=bill.reason,
                basis=bill.basis,
                price_version=self._governor.book.version,
                cost_nanos=bill.nanos,
                input_tokens=bill.input_tokens,
                output_tokens=bill.output_tokens,
                risks=risks,
            )
        )

    def _watch(self, session: Session, bill: Bill) -> None:
        """A runaway is one wherever its calls are made."""
        ask = Ask(
            provider=bill.provider,
            api="elsewhere",
            upstream_path="",
            model=bill.model,
            input_bound=bill.input_tokens,
        )
        watch, tokens = self._governor.watch, bill.input_tokens or None
        begun = watch.begun(session, session.iterations, ask, tokens)
        watch.ended(session, begun, Over(bill.nanos, tokens))


_UNPRICED = "unpriced"


def bill_of(book: PriceBook, model: str, usage: Usage) -> Bill:
    """The bill of a call of which the model's name and its tokens are all that is told."""
    price = _price(book, model)
    nanos, basis, reason = 0, "estimate", _UNPRICED
    if price is not None:
        try:
            nanos, basis, reason = cost(price, usage), "usage", ""
        except Unpriced:
            pass
    return Bill(
        provider=price.provider if price else "",
        model=model[:256],
        nanos=nanos,
        basis=basis,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        reason=reason,
    )


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


def _check_rest(body: Mapping[str, Any]) -> None:
    """What does not bear on the money must still be what it says that it is."""
    count(body, "iteration_index")
    latency = body.get("latency_ms")
    if latency:
        seconds({"latency_ms": latency}, "latency_ms")
    tags = body.get("identified_risks") or []
    if not isinstance(tags, list) or len(tags) > _MOST_TAGS:
        raise UsageError("identified_risks must be a list of tags")
    if not all(isinstance(tag, str) and len(tag) <= 64 for tag in tags):
        raise UsageError("identified_risks must be a list of tags")
