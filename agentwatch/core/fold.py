"""Balances: sessions, budgets and holds as a fold of the journal's entries.

The live ledger and the one that is folded from the journal are made by this code alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from agentwatch.core import accounts as acc
from agentwatch.core import entries as e
from agentwatch.core.accounts import Account, Hold, ModelTotals, Outcome, Session
from agentwatch.core.prompt_sizes import drop, put_in_lane
from agentwatch.errors import LedgerError, UnknownAccount, UnknownHold

#: ended holds that are remembered here; older ones are found in the journal
REMEMBERED_ENDS = 20_000


class Balances:
    """All balances. Not thread-safe: they belong to the daemon's loop."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.sessions: dict[str, Session] = {}
        #: by a session's account, the sessions that are a part of it, at any remove
        self.parts: dict[str, list[Session]] = {}
        #: monthly ceilings by "project:NAME" and "team:NAME"
        self.monthly: dict[str, int | None] = {}
        self.holds: dict[str, Hold] = {}
        self.ended: OrderedDict[str, Outcome] = OrderedDict()
        #: session id by the SHA-256 of a token
        self.tokens: dict[str, str] = {}
        self._folds: dict[type, Callable[[Any], None]] = {
            e.Opened: self._opened,
            e.TokenMinted: self._token_minted,
            e.CeilingSet: self._ceiling_set,
            e.StateSet: self._state_set,
            e.Held: self._held,
            e.Extended: self._extended,
            e.Settled: self._settled,
            e.Voided: self._voided,
            e.Adjusted: self._adjusted,
        }

    # ---- reading

    def session(self, session_id: str) -> Session:
        """The session with this id. Raises UnknownAccount."""
        try:
            return self.sessions[session_id]
        except KeyError:
            raise UnknownAccount(
                f"no session {session_id!r}: `agentwatch sessions ls` lists them"
            ) from None

    def account(self, account_id: str) -> Account:
        """The account with this id; a month that nothing was charged to yet has an empty one."""
        found = self.accounts.get(account_id)
        if found is None:
            ceiling = self.monthly.get(account_id.rpartition("@")[0])
            return Account(id=account_id, ceiling=ceiling)
        return found

    def outcome(self, hold_id: str) -> Outcome:
        """How a hold ended. Raises UnknownHold where it is open, unknown or long forgotten."""
        try:
            return self.ended[hold_id]
        except KeyError:
            raise UnknownHold(f"no hold {hold_id!r}") from None

    # ---- the fold

    def apply(self, entry: e.AnyEntry) -> None:
        """Fold one entry in. Raises LedgerError where it can't follow what came before."""
        self._folds[type(entry)](entry)

    def touched(self, entry: e.AnyEntry) -> list[Account]:
        """The accounts that this entry, which was applied, changed."""
        if isinstance(entry, (e.Held, e.Adjusted)):
            ids = entry.accounts
        elif isinstance(entry, e.Extended):
            ids = self.holds[entry.hold].accounts
        elif isinstance(entry, (e.Settled, e.Voided)):
            ids = self.ended[entry.hold].accounts
        elif isinstance(entry, e.CeilingSet):
            named = entry.account.startswith("session:")
            ids = (entry.account,) if named else tuple(self._months_from(entry))
        else:
            ids = (acc.session_account(entry.session),)
        return [self.accounts[account_id] for account_id in ids]

    def _opened(self, entry: e.Opened) -> None:
        known = self.sessions.get(entry.session)
        if known is not None:
            known.mode, known.on_anomaly = entry.mode, entry.on_anomaly
            if entry.fail_open is not None:
                known.fail_open = entry.fail_open
            return
        session = Session(
            id=acc.session_account(entry.session),
            name=entry.session,
            ceiling=entry.ceiling,
            mode=entry.mode,
            project=entry.project,
            team=entry.team,
            on_anomaly=entry.on_anomaly,
            fail_open=entry.fail_open,
            expires_at=entry.expires_at,
            opened_at=entry.at,
        )
        if entry.parent is not None:
            parent = self.session(entry.parent)
            session.parents = (parent.id, *parent.parents)
        self.add_session(session)

    def add_session(self, session: Session) -> None:
        """Take a session in as it stands: from a fold, or from the store's own table."""
        self.sessions[session.name] = session
        self.accounts[session.id] = session
        for parent in session.parents:
            self.parts.setdefault(parent, []).append(session)
        for sha256 in session.tokens:
            self.tokens[sha256] = session.name

    def _token_minted(self, entry: e.TokenMinted) -> None:
        session = self.session(entry.session)
        session.tokens.append(entry.sha256)
        self.tokens[entry.sha256] = entry.session
        while len(session.tokens) > acc.TOKENS_PER_SESSION:
            self.tokens.pop(session.tokens.pop(0), None)

    def _ceiling_set(self, entry: e.CeilingSet) -> None:
        kind, _, name = entry.account.partition(":")
        if kind == "session":
            session = self.session(name)
            session.ceiling = entry.ceiling
            _settle_state(session)
            return
        self.monthly[entry.account] = entry.ceiling
        self._open_account(acc.month_account(entry.account, entry.at))
        for account_id in self._months_from(entry):
            self.accounts[account_id].ceiling = entry.ceiling

    def _months_from(self, entry: e.CeilingSet) -> list[str]:
        """A budget's accounts from the entry's month on: a clock that was put back does not leave
        a later month with the ceiling of before."""
        month = acc.month_account(entry.account, entry.at)
        budget = f"{entry.account}@"
        return [each for each in self.accounts if each.startswith(budget) and each >= month]

    def _state_set(self, entry: e.StateSet) -> None:
        session = self.session(entry.session)
        session.state = entry.state
        if entry.state in acc.JUDGED_ANEW:
            session.prompt_sizes.clear()
        if entry.state == acc.ACTIVE:
            _settle_state(session)

    def _held(self, entry: e.Held) -> None:
        if entry.hold in self.holds or entry.hold in self.ended:
            raise LedgerError(f"hold {entry.hold} was held before")
        session = self.session(entry.session)
        if entry.lane and entry.input_tokens:
            put_in_lane(session.prompt_sizes, entry.lane, entry.iteration, entry.input_tokens)
        for account_id in entry.accounts:
            account = self._open_account(account_id)
            account.held += entry.nanos
            if isinstance(account, Session):
                _called(account, entry)
        self.holds[entry.hold] = Hold(
            id=entry.hold,
            session=entry.session,
            accounts=entry.accounts,
            nanos=entry.nanos,
            iteration=entry.iteration,
            held_at=entry.at,
            provider=entry.provider,
            model=entry.model,
            limit=entry.limit,
            lane=entry.lane,
        )

    def _extended(self, entry: e.Extended) -> None:
        hold = self._open_hold(entry.hold)
        hold.nanos += entry.nanos
        for account_id in hold.accounts:
            self.accounts[account_id].held += entry.nanos

    def _settled(self, entry: e.Settled) -> None:
        hold = self._end(entry.hold, entry.nanos, entry.basis)
        if hold.lane and entry.input_tokens and entry.basis == "usage":
            sizes = self.session(hold.session).prompt_sizes
            put_in_lane(sizes, hold.lane, hold.iteration, entry.input_tokens)
        for account_id in hold.accounts:
            account = self.accounts[account_id]
            account.settled += entry.nanos
            account.overdraft += max(0, entry.nanos - hold.nanos)
            if isinstance(account, Session):
                _count(account, entry, own=account.name == hold.session)
                _settle_state(account)

    def _voided(self, entry: e.Voided) -> None:
        hold = self._end(entry.hold, 0, "void")
        drop(self.session(hold.session).prompt_sizes.get(hold.lane, []), hold.iteration)
        self._settle_states(hold.accounts)

    def _adjusted(self, entry: e.Adjusted) -> None:
        for account_id in entry.accounts:
            account = self._open_account(account_id)
            account.settled += entry.nanos
            account.overdraft += entry.nanos
        self._settle_states(entry.accounts)
        ended = self.ended.get(entry.hold)
        if ended is not None:
            self.remember(
                Outcome(
                    hold=ended.hold,
                    session=ended.session,
                    accounts=ended.accounts,
                    nanos=ended.nanos + entry.nanos,
                    basis="late",
                    iteration=ended.iteration,
                )
            )

    def _settle_states(self, account_ids: Iterable[str]) -> None:
        for account_id in account_ids:
            account = self.accounts[account_id]
            if isinstance(account, Session):
                _settle_state(account)

    def _open_account(self, account_id: str) -> Account:
        account = self.accounts.get(account_id)
        if account is None:
            account = self.accounts[account_id] = self.account(account_id)
        return account

    def _open_hold(self, hold_id: str) -> Hold:
        try:
            return self.holds[hold_id]
        except KeyError:
            raise LedgerError(f"hold {hold_id} is not open") from None

    def _end(self, hold_id: str, nanos: int, basis: str) -> Hold:
        hold = self._open_hold(hold_id)
        del self.holds[hold_id]
        for account_id in hold.accounts:
            self.accounts[account_id].held -= hold.nanos
        self.remember(
            Outcome(
                hold=hold_id,
                session=hold.session,
                accounts=hold.accounts,
                nanos=nanos,
                basis=basis,
                iteration=hold.iteration,
            )
        )
        return hold

    def remember(self, outcome: Outcome) -> None:
        """Keep how a hold ended, so that a repeated verb is answered as the first was."""
        self.ended[outcome.hold] = outcome
        while len(self.ended) > REMEMBERED_ENDS:
            self.ended.popitem(last=False)


