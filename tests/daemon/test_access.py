"""Who calls: one credential out of many slots, one session for it, and no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from multidict import CIMultiDict

from agentwatch.daemon import access
from agentwatch.daemon.access import (
    SLOTS,
    Wrappers,
    identify,
    new_token,
    presented,
    session_of_token,
)
from agentwatch.daemon.keys import Keys
from agentwatch.errors import Refusal
from agentwatch.store.memory import MemoryJournal
from agentwatch.store.store import Store

AWK = "awk_0123456789abcdef0123456789abcdef"


@pytest.fixture
async def store() -> Store:
    made = Store(MemoryJournal())
    await made.open()
    return made


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys.json", {"agentwatch": AWK})


def opened(store: Store, name: str) -> str:
    token, sha256 = new_token()
    store.open_session(name)
    store.mint(name, sha256)
    return token


def who(store: Store, keys: Keys, query: str = "", path: str | None = None, **headers: str) -> str:
    told = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return identify(store, keys, told, query, path, "openai")[0].name


async def test_a_token_is_taken_in_every_slot(store: Store, keys: Keys) -> None:
    token = opened(store, "a")
    assert who(store, keys, Authorization=f"bearer {token}") == "a"
    for slot in SLOTS[1:]:
        assert who(store, keys, **{slot: token}) == "a"
    assert who(store, keys, query=f"a=b&key={token}") == "a"
    assert who(store, keys, path=token) == "a"
    assert who(store, keys, path=token, Authorization="Bearer sk-placeholder") == "a"


async def test_ours_is_found_among_others(store: Store, keys: Keys) -> None:
    token = opened(store, "a")
    told = CIMultiDict({"Authorization": "Bearer sk-x", "x-api-key": token, "api-key": "y"})
    session, slot = identify(store, keys, told, "key=z", None, "openai")
    assert (session.name, slot) == ("a", ("x-api-key", ""))


async def test_a_token_in_a_header_wins_over_one_in_the_path(store: Store, keys: Keys) -> None:
    first, second = opened(store, "a"), opened(store, "b")
    assert who(store, keys, path=second, Authorization=f"Bearer {first}") == "a"
    with pytest.raises(Refusal):
        who(store, keys, path=second, Authorization="Bearer aws_wrong")


@pytest.mark.parametrize("value", ["", "aws_", "aws_x", "sk-x", "Basic aws_x", "Bearer", "\udcff"])
async def test_what_is_no_token_opens_nothing(value: str, store: Store, keys: Keys) -> None:
    opened(store, "a")
    for headers in ({"Authorization": value}, {"Authorization": f"Bearer {value}"}):
        with pytest.raises(Refusal) as refusal:
            who(store, keys, **headers)
        assert refusal.value.reason == "unknown_credential"
        assert not value or value in ("Bearer",) or f" {value}" not in refusal.value.message


async def test_a_token_is_bound_to_its_session(store: Store, keys: Keys) -> None:
    token = opened(store, "a")
    opened(store, "b")
    assert who(store, keys, Authorization=f"Bearer {token}", x_agentwatch_session_id="a") == "a"
    for other in ("b", "", "A", "a "):
        with pytest.raises(Refusal) as refusal:
            who(store, keys, Authorization=f"Bearer {token}", x_agentwatch_session_id=other)
        assert refusal.value.reason == "session_mismatch"


async def test_a_key_names_its_session_and_a_new_one_its_project(store: Store, keys: Keys) -> None:
    with pytest.raises(Refusal):
        who(store, keys, x_api_key=AWK)
    for bad in ("a b", "", "a\n", "{}", "a" * 129, "\u202ea"):
        with pytest.raises(Refusal) as refusal:
            who(store, keys, x_api_key=AWK, x_agentwatch_session_id=bad)
        assert refusal.value.reason in ("bad_request", "unknown_credential")
    named = {"x_agentwatch_session_id": "n", "x_agentwatch_project": "p"}
    assert who(store, keys, x_api_key=AWK, **named) == "n"
    assert who(store, keys, x_api_key=AWK, **{**named, "x_agentwatch_project": "q"}) == "n"
    assert store.ledger.session("n").project == "p"
    with pytest.raises(Refusal):
        who(store, keys, x_api_key=AWK[:-1] + "0", **named)


async def test_the_oldest_token_of_many_opens_nothing_any_more(store: Store, keys: Keys) -> None:
    tokens = [opened(store, "a") for _ in range(9)]
    assert session_of_token(store, tokens[0]) is None
    assert session_of_token(store, tokens[-1]) is not None


def test_nothing_shown_is_nothing_found() -> None:
    assert presented(CIMultiDict(), "") is None
    assert presented(CIMultiDict({"Cookie": "aws_x"}), "kei=aws_x") is None


def wrapping(*pids: int) -> Wrappers:
    wrappers = Wrappers()
    for pid in pids:
        wrappers.add(pid)
    return wrappers


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc")
def test_ancestors_are_found_at_any_remove_and_nobody_s_child_is_nobody_s() -> None:
    assert wrapping(os.getppid()).wrap(os.getpid())
    assert not wrapping(os.getpid()).wrap(os.getpid())
    assert not wrapping(2).wrap(1)
    assert not Wrappers().wrap(os.getpid())


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc")
def test_a_wrapper_that_has_ended_bequeaths_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers come round again: the next one's children would be locked out."""
    real = access._stat
    monkeypatch.setattr(access, "_stat", lambda pid: (real(pid)[0], real(pid)[1] - 1))
    wrappers = wrapping(os.getppid())
    monkeypatch.undo()
    assert not wrappers.wrap(os.getpid())
    wrappers.add(os.getpid())
    assert list(wrappers._started) == [os.getpid()]


@pytest.mark.parametrize(
    ("provider", "slot"),
    [
        ("openai", ("Authorization", "Bearer ")),
        ("anthropic", ("x-api-key", "")),
        ("gemini", ("x-goog-api-key", "")),
    ],
)
async def test_a_token_in_the_path_puts_the_key_where_nobody_looks(
    store: Store, keys: Keys, provider: str, slot: tuple[str, str]
) -> None:
    token = opened(store, "a")
    assert identify(store, keys, CIMultiDict(), "", token, provider)[1] == slot


async def test_a_key_in_the_query_is_replaced_there(store: Store, keys: Keys) -> None:
    token = opened(store, "a")
    assert identify(store, keys, CIMultiDict(), f"key={token}", None, "gemini")[1] == ("?key", "")
