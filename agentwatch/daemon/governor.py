"""The one use case: hold -> forward -> meter -> settle. It decides the order of steps.

Each call runs in a task of the daemon's own. A client that goes away does not end it at once: the
answer is read on for a short while, so that its usage is seen; then it is aborted and charged by
what was seen. Nothing is sent before its hold is durable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from agentwatch import tokens
from agentwatch.core import accounts as acc
from agentwatch.core import entries as e
from agentwatch.core.accounts import Session
from agentwatch.core.admission import Admitted, Policy, Refused, Waits
from agentwatch.core.estimate import Quote
from agentwatch.core.prices import PriceBook
from agentwatch.core.prompt_sizes import lane_key
from agentwatch.daemon import failpoints, words
from agentwatch.daemon.events import Events, event_of, refusal_event
from agentwatch.daemon.flight import Flight
from agentwatch.daemon.quoting import priced, quote_for
from agentwatch.daemon.relay import Client, Relay
from agentwatch.daemon.tasks import Tasks
from agentwatch.daemon.telemetry import Telemetry
from agentwatch.daemon.telemetry_frames import Item
from agentwatch.daemon.trace import item_of, refused
from agentwatch.daemon.turnstile import Turnstile
from agentwatch.daemon.upstream import Upstream
from agentwatch.daemon.watch import Watch
from agentwatch.errors import BarredError, JournalUnavailable, Refusal
from agentwatch.settings import Settings
from agentwatch.store.store import Store, Written, new_hold_id
from agentwatch.wire.dialect import Ask, Dialect, Request

logger = logging.getLogger(__name__)

_NOT_COUNTED = frozenset({"agent_budget_exceeded", "websocket_not_governed"})


class Call(Struct, frozen=True):
    """One request of an agent, read: who asks, in which dialect, for what."""

    session_id: str
    dialect: Dialect
    ask: Ask
    request: Request
    method: str
    headers: Mapping[str, str]
    #: the header that carries the credential, and what stands before the key in it
    slot: tuple[str, str]


class ProviderKeys(Protocol):
    """Where the providers' keys are."""

    def provider(self, name: str) -> str | None:
        """This provider's key; None where nobody gave one."""
        ...


