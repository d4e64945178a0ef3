"""Reading the journal again: is its chain whole, and do its rows add up to the balances?"""

from __future__ import annotations

import msgspec

from agentwatch.core import entries as e
from agentwatch.core.accounts import Account, Outcome
from agentwatch.core.fold import Balances
from agentwatch.errors import LedgerError
from agentwatch.store.protocol import Journal, Row, all_rows

Digest = dict[str, tuple[object, ...]]


def digest(balances: Balances) -> Digest:
    """What each account amounts to, to compare: all that is folded, statistics left out."""
    return {account.id: _amounts(account) for account in balances.accounts.values()}


def audit(journal: Journal, last: int, live: Digest) -> int:
    """Fold rows 1 to `last`, checking each link, and compare with `live`. Blocking.

    Returns how many rows there are. Raises LedgerError that tells what is wrong.
    """
    balances, count = _fold(journal, last)
    if count < last:
        raise LedgerError(f"the journal ends at entry {count}, not at {last}")
    folded = digest(balances)
    for account_id in live.keys() | folded.keys():
        if live.get(account_id) != folded.get(account_id):
            raise LedgerError(f"the balance of {account_id} is not what its entries add up to")
    return count


def outcome_of(rows: list[Row]) -> Outcome | None:
    """How the hold that these rows are about ended; None where it did not, or never was."""
    held: e.Held | None = None
    nanos, basis = 0, ""
    for row in rows:
        entry = e.decode(row.data)
        if isinstance(entry, e.Held):
            held = entry
        elif isinstance(entry, e.Settled):
            nanos, basis = entry.nanos, entry.basis
        elif isinstance(entry, e.Voided):
            basis = "void"
        elif isinstance(entry, e.Adjusted):
            nanos, basis = nanos + entry.nanos, "late"
    if held is None or not basis:
        return None
    return Outcome(
        hold=held.hold,
        session=held.session,
        accounts=held.accounts,
        nanos=nanos,
        basis=basis,
        iteration=held.iteration,
    )


def _fold(journal: Journal, last: int) -> tuple[Balances, int]:
    balances, previous, count = Balances(), e.GENESIS, 0
    for row in all_rows(journal):
        if row.seq > last:
            break
        if row.seq != count + 1 or e.chained(previous, row.data) != row.hash:
            raise LedgerError(f"the hash chain is broken at entry {row.seq}")
        try:
            balances.apply(e.decode(row.data))
        except (msgspec.MsgspecError, KeyError) as error:
            raise LedgerError(f"entry {row.seq} can't be read: {error}") from error
        previous, count = row.hash, row.seq
    return balances, count


def _amounts(account: Account) -> tuple[object, ...]:
    fields = msgspec.structs.asdict(account)
    fields.pop("refusals", None)
    fields["by_model"] = {
        model: msgspec.structs.astuple(totals)
        for model, totals in fields.get("by_model", {}).items()
    }
    return tuple(fields.items())
