"""What the SDK kept on disk is taken in: once, whoever wrote it, whatever is in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from workbench import BrokenJournal, Keys, book, settings

from agentwatch.core.admission import Policy
from agentwatch.core.call_record import CallRecord
from agentwatch.core.estimate import quote
from agentwatch.core.price_book import PriceBook
from agentwatch.core.prices import cost
from agentwatch.core.seen import Seen
from agentwatch.core.usage import Usage
from agentwatch.daemon.elsewhere import Elsewhere
from agentwatch.daemon.events import Events
from agentwatch.daemon.governor import Governor
from agentwatch.daemon.main import dialects
from agentwatch.daemon.spooled import Spooled
from agentwatch.daemon.tasks import Tasks
from agentwatch.daemon.telemetry import Telemetry
from agentwatch.daemon.watch import Watch
from agentwatch.pricing import load_book
from agentwatch.sdk.straight import _kept
from agentwatch.settings import Settings, load_settings
from agentwatch.store.alerts import AlertStore
from agentwatch.store.store import Store
from agentwatch.wire.openai import OpenAI

BODY = b'{"model":"gpt-4o","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}'
#: 1000 in and 200 out of gpt-4o
NANOS = 1000 * 2_500 + 200 * 10_000


@pytest.fixture
async def journal() -> BrokenJournal:
    return BrokenJournal()


@pytest.fixture
async def store(journal: BrokenJournal) -> Store:
    made = Store(journal)
    await made.open()
    return made


@pytest.fixture
def governor(store: Store, home: Path) -> Governor:
    return governor_of(store, settings(home=str(home)))


@pytest.fixture
def spooled(governor: Governor, home: Path) -> Spooled:
    (home / "spool").mkdir()
    return Spooled(governor, Elsewhere(governor), dialects(), settings(home=str(home)))


def governor_of(store: Store, told: Settings, prices: PriceBook | None = None) -> Governor:
    """A governor that no call goes through."""
    events = Events()
    watch = Watch(store, AlertStore(None), told.anomalies, events)
    telemetry = Telemetry(told, Tasks(), store.count_risks)
    return Governor(store, prices or book(), {}, Keys(), told, Tasks(), events, watch, telemetry)


def gone_pid() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def write(home: Path, name: str = "f1", **changes: Any) -> Path:
    """One file, as the SDK writes it."""
    ask, _ = OpenAI().read("POST", "/v1/chat/completions", "", {}, BODY)
    usage = Usage(input_tokens=1000, output_tokens=200)
    seen = Seen(usage=usage, model="gpt-4o", complete=True, output_ceiling=200)
    record = {
        "version": 1,
        "id": name,
        "at": 1.0,
        "pid": gone_pid() if "pid" not in changes else 0,
        "session_id": "s",
        "terms": {"budget_usd": 2.0, "project": "p"},
        "ask": _kept(ask),
        "seen": msgspec.to_builtins(seen),
        "seconds": 1.0,
        **changes,
    }
    path = home / "spool" / f"{name}.json"
    path.write_text(json.dumps(record))
    return path


async def test_a_call_is_charged_to_its_account_and_the_file_goes(
    spooled: Spooled, store: Store, home: Path
) -> None:
    path = write(home)
    await spooled.take_all()
    session = store.ledger.session("s")
    assert (session.settled, session.held, session.overdraft) == (NANOS, 0, 0)
    assert (session.ceiling, session.project) == (2_000_000_000, "p")
    assert session.passes == {"daemon_away": 1}
    assert not path.exists()


async def test_a_call_that_was_taken_in_leaves_no_record(
    spooled: Spooled, governor: Governor, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records: list[CallRecord] = []
    monkeypatch.setattr(governor.telemetry, "put", lambda item: records.append(item.record))
    write(home, "f1")
    write(home, "f2", seen=None, at=2e12)
    for _ in range(2):
        await spooled.take_all()
    told, untold = records
    assert (told.request_id, told.iteration, untold.request_id) == ("f1", 1, "f2")
    assert (told.session_id, told.project, told.provider, told.api) == ("s", "p", "openai", "chat")
    assert (told.verdict, told.reason, told.ended) == ("elsewhere", "daemon_away", "complete")
    assert (told.at, told.seconds) == (1.0, 1.0)
    assert (told.cost_nanos, told.basis) == (NANOS, "usage")
    assert (told.input_tokens, told.usage) == (1000, {"input_tokens": 1000, "output_tokens": 200})
    assert (untold.ended, untold.basis, untold.usage) == ("lost", "estimate", {})
    # a clock that was wrong, or a forger, does not make a record that no age limit reaches
    assert untold.at <= governor.store.now()


async def test_a_file_that_comes_back_is_charged_again(
    spooled: Spooled, store: Store, home: Path
) -> None:
    for _ in range(3):
        write(home)
        await spooled.take_all()
    session = store.ledger.session("s")
    assert (session.settled, session.iterations) == (NANOS, 1)
    assert session.passes == {"daemon_away": 1}


async def test_a_restart_forgets_what_was_taken_in(
    spooled: Spooled, store: Store, journal: BrokenJournal, home: Path
) -> None:
    write(home)
    await spooled.take_all()
    again = Store(journal)
    await again.open()
    again.ledger.ended.clear()
    told = settings(home=str(home))
    governor = governor_of(again, told)
    path = write(home)
    await Spooled(governor, Elsewhere(governor), dialects(), told).take_all()
    assert again.ledger.session("s").settled == NANOS
    assert not path.exists()


async def test_a_file_goes_before_its_charge_is_on_disk(
    spooled: Spooled, store: Store, journal: BrokenJournal, home: Path
) -> None:
    path = write(home)
    journal.broken = True
    for _ in range(2):
        await spooled.take_all()
        assert path.exists()
    journal.broken = False
    await store.close()
    assert store.ledger.session("s").settled == NANOS


async def test_a_call_whose_process_died_costs_all_that_it_might(
    spooled: Spooled, store: Store, home: Path
) -> None:
    write(home, seen=None)
    await spooled.take_all()
    assert store.ledger.session("s").settled > 100 * 10_000


async def test_a_call_that_goes_on_is_left_alone(
    spooled: Spooled, store: Store, home: Path
) -> None:
    path = write(home, seen=None, pid=os.getpid(), at=store.now())
    await spooled.take_all()
    assert path.exists()
    assert "s" not in store.ledger.sessions
    # its number was given to another process long after
    write(home, seen=None, pid=os.getpid(), at=store.now() - 4000)
    await spooled.take_all()
    assert not path.exists()


async def test_an_answer_that_nobody_could_read_costs_all_that_it_might(
    spooled: Spooled, store: Store, home: Path
) -> None:
    write(home, seen={})
    await spooled.take_all()
    assert store.ledger.session("s").settled > 100 * 10_000


async def test_a_killed_session_pays_all_the_same(
    spooled: Spooled, store: Store, home: Path
) -> None:
    store.open_session("s", ceiling=1)
    store.set_state("s", "kill")
    write(home)
    await spooled.take_all()
    session = store.ledger.session("s")
    assert (session.settled, session.state, session.overdraft) == (NANOS, "killed", NANOS - 1)


async def test_a_model_without_a_price_is_counted(
    spooled: Spooled, store: Store, home: Path
) -> None:
    ask, _ = OpenAI().read("POST", "/v1/chat/completions", "", {}, BODY)
    write(home, ask=_kept(ask) | {"model": "made-up"})
    await spooled.take_all()
    assert store.ledger.session("s").passes == {"daemon_away": 1, "unpriced": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"id": "another"},
        {"session_id": "no/id"},
        {"ask": {"provider": "openai"}},
        {"ask": []},
        {"seen": {"usage": {"input_tokens": "many"}}},
        {"terms": {"budget_usd": "two"}},
        {"more": 1},
    ],
)
async def test_what_can_t_be_read_is_lost_or_stops_the_others(
    spooled: Spooled, store: Store, home: Path, changes: dict[str, Any]
) -> None:
    write(home, "f1", **changes)
    write(home, "f2", session_id="other")
    await spooled.take_all()
    assert store.ledger.session("other").settled == NANOS
    assert [path.name for path in (home / "spool" / "rejected").iterdir()] == ["f1.json"]


_COUNT = -(10**9)
_FORGED: dict[str, dict[str, Any]] = {
    "input": {"ask": {"input_bound": _COUNT}, "seen": {}},
    "choices": {"ask": {"choices": _COUNT}, "seen": {}},
    "fees": {"ask": {"pieces": {"web_search": _COUNT}}, "seen": {}},
    "uplift": {"ask": {"uplift_thousandths": _COUNT}, "seen": {}},
    "beyond counting": {"ask": {"input_bound": 10**300}, "seen": {}},
    "output": {"seen": {"output_floor": _COUNT, "output_ceiling": _COUNT}},
    "usage": {"seen": {"usage": {"input_tokens": 9, "output_tokens": _COUNT}, "complete": True}},
    "stated": {"seen": {"usage": {"input_tokens": 9, "stated_nanos": _COUNT}, "complete": True}},
    "shares": {"seen": {"usage": {"shares": [{"model": "m", "usage": {"input_tokens": -1}}]}}},
    "no object": {"ask": {"wanted": "abc"}},
    "a list of them": {"ask": {"wanted": []}},
    "a process": {"pid": 10**30, "seen": None, "at": 4e9},
    "a parent": {"terms": {"parent": []}, "session_id": "unheard-of"},
}


@pytest.mark.parametrize("what", _FORGED)
async def test_a_forged_file_gives_money_back_or_stops_the_others(
    spooled: Spooled, store: Store, home: Path, what: str
) -> None:
    store.open_session("s", ceiling=1_000_000_000)
    ask, _ = OpenAI().read("POST", "/v1/chat/completions", "", {}, BODY)
    changes = dict(_FORGED[what])
    if "ask" in changes and "wanted" not in changes["ask"]:
        changes["ask"] = _kept(ask) | changes["ask"]
    write(home, "f1", **changes)
    write(home, "f2", session_id="other")
    await spooled.take_all()
    assert store.ledger.session("s").settled == 0
    assert store.ledger.session("other").settled == NANOS
    assert [path.name for path in (home / "spool" / "rejected").iterdir()] == ["f1.json"]


async def test_a_forged_file_ends_a_hold_that_is_out(
    spooled: Spooled, store: Store, home: Path
) -> None:
    store.open_session("s", ceiling=1_000_000_000)
    price = quote(
        input_bound=10,
        input_rate=10**6,
        output_rate=0,
        choices=1,
        asked=1,
        model_max=1,
        has_output=True,
    )
    store.hold("s", price, Policy(), "h1")
    write(home, "h1", seen={"usage": {"input_tokens": 1}, "complete": True})
    await spooled.take_all()
    session = store.ledger.session("s")
    assert (session.held, session.settled, session.iterations) == (10, 0, 1)


async def test_a_link_leads_to_another_file(spooled: Spooled, store: Store, home: Path) -> None:
    path = write(home)
    path.rename(home / "elsewhere.json")
    path.symlink_to(home / "elsewhere.json")
    await spooled.take_all()
    assert "s" not in store.ledger.sessions
    assert (home / "elsewhere.json").exists()


# ---- a server of the client's own

OWN = """
[providers.mistral]
wire = "mistral"
[providers.own]
wire = "openai"
base_url = "http://127.0.0.1:8000/v1"
"""
OWN_PRICES = """
[own.gpt-4o]
input = 1
output = 1
[own.dear]
input = 100
output = 100
"""
#: 1000 in and 200 out of own's gpt-4o
OWN_NANOS = 1200 * 1_000
USED: dict[str, Any] = {"usage": {"input_tokens": 1000, "output_tokens": 200}, "complete": True}


@pytest.fixture
def own(store: Store, home: Path) -> Spooled:
    """Of a daemon that has providers of its own."""
    (home / "config.toml").write_text(OWN)
    (home / "prices.toml").write_text(OWN_PRICES)
    (home / "spool").mkdir()
    told = load_settings(environ={"AGENTWATCH_HOME": str(home)})
    upstreams = {name: told.upstream(name) for name in told.provider_names}
    governor = governor_of(store, told, load_book(None, home / "prices.toml", upstreams=upstreams))
    return Spooled(governor, Elsewhere(governor), dialects(told.own_wires), told)


def mistral_nanos() -> int:
    price = load_book(None).find("mistral", "mistral-small-latest")
    assert price is not None
    return cost(price, Usage(input_tokens=1000, output_tokens=200))


@pytest.mark.parametrize(
    ("base", "model", "nanos"),
    [
        ("http://localhost:8000", "gpt-4o", OWN_NANOS),
        ("https://api.openai.com:443/v1/", "gpt-4o", NANOS),
        ("https://api.mistral.ai/v1", "mistral-small-latest", mistral_nanos()),
    ],
)
async def test_a_server_of_its_own_is_priced_as_the_client_s_class(
    own: Spooled, store: Store, home: Path, base: str, model: str, nanos: int
) -> None:
    ask, _ = OpenAI().read("POST", "/v1/chat/completions", "", {}, BODY)
    write(home, ask=_kept(ask) | {"model": model}, seen=USED, base=base)
    await own.take_all()
    session = store.ledger.session("s")
    assert (session.settled, session.passes) == (nanos, {"daemon_away": 1})


@pytest.mark.parametrize(
    ("base", "least"),
    [
        # 100 tokens of output at gpt-4o's dearest tier, not at own's single dollar
        ("https://stranger.example/v1", 100 * 17_000),
        # a region asks a tenth more
        ("https://eu.api.openai.com/v1", 100 * 18_700),
        ("", 0),
    ],
)
async def test_a_server_that_nobody_named_gets_less_than_its_worst_case(
    own: Spooled, store: Store, home: Path, base: str, least: int, caplog: Any
) -> None:
    used = {**USED, "usage": {"input_tokens": 1, "output_tokens": 1}}
    write(home, seen=used, base=base)
    await own.take_all()
    session = store.ledger.session("s")
    if base:
        assert session.settled > least
        assert session.passes == {"daemon_away": 1, "unknown_server": 1}
        assert "no configuration names" in caplog.text and "stranger" not in caplog.text
    else:
        assert session.settled == 12_500
    # what it used is more, so it is charged
    write(home, "f2", session_id="t", base=base, seen={**USED, "usage": {"input_tokens": 10**6}})
    await own.take_all()
    assert store.ledger.session("t").settled >= 10**6 * 2_500


async def test_a_model_that_is_priced_anywhere_is_dear_at_a_stranger_s(
    own: Spooled, store: Store, home: Path
) -> None:
    ask, _ = OpenAI().read("POST", "/v1/chat/completions", "", {}, BODY)
    for name, model in (("f1", "dear"), ("f2", "of-nobody")):
        kept = _kept(ask) | {"model": model}
        write(home, name, session_id=model, ask=kept, base="https://stranger.example/v1")
    await own.take_all()
    assert store.ledger.session("dear").settled >= 100 * 100_000
    assert store.ledger.session("of-nobody").passes == {"daemon_away": 1, "unpriced": 1}
