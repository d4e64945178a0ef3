"""What must be true, said without the code that is judged: sums over calls, and naive arithmetic.

I1 no overspend, I2 balances are a fold of the journal, I3 one terminal entry a call, I4 nothing is
sent before its hold is durable, I5 what was billed is covered, I6 what is settled never falls, I7
killed means no new hold; nobody is refused for whom there is money, nobody waits who could go, and
nobody is passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from agentwatch.core import entries as e
from agentwatch.core.accounts import ACTIVE, Session
from agentwatch.core.admission import Policy
from agentwatch.core.estimate import Quote
from agentwatch.core.fold import Balances
from agentwatch.core.ledger import Ledger
from agentwatch.errors import LedgerError

if TYPE_CHECKING:
    from prove.stage import Call


class Broken(AssertionError):
    """An invariant does not hold."""


class Books:
    """What each account must come to: plain sums, moved by hand beside the ledger."""

    def __init__(self) -> None:
        self.settled: Counter[str] = Counter()
        self.held: Counter[str] = Counter()

    def hold(self, accounts: tuple[str, ...], nanos: int) -> None:
        for account in accounts:
            self.held[account] += nanos

    def end(self, accounts: tuple[str, ...], held: int, paid: int) -> None:
        for account in accounts:
            self.held[account] -= held
            self.settled[account] += paid

    def compare(self, ledger: Ledger, accounts: Any) -> None:
        """Raises Broken where the ledger's balances are not these."""
        for name in accounts:
            account = ledger.accounts[name]
            if account.settled != self.settled[name] or account.held != self.held[name]:
                raise Broken(
                    f"I2: {name} has settled {account.settled} and holds {account.held}, but its "
                    f"calls come to {self.settled[name]} and {self.held[name]}"
                )


def check_within(ledger: Ledger, accounts: tuple[str, ...]) -> None:
    """After a hold or an extension: I1 on each of its accounts, to the nano."""
    for name in accounts:
        account = ledger.accounts[name]
        ceiling = account.ceiling
        if ceiling is None:
            continue
        mode = account.mode if isinstance(account, Session) else "enforce"
        if mode == "enforce" and account.settled + account.held > ceiling:
            raise Broken(
                f"I1: a hold took {account.id} to {account.settled} + {account.held} of {ceiling}"
            )
        if mode == "soft" and account.settled >= ceiling:
            raise Broken(f"I1: {account.id} is over its soft ceiling, and was let through")


def _bounds(ledger: Ledger, accounts: tuple[str, ...]) -> list[tuple[int, int, int]] | None:
    """Ceiling, settled and held of the accounts that no hold may take above their ceiling; None
    where one that may be passed once has been."""
    found = []
    for name in accounts:
        account = ledger.accounts.get(name) or ledger.account(name)
        ceiling = account.ceiling
        if ceiling is None:
            continue
        mode = account.mode if isinstance(account, Session) else "enforce"
        if mode == "enforce":
            found.append((ceiling, account.settled, account.held))
        elif mode == "soft" and account.settled >= ceiling:
            return None
    return found


def _wanted(quote: Quote, policy: Policy) -> int:
    if not policy.clamp and quote.most is not None:
        return quote.worst(quote.most)
    limit = policy.useful_output_tokens
    return quote.worst(limit if quote.most is None else min(quote.most, limit))


def _least(quote: Quote, policy: Policy) -> int:
    if not policy.clamp:
        return _wanted(quote, policy)
    limit = policy.min_output_tokens
    return quote.worst(limit if quote.most is None else min(quote.most, limit))


def check_refused(
    ledger: Ledger, accounts: tuple[str, ...], quote: Quote, policy: Policy, may_wait: bool
) -> None:
    """Raises Broken where there was money for a call that was refused."""
    bounds = _bounds(ledger, accounts)
    if bounds is None:
        return
    if not policy.clamp and quote.most is None and quote.per_token:
        return  # it has no bound, and none may be put in
    least = _least(quote, policy)
    if all(top - settled - held >= least for top, settled, held in bounds):
        raise Broken(f"a call that {accounts} could pay for was refused")
    if may_wait:
        wanted = _wanted(quote, policy)
        if all(top - settled >= wanted for top, settled, _ in bounds):
            raise Broken(
                f"a call was refused though only open holds of {accounts} stood in its way"
            )


def check_told(ledger: Ledger, account: str) -> None:
    """Raises Broken where the session whose ceiling refused a call, its own or a part's, stands as
    if it had not."""
    short = ledger.accounts.get(account)
    if isinstance(short, Session) and short.state == ACTIVE:
        raise Broken(f"{account} has refused a call, and is active")


def check_waits(ledger: Ledger, accounts: tuple[str, ...], quote: Quote, policy: Policy) -> None:
    """Raises Broken where a call waits that could go, or for money that will never come."""
    bounds = _bounds(ledger, accounts)
    wanted = _wanted(quote, policy)
    if bounds is None or any(top - settled < wanted for top, settled, _ in bounds):
        raise Broken(f"a call waits for money that {accounts} will never have")
    if all(top - settled - held >= wanted for top, settled, held in bounds):
        raise Broken(f"a call waits though {accounts} could pay for it")


def check_hope(ledger: Ledger, accounts: tuple[str, ...], quote: Quote, policy: Policy) -> None:
    """Raises Broken where a call waits behind others that would be refused if it were first."""
    bounds = _bounds(ledger, accounts)
    least = _least(quote, policy)
    if bounds is None or any(top - settled < least for top, settled, _ in bounds):
        raise Broken(f"a call waits behind others though {accounts} will never pay for it")


def check_not_extended(ledger: Ledger, accounts: tuple[str, ...], nanos: int) -> None:
    """Raises Broken where there was money for a stream that was not given more."""
    bounds = _bounds(ledger, accounts)
    if bounds is not None and all(top - settled - held >= nanos for top, settled, held in bounds):
        raise Broken(f"a stream that {accounts} could pay for was given no more")


def check_order(call: Call, waiting: Iterable[Call]) -> None:
    """Raises Broken where this call, which was let through, took money of an account in whose line
    somebody stands who came before. `waiting` is in the order in which they came."""
    for other in waiting:
        if other is call:
            return
        assert other.waiter is not None
        if other.waiter.account in call.charged:
            raise Broken(
                f"order: {call.id} was served before {other.id}, which came first and waits for "
                f"{other.waiter.account}"
            )


def check_same(ledger: Ledger, folded: Balances) -> None:
    """I2 for all: the live balances are what its entries were folded to."""
    for session in ledger.sessions.values():
        session.refusals, session.risks = 0, {}  # statistics, and no fold
    for what in ("accounts", "holds", "monthly", "tokens"):
        if getattr(ledger, what) != getattr(folded, what):
            raise Broken(f"I2: the {what} are not what the entries add up to")


def check_fold(ledger: Ledger, journal: list[e.AnyEntry], *, as_read: bool = False) -> None:
    """I2 and I3 for all: the live balances are what the entries fold to; with `as_read`, as they
    are read back from a journal's bytes."""
    folded = Balances()
    try:
        for entry in journal:
            folded.apply(e.decode(e.encode(entry)) if as_read else entry)
    except LedgerError as error:
        raise Broken(f"I2: an entry can't follow what came before: {error}") from error
    check_same(ledger, folded)
    ends = Counter(e.subject(x) for x in journal if isinstance(x, (e.Settled, e.Voided)))
    if ends and max(ends.values()) > 1:
        raise Broken(f"I3: {max(ends, key=lambda hold: ends[hold])} ended twice")
