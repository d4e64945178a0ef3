"""The ledger's verbs: what may be done to a session, a budget and a call's money.

A call's money moves so, and in no other way (ledger.md):

    open --Held--> held --Settled--> settled --Adjusted--> settled
                    |  `--Voided---> voided
                    `--Extended--> held

Every verb decides in one step, without I/O and without an await; what it decided is an entry,
which it applies and returns, so that the live ledger and the one folded from the journal are made
by the same code. A repeated verb finds the hold ended, answers as the first did, and returns no
entry.

    verb      from        to        entry
    hold      -           held      Held        all accounts of the call, or none
    hold      held        held      -           the same answer again
    extend    held        held      Extended    only where every account has the money
    settle    held        settled   Settled     never refused, never cut: the excess is overdraft
    void      held        voided    Voided
    adjust    settled     settled   Adjusted    only upwards: what is settled never falls
    charge    -           settled   Held, Settled   of a call that was made without a hold
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentwatch.core import accounts as acc
from agentwatch.core import entries as e
from agentwatch.core.accounts import Outcome, Session
from agentwatch.core.admission import Admitted, Policy, Refused, Waits, admit
from agentwatch.core.bounds import Bounds
from agentwatch.core.estimate import Quote
from agentwatch.core.ids import ID_RULE, NAME, RULE, SESSION_ID
from agentwatch.errors import BarredError, LedgerError, UsageError

#: what a person may do to a session: verb -> (states it is allowed in, state after it)
SESSION_VERBS = {
    "pause": ({acc.ACTIVE, acc.EXHAUSTED, acc.PAUSED}, acc.PAUSED),
    "resume": ({acc.PAUSED, acc.ACTIVE, acc.EXHAUSTED}, acc.ACTIVE),
    "kill": (acc.STATES, acc.KILLED),
    "close": ({acc.ACTIVE, acc.EXHAUSTED, acc.PAUSED, acc.CLOSED}, acc.CLOSED),
}

#: a session's new state -> the states in which its parts come into it as well: what is open ends
#: with its whole, and what goes on is judged anew with it
_FOLLOWED_FROM = {
    acc.KILLED: acc.STATES - acc.ENDED,
    acc.CLOSED: acc.STATES - acc.ENDED,
    acc.ACTIVE: {acc.ACTIVE},
}


class Ledger(Bounds):
    """The balances, what bounds a call, and the verbs that move them."""

    # ---- verbs on sessions and budgets

    def open(
        self,
        session_id: str,
        *,
        at: float,
        ceiling: int | None = None,
        mode: str | None = None,
        project: str | None = None,
        team: str | None = None,
        on_anomaly: str | None = None,
        fail_open: bool | None = None,
        ttl_s: float | None = None,
        parent: str | None = None,
    ) -> list[e.AnyEntry]:
        """Open a session, or the one with this id again: then its ceiling is only ever lowered
        and its other terms only made stricter, and what it has spent stays spent.

        With `parent` it is a part of that session: what it holds and spends is held and spent
        there too, so that all parts together stay within its ceiling, its project's and its team's.
        No part is treated more gently than the whole.
        Raises UsageError for an id, mode or name that can't be, and for another parent than it has.
        """
        _check_names(session_id, mode, project, team, on_anomaly)
        known = self.sessions.get(session_id)
        if parent is not None:
            above = self._parent_for(session_id, known, parent)
            project, team = above.project or project, above.team or team
            on_anomaly = max(
                above.on_anomaly, on_anomaly or above.on_anomaly, key=acc.ANOMALY_ACTIONS.index
            )
            fail_open = False if fail_open is False else above.fail_open
        if known is None:
            opened = e.Opened(
                at=at,
                session=session_id,
                ceiling=ceiling,
                mode=mode or "enforce",
                project=project,
                team=team,
                on_anomaly=on_anomaly or "alert",
                fail_open=fail_open,
                parent=parent,
                expires_at=None if ttl_s is None else at + ttl_s,
            )
            return self._do(opened) + self._ended_with_its_whole(session_id, at)
        done: list[e.AnyEntry] = []
        if ceiling is not None and (known.ceiling is None or ceiling < known.ceiling):
            done += self._do(e.CeilingSet(at=at, account=known.id, ceiling=ceiling))
        stricter = e.Opened(
            at=at,
            session=session_id,
            mode=max(known.mode, mode or known.mode, key=acc.MODES.index),
            on_anomaly=max(
                known.on_anomaly, on_anomaly or known.on_anomaly, key=acc.ANOMALY_ACTIONS.index
            ),
            fail_open=False if fail_open is False else known.fail_open,
        )
        if (stricter.mode, stricter.on_anomaly, stricter.fail_open) != (
            known.mode,
            known.on_anomaly,
            known.fail_open,
        ):
            done += self._do(stricter)
        return done

    def _parent_for(self, session_id: str, known: Session | None, parent: str) -> Session:
        above = self.session(parent)
        if known is not None:
            if above.id not in known.parents:
                raise UsageError(f"session {session_id} is there already, and no part of {parent}")
        elif self.has_most_parts(above) or len(above.parents) + 1 >= acc.DEEPEST:
            raise UsageError(f"session {parent} can't be split into more parts, or any deeper")
        return above

    def _ended_with_its_whole(self, session_id: str, at: float) -> list[e.AnyEntry]:
        """A part that is opened after its whole has ended is as that is."""
        whose, state = self.state_at(self.session(session_id), at)
        if whose.name == session_id or state not in acc.ENDED:
            return []
        reason = f"a part of {whose.name}"
        return self._do(e.StateSet(at=at, session=session_id, state=state, reason=reason))

    def mint(self, session_id: str, sha256: str, *, at: float) -> list[e.AnyEntry]:
        """Let one more token open this session's door. Raises UnknownAccount."""
        self.session(session_id)
        return self._do(e.TokenMinted(at=at, session=session_id, sha256=sha256))

    def set_ceiling(self, account: str, ceiling: int | None, *, at: float) -> list[e.AnyEntry]:
        """Set a session's ceiling (`session:ID`), or a monthly one (`project:NAME`,
        `team:NAME`). Raises UnknownAccount, UsageError."""
        kind, _, name = account.partition(":")
        if kind == "session":
            self.session(name)
        elif kind not in ("project", "team") or not NAME.fullmatch(name):
            raise UsageError(f"a budget is named project:NAME or team:NAME, and NAME is {RULE}")
        return self._do(e.CeilingSet(at=at, account=account, ceiling=ceiling))

    def set_state(
        self, session_id: str, verb: str, *, at: float, reason: str = ""
    ) -> list[e.AnyEntry]:
        """Pause, resume, kill or close a session; nothing where it is so already. Its parts that
        are open end with it; a pause bars them, and is not theirs.

        Raises UnknownAccount, and LedgerError where the state does not allow it (a killed
        session stays killed).
        """
        session, reason = self.session(session_id), e.sound(reason)
        allowed, after = SESSION_VERBS[verb]
        state = session.state_at(at)
        if state not in allowed:
            raise LedgerError(f"session {session_id} is {state}: it can't {verb}, open a new one")
        told: list[Session] = []
        if state != after and not (verb == "resume" and state == acc.EXHAUSTED):
            told.append(session)
        if told or after in acc.ENDED:
            from_ = _FOLLOWED_FROM.get(after, ())
            parts = self.parts.get(session.id, ())
            told += [part for part in parts if part.state_at(at) in from_]
        done: list[e.AnyEntry] = []
        for each in told:
            done += self._do(e.StateSet(at=at, session=each.name, state=after, reason=reason))
        return done

    # ---- verbs on a call's money

    def hold(
        self,
        session_id: str,
        quote: Quote,
        policy: Policy,
        *,
        hold_id: str,
        at: float,
        provider: str = "",
        model: str = "",
        may_wait: bool = True,
        elsewhere: bool = False,
        lane: str = "",
        input_tokens: int = 0,
    ) -> tuple[Admitted | Waits | Refused, list[e.AnyEntry]]:
        """Set aside a call's worst case on all its accounts, or on none. `lane` and `input_tokens`
        (0: not counted yet) tell what its prompt is compared with (`prompt_sizes`).

        Raises UnknownAccount, BarredError; LedgerError where a call with this id has ended.
        """
        again = self.holds.get(hold_id)
        if again is not None:
            return Admitted(again.nanos, again.limit), []
        session = self.session(session_id)
        _, now = self.state_at(session, at)
        if now in acc.BARRED:
            raise BarredError(now)
        charged = acc.charged_accounts(session, at)
        verdict = admit(quote, self.purses(session, charged), policy, may_wait=may_wait)
        if isinstance(verdict, Admitted):
            entry = e.Held(
                at=at,
                hold=hold_id,
                session=session_id,
                accounts=charged,
                nanos=verdict.nanos,
                iteration=session.iterations + 1,
                provider=e.sound(provider),
                model=e.sound(model),
                limit=verdict.limit,
                elsewhere=elsewhere,
                lane=e.sound(lane),
                input_tokens=input_tokens,
            )
            return verdict, self._do(entry)
        if isinstance(verdict, Refused):
            self.count_refusal(session)
            return verdict, self._exhausted(verdict.account, at)
        return verdict, []

    def count_refusal(self, session: Session) -> None:
        """A call of this session's was refused: one of all that it is a part of."""
        for each in self.lineage(session):
            each.refusals += 1

    def _exhausted(self, account_id: str, at: float) -> list[e.AnyEntry]:
        """The session whose ceiling refused a call knows it, whichever part asked."""
        short = self.accounts.get(account_id)
        if not isinstance(short, Session) or short.state != acc.ACTIVE:
            return []
        entry = e.StateSet(at=at, session=short.name, state=acc.EXHAUSTED, reason="refused")
        return self._do(entry)

    def charge(
        self,
        session_id: str,
        nanos: int,
        basis: str,
        *,
        hold_id: str,
        at: float,
        provider: str = "",
        lane: str = "",
        counted: int = 0,
        **details: Any,
    ) -> list[e.AnyEntry]:
        """Charge a call that was made without a hold: it is told of when its money is gone, so it
        is never refused, whatever the session's state. What no account had free is overdraft.

        `hold_id` is the call's own: where it is known, nothing is charged. `counted`: its input
        tokens where somebody has counted them (else 0). Raises UnknownAccount.
        """
        if hold_id in self.holds or hold_id in self.ended:
            return []
        nanos = max(0, nanos)
        session = self.session(session_id)
        details |= {key: e.sound(text) for key, text in details.items() if isinstance(text, str)}
        charged = acc.charged_accounts(session, at)
        frees = [self.account(each).free for each in charged]
        free = min((max(0, each) for each in frees if each is not None), default=nanos)
        held = e.Held(
            at=at,
            hold=hold_id,
            session=session_id,
            accounts=charged,
            nanos=min(nanos, free),
            iteration=session.iterations + 1,
            provider=e.sound(provider),
            model=str(details.get("model", "")),
            elsewhere=True,
            lane=e.sound(lane),
            input_tokens=counted,
        )
        settled = e.Settled(at=at, hold=hold_id, nanos=nanos, basis=basis, **details)
        return self._do(held) + self._do(settled)

    def extend(self, hold_id: str, nanos: int, *, at: float) -> tuple[bool, list[e.AnyEntry]]:
        """Set `nanos` more aside for a call that goes on; False where the money is not there or
        the session may spend no more."""
        hold = self.holds.get(hold_id)
        if hold is None:
            return False, []
        session = self.session(hold.session)
        if any(each.state == acc.KILLED for each in (session, *self.parents(session))):
            return False, []
        if nanos <= 0:
            return True, []
        if any(purse.free < nanos for purse in self.purses(session, hold.accounts)):
            return False, []
        return True, self._do(e.Extended(at=at, hold=hold_id, nanos=nanos))

    def settle(
        self,
        hold_id: str,
        nanos: int,
        basis: str,
        *,
        at: float,
        model: str = "",
        input_tokens: int = 0,
        output_tokens: int = 0,
        price_version: str = "",
        reason: str = "",
    ) -> tuple[Outcome, list[e.AnyEntry]]:
        """Replace a hold by what the call cost. Never refused, never cut.

        Raises UnknownHold where neither an open nor a remembered hold has this id.
        """
        hold = self.holds.get(hold_id)
        if hold is None:
            return self.outcome(hold_id), []
        entry = e.Settled(
            at=at,
            hold=hold_id,
            nanos=max(0, nanos),
            basis=basis,
            model=e.sound(model or hold.model),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            seconds=max(0.0, at - hold.held_at),
            price_version=e.sound(price_version),
            reason=e.sound(reason),
        )
        done = self._do(entry)
        return self.ended[hold_id], done

    def void(self, hold_id: str, reason: str, *, at: float) -> tuple[Outcome, list[e.AnyEntry]]:
        """Give a hold back: nothing was billed for sure. Raises UnknownHold."""
        if hold_id not in self.holds:
            return self.outcome(hold_id), []
        done = self._do(e.Voided(at=at, hold=hold_id, reason=e.sound(reason)))
        return self.ended[hold_id], done

    def adjust(
        self, hold_id: str, nanos: int, evidence: str, *, at: float
    ) -> tuple[Outcome, list[e.AnyEntry]]:
        """A late report says that a settled call cost `nanos` in all: the difference is charged,
        where it is upwards. Raises UnknownHold."""
        ended = self.outcome(hold_id)
        more = nanos - ended.nanos
        if more <= 0 or ended.basis == "void":
            return ended, []
        entry = e.Adjusted(
            at=at,
            hold=hold_id,
            session=ended.session,
            accounts=ended.accounts,
            nanos=more,
            evidence=e.sound(evidence),
        )
        done = self._do(entry)
        return self.ended[hold_id], done

    def recover(self, *, at: float) -> Iterator[tuple[Outcome, list[e.AnyEntry]]]:
        """End the holds that a crash left open, each in full: its call was or may have been sent,
        and what came of it died with the daemon."""
        why = "the daemon ended before the call did"
        for hold in list(self.holds.values()):
            yield self.settle(hold.id, hold.nanos, "crash", at=at, reason=why)

    def _do(self, entry: e.AnyEntry) -> list[e.AnyEntry]:
        self.apply(entry)
        return [entry]


def _check_names(
    session_id: str,
    mode: str | None,
    project: str | None,
    team: str | None,
    on_anomaly: str | None,
) -> None:
    if not SESSION_ID.fullmatch(session_id):
        raise UsageError(f"a session id is {ID_RULE}")
    if mode is not None and mode not in acc.MODES:
        raise UsageError("mode is one of: enforce, soft, observe")
    if on_anomaly is not None and on_anomaly not in acc.ANOMALY_ACTIONS:
        raise UsageError("on_anomaly is one of: alert, pause, kill")
    for what, name in (("project", project), ("team", team)):
        if name is not None and not NAME.fullmatch(name):
            raise UsageError(f"a {what}'s name is {RULE}")
