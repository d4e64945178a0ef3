"""Balances are read back as what they were written as."""

from __future__ import annotations

import msgspec
import pytest

from agentwatch.core.accounts import Account, Session
from agentwatch.store.memory import read_accounts


def test_a_session_is_never_read_as_a_bare_account_nor_a_project_as_a_session() -> None:
    session = Session(id="session:s", name="s", settled=5, tokens=["t"])
    project = Account(id="project:session:s@2026-01", settled=7)
    bodies = [msgspec.json.encode(session), msgspec.json.encode(project)]
    assert read_accounts(bodies) == ([project], [session])


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"id":"session:s"}', b'{"id":"project:p","settled":"5"}']
)
def test_a_body_that_is_none_is_told(body: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        read_accounts([body])
