"""Money for calls that are made elsewhere: a caller that reaches the provider itself asks for a
hold first and tells afterwards what the call cost; or only asks how its session stands.

No limit can be put into such a call, so its worst case is held in full or it is refused; and it
never waits. A hold of which nothing is heard any more was or may have been spent: it is settled in
full, after a while or, as any other, when the daemon comes back from a crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import msgspec
from msgspec.structs import replace

from agentwatch.core import accounts as acc
from agentwatch.core.accounts import Hold, Outcome, Session
from agentwatch.core.admission import Policy, Refused
from agentwatch.core.anomaly import Begun
from agentwatch.core.estimate import Quote
from agentwatch.core.money import parse_usd, to_usd
from agentwatch.core.prices import PriceBook
from agentwatch.core.prompt_sizes import lane_key
from agentwatch.core.seen import Seen
from agentwatch.daemon.fields import check_fields, count, money, text
from agentwatch.daemon.flight import Over
from agentwatch.daemon.governor import Governor
from agentwatch.daemon.quoting import ABSURD_TOKENS, Charge, charge, priced, quote_for
from agentwatch.daemon.telemetry_frames import Item
from agentwatch.daemon.trace import Trace, record_elsewhere
from agentwatch.errors import BarredError, JournalUnavailable, Refusal, UnknownHold, UsageError
from agentwatch.settings import Settings
from agentwatch.store.store import Written, new_hold_id
from agentwatch.wire.dialect import Ask, Dialect

Answer = dict[str, Any]

#: seconds after which nobody is expected to tell how a call ended
FORGOTTEN_S = 3600.0
#: holds of this room: those of calls that go through the daemon are not to be ended from outside
_PREFIX = "p"
_POLICY = Policy(clamp=False)
_HOLD_FIELDS = (
    "session_id",
    "provider",
    "model",
    "input_tokens",
    "max_output_tokens",
    "budget_usd",
)


class _Out(NamedTuple):
    """A call that somebody makes elsewhere."""

    begun: Begun
    ask: Ask
    quoted: Quote
    trace: Trace


class Preflight:
    """Holds that a caller asks for and ends itself."""

    def __init__(
        self, governor: Governor, dialects: Mapping[str, Dialect], settings: Settings
    ) -> None:
        self._governor = governor
        self._dialects = dialects
        self._store = governor.store
        self._settings = settings
        #: by their holds
        self._out: dict[str, _Out] = {}

    # ---- how does it stand?

    def check(self, query: str, inside: Session | None) -> Answer:
        """The answer to a budget check. What makes no sense in the query is taken for absent, as
        the old client takes an error for an outage, and goes on. `inside`: the session that the
        caller is wrapped in, which is the only one that it may ask for. Raises Refusal."""
        asked = _parameters(query)
        name = asked.get("session_id", "")
        if inside is not None and name != inside.name:
            raise Refusal("not_from_inside", "from inside only its own session is seen", status=403)
        limit = _limit(asked.get("limit_usd", ""))
        session = self._store.ledger.sessions.get(name)
        if session is None:
            return _standing(limit, 0, 0, acc.ACTIVE, False)
        if session.ceiling is not None:
            limit = session.ceiling if limit is None else min(limit, session.ceiling)
        _, state = self._store.ledger.state_at(session, self._store.now())
        barred = state != acc.ACTIVE or self._is_spent(session)
        return _standing(limit, session.settled, session.held, state, barred)

    def _is_spent(self, session: Session) -> bool:
        """Whether the session, its project or its team has nothing left that binds it."""
        charged = acc.charged_accounts(session, self._store.now())
        return any(purse.room <= 0 for purse in self._store.ledger.purses(session, charged))

    # ---- holds

    async def hold(self, body: Mapping[str, Any]) -> Answer:
        """Set a call's worst case aside. Raises Refusal (402 where the money is not there),
        UsageError, JournalUnavailable."""
        check_fields(body, _HOLD_FIELDS)
        ask = asked_of(body, self._dialects)
        prices = priced(ask, self._governor.book)
        quoted = quote_for(ask, prices, self._settings.provider(ask.provider).auto_tier)
        session_id = text(body, "session_id")
        if not session_id:
            raise UsageError("session_id is missing")
        ceiling = money(body, "budget_usd")
        session = self._store.ledger.sessions.get(session_id)
        if session is None or ceiling is not None:
            session, _ = self._store.open_session(session_id, ceiling=ceiling)
        hold_id = _PREFIX + new_hold_id()[1:]
        try:
            written = self._set_aside(session, ask, quoted, hold_id)
        except Refusal as refusal:
            self._governor.refused(session, refusal, ask)
            raise
        # while it is written
        hold = self._store.ledger.holds[hold_id]
        begun = self._governor.watch.begun(session, hold.iteration, ask, ask.input_bound or None)
        self._out[hold_id] = _Out(begun, ask, quoted, Trace(hold.nanos))
        try:
            await written
        except JournalUnavailable:
            self._void(hold_id, "never promised")
            raise
        asyncio.get_running_loop().call_later(FORGOTTEN_S, self._forgotten, hold_id)
        return {
            "hold_id": hold_id,
            "iteration": hold.iteration,
            "held_usd": to_usd(hold.nanos),
            "remaining_usd": _remaining(session),
        }

    def _set_aside(self, session: Session, ask: Ask, quoted: Quote, hold_id: str) -> Written:
        about = {
            "provider": ask.provider,
            "model": ask.model,
            "may_wait": False,
            "elsewhere": True,
            "lane": lane_key(ask.model, ask.thread),
            "input_tokens": ask.input_bound,
        }
        try:
            verdict, written = self._store.hold(session.name, quoted, _POLICY, hold_id, **about)
        except BarredError as error:
            whose, _ = self._store.ledger.state_at(session, self._store.now())
            raise self._governor.barred(whose, error.state, status=403) from None
        if isinstance(verdict, Refused):
            raise self._governor.out_of_money(session, verdict, status=402)
        return written

    async def end(self, hold_id: str, verb: str, body: Mapping[str, Any]) -> Answer:
        """Settle a hold by the usage or the whole answer that is told (in full where neither is),
        or void it. Repeating either changes nothing. Raises UnknownHold, UsageError."""
        if not hold_id.startswith(_PREFIX):
            raise UnknownHold(f"no hold {hold_id!r} that was asked for by POST /v1/holds")
        check_fields(body, ("usage", "answer") if verb == "settle" else ())
        hold = self._store.ledger.holds.get(hold_id)
        if verb == "void":
            outcome, written = self._void(hold_id, "given back by the caller")
        elif hold is None:
            outcome, written = self._store.settle(hold_id, 0, "usage")
        else:
            told = told_of(self._dialects[hold.provider], hold.model, body)
            outcome, written = self._settled(hold, told)
        await written
        return self._ended(outcome)

    def _settled(self, hold: Hold, told: Seen | None) -> tuple[Outcome, Written]:
        out = self._out[hold.id]
        found = told_charge(out.ask, out.quoted, hold.nanos, told, self._governor.book)
        if told is None:
            return self._settle(hold, replace(found, input_tokens=0))
        out.trace.usage = told.usage
        return self._settle(hold, found)

    def _settle(self, hold: Hold, found: Charge) -> tuple[Outcome, Written]:
        outcome, written = self._store.settle(
            hold.id,
            found.nanos,
            found.basis,
            model=hold.model,
            input_tokens=found.input_tokens,
            output_tokens=found.output_tokens,
            price_version=self._governor.book.version,
            reason=found.reason,
        )
        self._out[hold.id].trace.charge = found
        counted = found.input_tokens if found.basis == "usage" else None
        self._over(outcome, Over(outcome.nanos, counted))
        return outcome, written

    def _void(self, hold_id: str, why: str) -> tuple[Outcome, Written]:
        outcome, written = self._store.void(hold_id, why)
        if hold_id in self._out:
            self._out[hold_id].trace.voided = why
        self._over(outcome, Over(failed=True))
        return outcome, written

    def _over(self, outcome: Outcome, how: Over) -> None:
        out = self._out.pop(outcome.hold, None)
        if out is not None:
            session = self._store.ledger.session(outcome.session)
            self._governor.watch.ended(session, out.begun, how)
            version = self._governor.book.version
            record = record_elsewhere(out.trace, outcome, session, out.ask, version)
            self._governor.telemetry.put(Item(record))

    def _ended(self, outcome: Outcome) -> Answer:
        return {
            "hold_id": outcome.hold,
            "iteration": outcome.iteration,
            "basis": outcome.basis,
            "settled_usd": to_usd(outcome.nanos),
            "remaining_usd": _remaining(self._store.ledger.session(outcome.session)),
        }

    def _forgotten(self, hold_id: str) -> None:
        hold = self._store.ledger.holds.get(hold_id)
        if hold is not None:
            why = "nobody told how the call ended"
            self._settle(hold, Charge(hold.nanos, "estimate", hold.model, 0, 0, why))


def asked_of(body: Mapping[str, Any], known: Collection[str]) -> Ask:
    """The call that a caller wants to make of one of the `known` providers. Raises UsageError."""
    provider, model = text(body, "provider"), text(body, "model")
    if not provider or provider not in known:
        raise UsageError(f"provider must be one of: {', '.join(known)}")
    if not model:
        raise UsageError("model is missing")
    given = count(body, "input_tokens")
    limit = count(body, "max_output_tokens")
    return Ask(
        provider=provider,
        api="preflight",
        upstream_path="",
        model=model,
        input_bound=given or 0,
        # not told: only the model's context window bounds it
        input_by_reference=given is None,
        has_output=limit != 0,
        output_limit=limit or None,
        # what the call does with a cache is not told
        cache_write_long=True,
    )


def told_of(dialect: Dialect, model: str, body: Mapping[str, Any]) -> Seen | None:
    """What a caller tells of a call: the provider's `usage` object, or its whole `answer`, from
    which the fees beside the usage are read as well; None: nothing. Raises UsageError."""
    usage, answer = body.get("usage"), body.get("answer")
    if usage is not None and answer is not None:
        raise UsageError("usage stands in the answer: tell one of them")
    if answer is not None:
        whole = f"answer must be a whole one of {dialect.name} (else tell its usage alone),"
        return _checked(_answered(dialect, answer), whole)
    if usage is not None:
        return _checked(_reported(dialect, model, usage), f"usage must be {dialect.name}'s object,")
    return None


def _answered(dialect: Dialect, answer: object) -> Seen | None:
    meter = dialect.answered(msgspec.json.encode(answer))
    return None if meter is None else Seen.of(meter)


def _reported(dialect: Dialect, model: str, usage: object) -> Seen | None:
    found = dialect.reported(msgspec.json.encode(usage), model)
    if found is None:
        return None
    return Seen(usage=found.usage, service_tier=found.service_tier, complete=True)


def _checked(seen: Seen | None, wanted: str) -> Seen:
    usage = None if seen is None else seen.usage
    if seen is None or usage is None or usage.input_tokens + usage.output_tokens > ABSURD_TOKENS:
        raise UsageError(f"{wanted} as it reported it, with whole tokens in it")
    return seen


def told_charge(ask: Ask, quoted: Quote, held: int, told: Seen | None, book: PriceBook) -> Charge:
    """What such a call cost; the whole hold where that was not told, or has no price."""
    if told is None:
        return Charge(held, "estimate", ask.model, ask.input_bound, 0, "no usage was told")
    found = charge(ask, quoted, held, told, book)
    return found if found.basis == "usage" else replace(found, nanos=held)


def _parameters(query: str) -> dict[str, str]:
    """Each parameter's last value, as it was meant."""
    if "%" in query or "+" in query:
        return {name: told[-1] for name, told in parse_qs(query, errors="replace").items()}
    return dict(part.partition("=")[::2] for part in query.split("&"))


def _limit(told: str) -> int | None:
    try:
        return parse_usd(told, "limit_usd")
    except UsageError:
        return None


def _standing(limit: int | None, settled: int, held: int, state: str, barred: bool) -> Answer:
    left = None if limit is None else max(0, limit - settled - held)
    return {
        "exceeded": barred or (limit is not None and settled >= limit),
        "spent_usd": to_usd(settled),
        "limit_usd": None if limit is None else to_usd(limit),
        "remaining_usd": None if left is None else to_usd(left),
        "state": state,
    }


def _remaining(session: Session) -> float | None:
    free = session.free
    return None if free is None else to_usd(max(0, free))