class Governor:
    """Lets calls through, or not, and sees to it that each is paid for."""

    def __init__(
        self,
        store: Store,
        book: PriceBook,
        upstreams: Mapping[str, Upstream],
        keys: ProviderKeys,
        settings: Settings,
        tasks: Tasks,
        events: Events,
        watch: Watch,
        telemetry: Telemetry,
    ) -> None:
        self.store = store
        self.book = book
        self.events = events
        self.watch = watch
        self.telemetry = telemetry
        #: calls that governance did not fully cover, by cause, since this process began
        self.passes: dict[str, int] = {}
        self._upstreams = upstreams
        self._keys = keys
        self._settings = settings
        self._tasks = tasks
        self._turnstile = Turnstile()
        #: a tokenizer is busy for as long as a dozen calls take
        self._counting = asyncio.Semaphore(1)
        self._flights: dict[str, set[Flight]] = {}
        self._stopping = False
        self._policy = Policy(
            useful_output_tokens=settings.enforcement.useful_output_tokens,
            min_output_tokens=settings.enforcement.min_output_tokens,
            clamp=settings.enforcement.clamp,
        )
        store.listen(self._heard)

    @property
    def calls(self) -> int:
        """Calls that are out."""
        return sum(len(flights) for flights in self._flights.values())

    def calls_of(self, session_id: str) -> int:
        """Calls of one session that are out."""
        return len(self._flights.get(session_id, ()))

    @property
    def waiting(self) -> int:
        """Calls that wait for money."""
        return len(self._turnstile)

    async def serve(self, call: Call, client: Client) -> None:
        """See one call through to its end. Raises Refusal before anything was sent."""
        session = self.store.ledger.session(call.session_id)
        self._check_state(session)
        key = self._keys.provider(call.ask.provider)
        if key is None:
            raise Refusal("unknown_credential", words.no_provider_key(call.ask.provider))
        relay = Relay(
            self._upstreams[call.ask.provider],
            client,
            call,
            (call.slot[0], call.slot[1] + key),
            self._settings.enforcement.in_doubt,
        )
        if call.ask.free:
            passing = self._tasks.spawn(relay.pass_on(), f"free call of {session.name}")
            client.when_gone(lambda: _cancel(passing))
            await asyncio.shield(passing)
            return
        work = self._tasks.spawn(self._outcome(session, call, relay), f"call of {session.name}")
        client.when_gone(lambda: self._gone(session.name, work))
        refusal = await asyncio.shield(work)
        if refusal is not None:
            try:
                raise refusal
            finally:
                # else this frame and the error keep each other, and the request's body with them
                del refusal, work

    def end_calls(self, why: str, session_id: str | None = None) -> None:
        """End the calls that are out, of one session and its parts or all."""
        for name, flights in list(self._flights.items()):
            parents = self.store.ledger.session(name).parents
            if session_id in (None, name) or acc.session_account(session_id) in parents:
                for flight in list(flights):
                    flight.end(why)

    def stop(self) -> None:
        """The daemon is about to end: end the calls that are out, and those that wait for money,
        which must not be sent any more when the others' ends make room for them."""
        self._stopping = True
        self._turnstile.wake_everybody()
        self.end_calls("stopping")

    # ---- one call

    async def _outcome(self, session: Session, call: Call, relay: Relay) -> Refusal | None:
        """A refusal is an outcome of a task, and no failure of it."""
        try:
            await self._govern(session, call, relay)
        except Refusal as refusal:
            return refusal.with_traceback(None)
        return None

    async def _govern(self, session: Session, call: Call, relay: Relay) -> None:
        prices = priced(call.ask, self.book)
        auto_tier = self._settings.provider(call.ask.provider).auto_tier
        quoted = quote_for(call.ask, prices, auto_tier)
        quoted = await self._sharpened(session, call, quoted, auto_tier)
        if self.telemetry.blocks:
            await self.telemetry.check(call.request.body())
        hold_id = new_hold_id()
        failpoints.at("before_hold")
        verdict, written = await self._admit(session, call.ask, quoted, hold_id)
        failpoints.at("after_hold")
        flight = Flight(
            hold_id, session.name, call.ask, quoted, self.store, self.book, self._until_written
        )
        flight.flies_in(asyncio.current_task())
        flight.trace.keeps, flight.trace.held = self.telemetry.wants_text, flight.held
        flights = self._flights.setdefault(session.name, set())
        flights.add(flight)
        try:
            begun = self.watch.begun(session, flight.iteration, call.ask)
            flight.when_over = lambda how: self.watch.ended(session, begun, how)
            if flight.ended_by is not None:
                await asyncio.sleep(0)  # killed just now: nothing is to be sent
            await self._until_written(flight, written)
            failpoints.at("after_written")
            await relay.fly(flight, verdict.limit, lambda: self._left(session))
        except asyncio.CancelledError:
            self._refuse_if_killed(flight)
            raise
        finally:
            flight.abandon()
            self.telemetry.put(item_of(flight, session, verdict.limit, self.book.version))
            flights.discard(flight)
            if not flights:
                self._flights.pop(session.name, None)

    async def _admit(
        self, session: Session, ask: Ask, quoted: Quote, hold_id: str
    ) -> tuple[Admitted, Written]:
        def attempt(may_wait: bool) -> tuple[Admitted | Refused, Written] | Waits:
            if self._stopping:
                # it has sent nothing: its connection closes, and it asks the next process
                raise asyncio.CancelledError
            try:
                verdict, written = self.store.hold(
                    session.name,
                    quoted,
                    self._policy,
                    hold_id,
                    provider=ask.provider,
                    model=ask.model,
                    may_wait=may_wait,
                    lane=lane,
                )
            except BarredError as error:
                whose, _ = self.store.ledger.state_at(session, self.store.now())
                if error.state == acc.PAUSED and may_wait:
                    # it came before the pause, which was looked at on its arrival
                    return Waits(whose.id, 0)
                raise self.barred(whose, error.state) from None
            return verdict if isinstance(verdict, Waits) else (verdict, written)

        def hopeless() -> bool:
            return self._stopping or self.store.ledger.is_hopeless(
                session, quoted, self._policy, at=self.store.now()
            )

        charged = acc.charged_accounts(session, self.store.now())
        lane = lane_key(ask.model, ask.thread)
        self._check_journal(session)
        verdict, written = await self._turnstile.pass_through(
            charged, attempt, self._settings.enforcement.hold_wait_s, hopeless
        )
        if isinstance(verdict, Refused):
            raise self.out_of_money(session, verdict)
        return verdict, written

    async def _sharpened(
        self, session: Session, call: Call, quoted: Quote, auto_tier: str | None
    ) -> Quote:
        """The quote, by counted tokens where the bound in bytes does not fit and the count may."""
        if not call.ask.has_output or tokens.tokenizer_of(call.ask.model) is None:
            return quoted
        charged = acc.charged_accounts(session, self.store.now())
        purses = self.store.ledger.purses(session, charged)
        wanted = quoted.asked or self._policy.useful_output_tokens
        if all(quoted.worst(wanted) <= purse.free for purse in purses):
            return quoted
        if any(purse.room <= 0 for purse in purses):
            # no count could make it fit: who goes on asking is not to cost a processor
            return quoted
        if call.ask.input_bound > tokens.LONGEST_BODY:
            return quoted
        async with self._counting:
            counted = await asyncio.to_thread(_counted, call)
        if counted is None or counted + call.ask.input_overhead >= call.ask.input_bound:
            return quoted
        prices = priced(call.ask, self.book)
        return quote_for(call.ask, prices, auto_tier, counted + call.ask.input_overhead)

    def _check_state(self, session: Session) -> None:
        whose, state = self.store.ledger.state_at(session, self.store.now())
        if state in acc.BARRED:
            raise self.barred(whose, state)

    def barred(self, session: Session, state: str, status: int | None = None) -> Refusal:
        """The refusal of a call that a session's state bars, in the name of the outermost that is
        in it: what is a part of that came into it with it."""
        now, lineage = self.store.now(), self.store.ledger.lineage(session)
        whose = [session, *(each for each in lineage if each.state_at(now) == state)][-1]
        message = words.barred(whose, state, self.watch.why(whose))
        return Refusal(f"session_{state}", message, status=status)

    def _refuse_if_killed(self, flight: Flight) -> None:
        """A call that a kill caught between its hold and its sending is told so."""
        if flight.ended_by == "killed":
            raise self.barred(flight.session, acc.KILLED) from None

    def _left(self, session: Session) -> int | None:
        """What the session's next call could be given, in nanos; None: nothing bounds it."""
        ledger, charged = self.store.ledger, acc.charged_accounts(session, self.store.now())
        frees = (ledger.account(account_id).free for account_id in charged)
        return min((free for free in frees if free is not None), default=None)

    # ---- a journal that can't be written

    def _fails_open(self, session: Session) -> bool:
        if session.fail_open is not None:
            return session.fail_open
        return self._settings.enforcement.fail_open

    def _check_journal(self, session: Session) -> None:
        try:
            self.store.check_room()
            if self.store.failed is not None and not self._fails_open(session):
                raise JournalUnavailable(str(self.store.failed))
        except JournalUnavailable as error:
            raise Refusal("governance_unavailable", words.unavailable(error)) from error

    async def _until_written(self, flight: Flight, written: Written) -> None:
        session = flight.session
        try:
            await written
            self.watch.durable(session)
        except JournalUnavailable as error:
            if not self._fails_open(session):
                raise Refusal("governance_unavailable", words.unavailable(error)) from error
            if not flight.undurable:
                flight.undurable = True
                self.count_pass(session, "undurable")

    def count_pass(self, session: Session, cause: str) -> None:
        """Count a call that governance did not fully cover."""
        if not self.passes.get(cause):
            why = self.store.failed or "see `agentwatch status`"
            logger.error("calls pass without a durable hold (%s): %s", cause, why)
        if cause == "undurable":
            self.watch.undurable(session, str(self.store.failed))
        self.passes[cause] = self.passes.get(cause, 0) + 1
        session.passes[cause] = session.passes.get(cause, 0) + 1
        self.store.touch(session)

    # ---- what happens meanwhile

    def _gone(self, session_id: str, work: asyncio.Task[Refusal | None]) -> None:
        """The client went away: what waits is ended at once, what is out is read on a while."""
        for flight in self._flights.get(session_id, ()):
            if flight.task is work and flight.has_left:
                asyncio.get_running_loop().call_later(
                    self._settings.enforcement.drain_s, flight.end, "client_gone"
                )
                return
        work.cancel()

    def out_of_money(
        self, session: Session, verdict: Refused, status: int | None = None
    ) -> Refusal:
        """The refusal of a call for want of money, told to all whom it concerns."""
        ledger = self.store.ledger
        message, standing = words.exceeded(ledger, verdict), words.standing(ledger, verdict)
        refusal = Refusal("agent_budget_exceeded", message, status=status, standing=standing)
        self._tell_refusal(session, refusal, ledger.short_of(session, verdict.account))
        return refusal

    def refused(self, session: Session, refusal: Refusal, ask: Ask | None = None) -> None:
        """Count a request of this session's that was refused. One for want of money is counted
        where it is decided; a WebSocket is asked for again by HTTP at once."""
        self.telemetry.put(Item(refused(session, ask, refusal.reason, self.store.now())))
        if refusal.reason not in _NOT_COUNTED:
            self.store.count_refusal(session)
            self._tell_refusal(session, refusal, self.store.ledger.lineage(session))

    def _tell_refusal(
        self, session: Session, refusal: Refusal, concerned: Iterable[Session]
    ) -> None:
        event = refusal_event(refusal, session.name, self.store.now())
        self.events.tell(event, [each.name for each in concerned])

    def _heard(self, entry: e.AnyEntry) -> None:
        """An entry was applied: wake who waits for its money, end what it forbids, tell."""
        self._turnstile.hear(entry, self.store.ledger)
        if isinstance(entry, (e.Settled, e.Voided)):
            session_id = self.store.ledger.ended[entry.hold].session
        elif isinstance(entry, e.StateSet):
            if entry.state == acc.KILLED:
                self.end_calls("killed", entry.session)
            session_id = entry.session
        elif isinstance(entry, e.CeilingSet):
            kind, _, name = entry.account.partition(":")
            session_id = name if kind == "session" else ""
        else:
            return
        event = event_of(entry, session_id)
        if event is not None:
            self.events.tell(event)


def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()


def _counted(call: Call) -> int | None:
    """Tokens of a request's text; None where they can't be counted. For a thread."""
    text = call.request.text()
    return None if text is None else tokens.count(text)
