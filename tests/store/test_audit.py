"""The audit tells what was done to a journal, and finds how a call ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentwatch.core import entries as e
from agentwatch.core.fold import Balances
from agentwatch.errors import LedgerError
from agentwatch.store.audit import audit, digest, outcome_of
from agentwatch.store.memory import MemoryJournal
from agentwatch.store.protocol import Batch, Row

HELD = e.Held(at=2, hold="h", session="s", accounts=("session:s",), nanos=9, iteration=1)
SETTLED = e.Settled(at=3, hold="h", nanos=4, basis="usage")
LATE = e.Adjusted(at=4, hold="h", session="s", accounts=("session:s",), nanos=3, evidence="bill")
STORY: list[e.AnyEntry] = [e.Opened(at=1, session="s", ceiling=50), HELD, SETTLED, LATE]


def rows_of(entries: list[e.AnyEntry]) -> list[Row]:
    rows: list[Row] = []
    for seq, entry in enumerate(entries, 1):
        data = e.encode(entry)
        before = rows[-1].hash if rows else e.GENESIS
        rows.append(Row(seq, e.kind(entry), e.subject(entry), data, e.chained(before, data)))
    return rows


def journal_of(rows: list[Row]) -> MemoryJournal:
    journal = MemoryJournal()
    journal.append(Batch(rows=rows), lambda error: None)
    return journal


def live() -> Balances:
    balances = Balances()
    for entry in STORY:
        balances.apply(entry)
    return balances


def test_a_whole_journal_is_counted() -> None:
    assert audit(journal_of(rows_of(STORY)), 4, digest(live())) == 4


def test_rows_behind_the_last_are_left_for_the_next_audit() -> None:
    more = rows_of([*STORY, e.StateSet(at=5, session="s", state="killed")])
    assert audit(journal_of(more), 4, digest(live())) == 4


TAMPERED: dict[str, Callable[[list[Row]], list[Row]]] = {
    "first removed": lambda rows: rows[1:],
    "middle removed": lambda rows: [*rows[:1], *rows[2:]],
    "last removed": lambda rows: rows[:-1],
    "all removed": lambda rows: [],
    "two swapped": lambda rows: [rows[0], rows[2], rows[1], rows[3]],
    "one doubled": lambda rows: [*rows[:2], *rows[1:]],
    "an amount changed": lambda rows: [
        *rows[:2],
        Row(3, "settled", "h", rows[2].data.replace(b":4,", b":1,"), rows[2].hash),
        rows[3],
    ],
    "chained anew with less": lambda rows: rows_of(
        [*STORY[:2], e.Settled(at=3, hold="h", nanos=1, basis="usage"), LATE]
    ),
    "chained anew, a settle twice": lambda rows: rows_of([*STORY[:3], SETTLED]),
    "filed under another hold": lambda rows: [
        *rows[:3],
        Row(4, "adjusted", "g", rows[3].data, rows[3].hash),
    ],
}


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED.keys())
def test_what_was_done_to_a_journal_is_told(tamper: Callable[[list[Row]], list[Row]]) -> None:
    with pytest.raises(LedgerError):
        audit(journal_of(tamper(rows_of(STORY))), 4, digest(live()))


def test_an_entry_that_can_not_be_read_is_named() -> None:
    data = b'{"kind":"gift","at":1}'
    row = Row(1, "gift", "s", data, e.chained(e.GENESIS, data))
    with pytest.raises(LedgerError, match="entry 1"):
        audit(journal_of([row]), 1, {})


def test_a_digest_is_a_copy_that_goes_on_standing_still() -> None:
    balances = live()
    before = digest(balances)
    session = balances.session("s")
    session.prompt_tokens_window.append(1)
    session.tokens.append("t")
    balances.apply(e.Held(at=5, hold="g", session="s", accounts=(), nanos=1, iteration=2))
    assert before == digest(live())
    assert before != digest(balances)


def test_how_a_call_ended_is_found_in_its_rows() -> None:
    def end(*entries: e.AnyEntry) -> tuple[int, str] | None:
        found = outcome_of(rows_of(list(entries)))
        return None if found is None else (found.nanos, found.basis)

    assert end(HELD, SETTLED) == (4, "usage")
    assert end(HELD, SETTLED, LATE) == (7, "late")
    assert end(HELD, e.Extended(at=2, hold="h", nanos=9), SETTLED) == (4, "usage")
    assert end(HELD, e.Voided(at=2, hold="h", reason="429")) == (0, "void")
    assert end(HELD) is None
    assert end() is None
