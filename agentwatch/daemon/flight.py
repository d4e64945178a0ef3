"""One call that is out: its hold, its meter, and what it is charged when it ends, however it ends.

Every way out of a flight leads through `settle` or `void`, and the ledger takes only the first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from agentwatch.core.accounts import Account, Session
from agentwatch.core.anomaly import Step
from agentwatch.core.estimate import Quote
from agentwatch.core.money import round_up
from agentwatch.core.prices import PriceBook
from agentwatch.daemon import failpoints
from agentwatch.daemon.quoting import Charge, charge
from agentwatch.daemon.trace import Trace
from agentwatch.store.store import Store, Written
from agentwatch.wire.dialect import Ask, Meter

#: output tokens that a stream which goes on past its hold is given at a time, while there is money
EXTENSION_TOKENS = (2048, 512, 128, 32, 8, 1)


#: returns once what a flight has set aside is written, or where it may go on without
UntilWritten = Callable[["Flight", Written], Awaitable[None]]


class OutOfMoney(Exception):
    """A stream has used up its hold, and no account has money for more."""


class Over(NamedTuple):
    """How a flight ended, for who watches its session. `tokens`: the input that was reported."""

    nanos: int = 0
    tokens: int | None = None
    failed: bool = False
    step: Step | None = None


class Flight:
    """A call from its hold to its one terminal entry."""

    def __init__(
        self,
        hold_id: str,
        session_id: str,
        ask: Ask,
        quoted: Quote,
        store: Store,
        book: PriceBook,
        until_written: UntilWritten,
    ) -> None:
        self.hold_id = hold_id
        self.session_id = session_id
        self.ask = ask
        self.iteration = store.ledger.holds[hold_id].iteration
        #: whether something that it has set aside could not be written
        self.undurable = False
        #: why the flight was ended from outside: client_gone, killed, stopping
        self.ended_by: str | None = None
        #: is told once how it ended, before the client has the last of the answer
        self.when_over: Callable[[Over], None] | None = None
        #: what is told of it once it is over
        self.trace = Trace()
        self._left_at: float | None = None
        self._quoted = quoted
        self._store = store
        self._book = book
        self.task: asyncio.Task[Any] | None = None
        self._until_written = until_written
        #: tokens that are paid for, by what is written, and with what is only about to be
        self._safe_tokens = self._paid_tokens = quoted.affordable(self.held) * max(1, ask.choices)
        self._extended: Written | None = None
        #: it is extended when fewer than so many tokens are left
        self._ahead_tokens = 0
        self._beyond: Written | None = None

    @property
    def held(self) -> int:
        """Nanos that are set aside for this call; 0 once it has ended."""
        hold = self._store.ledger.holds.get(self.hold_id)
        return hold.nanos if hold else 0

    @property
    def session(self) -> Session:
        """The session that pays."""
        return self._store.ledger.session(self.session_id)

    @property
    def shortest(self) -> Account:
        """Of the accounts that pay, the one that has least left."""
        ledger = self._store.ledger
        paying = ledger.holds.get(self.hold_id) or ledger.ended[self.hold_id]
        purses = ledger.purses(self.session, paying.accounts)
        if not purses:
            return self.session
        return ledger.account(min(purses, key=lambda purse: purse.free).account)

    def flies_in(self, task: asyncio.Task[Any] | None) -> None:
        """The task that is to be cancelled when the flight is ended from outside."""
        self.task = task

    def leave(self) -> None:
        """From here on the provider may have seen the request, and may bill it."""
        self._left_at = time.monotonic()

    @property
    def has_left(self) -> bool:
        """Whether the provider may have seen it."""
        return self._left_at is not None

    @property
    def _seconds(self) -> float:
        """How long the provider may have worked on it."""
        return 0.0 if self._left_at is None else time.monotonic() - self._left_at

    def end(self, why: str) -> None:
        """End the flight from outside; the first reason counts."""
        if self.ended_by is None and self.task is not None and not self.task.done():
            self.ended_by = why
            self.task.cancel()

    async def pay_for(self, meter: Meter) -> None:
        """Set more aside where the stream has certainly gone past what is held, and return once
        all that it has made is paid for by what is written.

        One within its limit asks for nothing. One that has gone past it is extended before it has
        used up the last extension, so that it need not wait for the disk again.
        Raises OutOfMoney where the money is not there, Refusal where it can't be written.
        """
        made = meter.output_floor if self.ask.has_output else 0
        while made > self._paid_tokens:
            if not self._extend():
                raise OutOfMoney
        if made > self._safe_tokens and self._extended is not None:
            await self._until_written(self, self._extended)
            self._safe_tokens = self._paid_tokens
        if made > self._paid_tokens - self._ahead_tokens:
            self._extend()

    def _extend(self) -> bool:
        per_token = self._quoted.per_token // max(1, self.ask.choices)
        for tokens in EXTENSION_TOKENS:
            granted, written = self._store.extend(self.hold_id, round_up(tokens * per_token))
            if granted:
                self._paid_tokens += tokens
                self._ahead_tokens = tokens // 2
                self._extended = written
                failpoints.at("after_extend")
                return True
        self._ahead_tokens = 0
        return False

    async def until_paid(self) -> None:
        """Return once what it cost beyond its hold is written, which nobody could tell after a
        crash. Raises Refusal where it can't be."""
        if self._beyond is not None:
            await self._until_written(self, self._beyond)

    def settle(self, meter: Meter) -> int:
        """Charge what the answer cost, as far as it was read; nanos."""
        self.trace.usage = meter.usage
        what = charge(self.ask, self._quoted, self.held, meter, self._book, self._seconds)
        nanos = self._settle(what)
        tokens = what.input_tokens if what.basis == "usage" else None
        self._over(Over(nanos, tokens, meter.error is not None, meter.step))
        return nanos

    def settle_in_doubt(self, rule: str, reason: str = "no answer came after it was sent") -> int:
        """Charge a call whose answer never came: the whole hold (rule "hold"), or its input."""
        whole = rule == "hold" or not self.ask.has_output
        nanos = self.held if whole else min(self.held, self._quoted.worst(0))
        paid = self._settle(
            Charge(nanos, "estimate", self.ask.model, self.ask.input_bound, 0, reason)
        )
        self._over(Over(paid, failed=self.ended_by is None))
        return paid

    def abandon(self) -> None:
        """End a hold that is still open when the call is over, whatever went wrong: it is given
        back only where nothing was sent."""
        if self._left_at is not None:
            self.settle_in_doubt("hold", "the call failed in the daemon")
        else:
            self._over(Over())
            self.void("not sent")

    def void(self, reason: str) -> None:
        """Nothing was billed for sure."""
        if self.hold_id in self._store.ledger.holds:
            self.trace.voided = reason
        self._store.void(self.hold_id, reason)
        self._over(Over(failed=True))

    def _over(self, how: Over) -> None:
        tell, self.when_over = self.when_over, None
        if tell is not None:
            tell(how)

    def _settle(self, what: Charge) -> int:
        if self.hold_id in self._store.ledger.holds:
            # what follows is a repeat, which changes nothing
            self.trace.charge = what
        failpoints.at("before_settle")
        held = self.held
        outcome, written = self._store.settle(
            self.hold_id,
            what.nanos,
            what.basis,
            model=what.model,
            input_tokens=what.input_tokens,
            output_tokens=what.output_tokens,
            price_version=self._book.version,
            reason=what.reason,
        )
        failpoints.at("after_settle")
        if outcome.nanos > held:
            self._beyond = written
        return outcome.nanos
