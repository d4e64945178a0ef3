"""Reading the journal again: is its chain whole, and do its rows add up to the balances?"""

from __future__ import annotations

import msgspec

from agentwatch.core import entries as e
from agentwatch.core.accounts import Outcome
from agentwatch.core.fold import Balances
from agentwatch.errors import LedgerError
from agentwatch.store.protocol import Readable, Row, all_rows

_encode = msgspec.json.Encoder().encode

Digest = dict[str, bytes]

#: kept beside the journal, and no fold of it
STATISTICS = ("refusals", "passes", "risks")


def digest(balances: Balances) -> Digest:
    """A copy of all that is folded, to compare: accounts, open holds, monthly ceilings.

    Made on the daemon's loop, for which a copy of any other kind would take too long.
    """
    return {
        **{f"balance of {name}": _encode(found) for name, found in balances.accounts.items()},
        **{f"hold {name}": _encode(hold) for name, hold in balances.holds.items()},
        **{f"ceiling of {name}": _encode(ceiling) for name, ceiling in balances.monthly.items()},
    }


def audit(journal: Readable, last: int, live: Digest) -> int:
    """Fold rows 1 to `last`, checking each link, and compare with `live`. Blocking.

    Returns how many rows there are. Raises LedgerError that tells what is wrong.
    """
    balances, count = _fold(journal, last)
    if count < last:
        raise LedgerError(f"the journal ends at entry {count}, not at {last}")
    folded = digest(balances)
    for what in sorted(live.keys() | folded.keys()):
        if not _same(live.get(what), folded.get(what)):
            raise LedgerError(f"the {what} is not what its entries add up to")
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


def _fold(journal: Readable, last: int) -> tuple[Balances, int]:
    balances, previous, count = Balances(), e.GENESIS, 0
    for row in all_rows(journal):
        if row.seq > last:
            break
        if row.seq != count + 1 or e.chained(previous, row.data) != row.hash:
            raise LedgerError(f"the hash chain is broken at entry {row.seq}")
        try:
            entry = e.decode(row.data)
            balances.apply(entry)
        except (msgspec.MsgspecError, LedgerError, KeyError) as error:
            raise LedgerError(f"entry {row.seq} can't follow what came before: {error}") from error
        if (row.kind, row.subject) != (e.kind(entry), e.subject(entry)):
            raise LedgerError(f"entry {row.seq} is filed under another's name")
        previous, count = row.hash, row.seq
    return balances, count


def _same(live: bytes | None, folded: bytes | None) -> bool:
    """Whether two copies are alike but for their statistics."""
    if live is None or folded is None:
        return False
    return live == folded or _amounts(live) == _amounts(folded)


def _amounts(copy: bytes) -> object:
    fields = msgspec.json.decode(copy)
    if not isinstance(fields, dict):
        return fields
    return {name: value for name, value in fields.items() if name not in STATISTICS}
