"""Every row is read, however the journal is sliced."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.store.memory import MemoryJournal
from agentwatch.store.protocol import Batch, Journal, Row, all_rows
from agentwatch.store.sqlite import SqliteJournal


@given(st.integers(0, 30), st.integers(1, 31))
def test_all_rows_are_read_once_and_in_order(count: int, slice_size: int) -> None:
    journal = MemoryJournal()
    rows = [Row(seq, "k", "s", b"", b"") for seq in range(1, count + 1)]
    journal.append(Batch(rows=rows), lambda error: None)
    assert list(all_rows(journal, slice_size)) == rows


@pytest.mark.parametrize("make", [MemoryJournal, SqliteJournal])
def test_every_backend_is_a_journal(make: Callable[..., Journal]) -> None:
    for verb in ("load", "append", "rows", "about", "close"):
        assert callable(getattr(make, verb))