def _called(session: Session, entry: e.Held) -> None:
    """One more call of this session's, or of one that is a part of it."""
    if session.state == acc.EXHAUSTED:
        session.state = acc.ACTIVE
    own = session.name == entry.session
    session.iterations = entry.iteration if own else session.iterations + 1
    session.last_call_at = entry.at
    session.proxied = session.proxied or not entry.elsewhere


def _count(session: Session, entry: e.Settled, *, own: bool) -> None:
    session.input_tokens += entry.input_tokens
    session.output_tokens += entry.output_tokens
    session.longest_call_s = max(session.longest_call_s, entry.seconds)
    session.estimated += entry.basis != "usage"
    if entry.input_tokens and own:
        session.prompt_tokens_window.append(entry.input_tokens)
        del session.prompt_tokens_window[: -acc.PROMPT_WINDOW]
    model = entry.model or "unknown"
    if model not in session.by_model and len(session.by_model) >= acc.MODELS_KEPT:
        model = "others"
    totals = session.by_model.setdefault(model, ModelTotals())
    totals.calls += 1
    totals.input_tokens += entry.input_tokens
    totals.output_tokens += entry.output_tokens
    totals.nanos += entry.nanos


def _settle_state(session: Session) -> None:
    """Active and exhausted follow from the money: spent to the ceiling or not."""
    if session.state not in (acc.ACTIVE, acc.EXHAUSTED) or session.mode == "observe":
        return
    is_spent = session.ceiling is not None and session.settled >= session.ceiling
    session.state = acc.EXHAUSTED if is_spent else acc.ACTIVE
