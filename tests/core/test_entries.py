"""Entries: what was written is read back, and a chain tells what was done to it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core import entries as e

words = st.text(max_size=12)
nanos = st.integers(0, 10**15)
times = st.floats(0, 4e9, allow_nan=False)
names = st.lists(words, max_size=3).map(tuple)

EVERY_KIND: dict[str, st.SearchStrategy[e.AnyEntry]] = {
    "opened": st.builds(e.Opened, at=times, session=words, ceiling=st.none() | nanos, mode=words),
    "token": st.builds(e.TokenMinted, at=times, session=words, sha256=words),
    "ceiling": st.builds(e.CeilingSet, at=times, account=words, ceiling=st.none() | nanos),
    "state": st.builds(e.StateSet, at=times, session=words, state=words, reason=words),
    "held": st.builds(
        e.Held,
        at=times,
        hold=words,
        session=words,
        accounts=names,
        nanos=nanos,
        iteration=nanos,
        limit=st.none() | nanos,
    ),
    "extended": st.builds(e.Extended, at=times, hold=words, nanos=nanos),
    "settled": st.builds(
        e.Settled, at=times, hold=words, nanos=nanos, basis=words, seconds=times, model=words
    ),
    "voided": st.builds(e.Voided, at=times, hold=words, reason=words),
    "adjusted": st.builds(
        e.Adjusted,
        at=times,
        hold=words,
        session=words,
        accounts=names,
        nanos=nanos,
        evidence=words,
    ),
}
any_entry = st.one_of(*EVERY_KIND.values())


@given(any_entry)
def test_an_entry_is_read_back_as_it_was_written(entry: e.AnyEntry) -> None:
    assert e.decode(e.encode(entry)) == entry


@pytest.mark.parametrize("kind", sorted(EVERY_KIND))
@given(data=st.data())
def test_the_kinds_names_in_old_journals_never_change(kind: str, data: st.DataObject) -> None:
    entry = data.draw(EVERY_KIND[kind])
    assert e.kind(entry) == kind
    assert msgspec.json.decode(e.encode(entry))["kind"] == kind


def test_no_kind_of_entry_is_left_out_here() -> None:
    assert len(EVERY_KIND) == len(e.AnyEntry.__args__)


def chain(rows: list[bytes]) -> list[bytes]:
    hashes, previous = [], e.GENESIS
    for row in rows:
        previous = e.chained(previous, row)
        hashes.append(previous)
    return hashes


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=8), st.data())
def test_a_changed_lost_doubled_or_swapped_row_changes_the_head(
    rows: list[bytes], data: st.DataObject
) -> None:
    where = data.draw(st.integers(0, len(rows) - 1))
    changed = [*rows[:where], rows[where] + b"x", *rows[where + 1 :]]
    lost = [*rows[:where], *rows[where + 1 :]]
    doubled = [*rows[: where + 1], *rows[where:]]
    for other in (changed, lost, doubled, rows[::-1]):
        if other != rows:
            assert chain(other)[-1:] != chain(rows)[-1:]


def test_an_entry_is_found_by_its_hold_else_its_session_or_budget() -> None:
    assert e.subject(e.Extended(at=1, hold="h", nanos=1)) == "h"
    assert e.subject(e.CeilingSet(at=1, account="project:p")) == "project:p"
    assert e.subject(e.StateSet(at=1, session="s", state="killed")) == "s"


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"kind":"gift","at":1}', b'{"kind":"voided","at":1}', b"\xff"]
)
def test_what_is_no_entry_is_never_taken_for_one(data: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        e.decode(data)


@given(st.text(st.characters(exclude_categories=[])))
def test_a_text_comes_that_can_not_be_written(text: str) -> None:
    entry = e.StateSet(at=0, session="s", state="paused", reason=e.sound(text))
    assert e.decode(e.encode(entry)) == entry
    unwritable = any("\ud800" <= letter <= "\udfff" for letter in text)
    assert (entry.reason == text) == (not unwritable)
