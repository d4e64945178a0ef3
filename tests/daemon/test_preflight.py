"""Holds that a caller ends itself, where the daemon's own clock or crash has a say; the rest of
what can be asked for is in tests/e2e."""

from __future__ import annotations

from typing import Any

import pytest
from workbench import BrokenJournal, Keys, settings

from agentwatch.core.call_record import CallRecord
from agentwatch.core.price_book import Band, Catalogue, ModelPrice, PriceBook, Rates
from agentwatch.core.seen import Seen
from agentwatch.daemon.events import Events
from agentwatch.daemon.governor import Governor
from agentwatch.daemon.main import dialects
from agentwatch.daemon.preflight import Preflight, told_of
from agentwatch.daemon.tasks import Tasks
from agentwatch.daemon.telemetry import Telemetry
from agentwatch.daemon.watch import Watch
from agentwatch.errors import JournalUnavailable, Refusal, UnknownHold, UsageError
from agentwatch.store.alerts import AlertStore
from agentwatch.store.store import Store

PRICE = ModelPrice(
    provider="openai",
    model="m",
    tiers={"default": (Band(rates=Rates(input=1_000_000_000, output=2_000_000_000)),)},
    max_output_tokens=1000,
    context_window=5000,
    source="test",
)


class _Book(PriceBook):
    def __init__(self) -> None:
        super().__init__(
            Catalogue(version="v", from_at=0.0, stale_at=None, entries={}, fees={}), None
        )

    def find(self, provider: str, model: str) -> ModelPrice | None:
        return PRICE if model == "m" else None


@pytest.fixture
def journal() -> BrokenJournal:
    return BrokenJournal()


@pytest.fixture
async def store(journal: BrokenJournal) -> Store:
    made = Store(journal)
    await made.open()
    return made


@pytest.fixture
def governor(store: Store) -> Governor:
    told = settings()
    watch = Watch(store, AlertStore(None), told.anomalies, Events())
    telemetry = Telemetry(told, Tasks(), store.count_risks)
    return Governor(store, _Book(), {}, Keys(), told, Tasks(), Events(), watch, telemetry)


@pytest.fixture
def room(governor: Governor) -> Preflight:
    return Preflight(governor, dialects(), settings())


@pytest.fixture
def records(governor: Governor, monkeypatch: pytest.MonkeyPatch) -> list[CallRecord]:
    """What was told to the telemetry."""
    told: list[CallRecord] = []
    monkeypatch.setattr(governor.telemetry, "put", lambda item: told.append(item.record))
    return told


ASKED = {"session_id": "s", "provider": "openai", "model": "m"}


async def test_what_is_not_told_is_taken_at_its_worst(room: Preflight, store: Store) -> None:
    told = await room.hold(ASKED)
    # 5,000 tokens of window and 1,000 of output
    assert told["held_usd"] == pytest.approx(0.007)
    assert (await room.hold({**ASKED, "input_tokens": 10}))["held_usd"] == pytest.approx(0.00201)
    nothing_out = {**ASKED, "input_tokens": 10, "max_output_tokens": 0}
    assert (await room.hold(nothing_out))["held_usd"] == pytest.approx(0.00001)


async def test_a_ceiling_that_is_given_is_the_session_s(room: Preflight, store: Store) -> None:
    with pytest.raises(Refusal) as refusal:
        await room.hold({**ASKED, "budget_usd": 0.001})
    assert (refusal.value.reason, refusal.value.status) == ("agent_budget_exceeded", 402)
    with pytest.raises(Refusal):
        await room.hold({**ASKED, "budget_usd": 9})
    assert store.ledger.session("s").ceiling == 1_000_000


async def test_a_hold_of_which_nothing_is_heard_is_a_charge(room: Preflight, store: Store) -> None:
    told = await room.hold(ASKED)
    room._forgotten(told["hold_id"])
    session = store.ledger.session("s")
    assert (session.held, session.settled) == (0, 7_000_000)
    late = await room.end(told["hold_id"], "settle", {"usage": {"prompt_tokens": 1}})
    assert late["settled_usd"] == told["held_usd"]
    room._forgotten(told["hold_id"])
    assert store.ledger.session("s").settled == 7_000_000


async def test_a_call_made_elsewhere_leaves_no_record(
    room: Preflight, store: Store, records: list[CallRecord]
) -> None:
    store.open_session("s", project="p")
    held = [await room.hold({**ASKED, "input_tokens": 10}) for _ in range(4)]
    ids = [each["hold_id"] for each in held]
    usage = {"prompt_tokens": 4, "completion_tokens": 2}
    for _ in range(2):
        await room.end(ids[0], "settle", {"usage": usage})
        await room.end(ids[1], "settle", {})
        await room.end(ids[2], "void", {})
        room._forgotten(ids[3])
    assert [record.request_id for record in records] == ids
    assert [record.iteration for record in records] == [1, 2, 3, 4]
    assert [record.ended for record in records] == ["complete", "lost", "not_sent", "lost"]
    assert [record.basis for record in records] == ["usage", "estimate", "void", "estimate"]
    whole = 2_010_000
    assert [record.cost_nanos for record in records] == [8_000, whole, 0, whole]
    assert {record.held_nanos for record in records} == {whole}
    told, *untold = records
    assert (told.provider, told.api, told.model) == ("openai", "preflight", "m")
    assert (told.project, told.price_version) == ("p", "v")
    assert (told.input_tokens, told.output_tokens, told.usage["input_tokens"]) == (4, 2, 4)
    assert {record.input_tokens for record in untold} == {0}
    assert untold[1].reason == "given back by the caller"


async def test_a_hold_that_is_refused_leaves_no_record(
    room: Preflight, store: Store, records: list[CallRecord]
) -> None:
    for body in ({**ASKED, "budget_usd": 0.001}, ASKED):
        with pytest.raises(Refusal):
            await room.hold(body)
        store.set_state("s", "kill")
    assert [record.verdict for record in records] == ["refused", "refused"]
    assert [record.reason for record in records] == ["agent_budget_exceeded", "session_killed"]
    assert store.ledger.session("s").refusals == 2


async def test_a_hold_that_could_not_be_written_is_told_as_given_back(
    room: Preflight, store: Store, journal: BrokenJournal, records: list[CallRecord]
) -> None:
    store.open_session("s")
    journal.broken = True
    with pytest.raises(JournalUnavailable):
        await room.hold(ASKED)
    assert store.ledger.session("s").held == 0
    assert [(each.basis, each.reason) for each in records] == [("void", "never promised")]
    journal.broken = False
    await store.close()


async def test_usage_above_the_hold_is_charged_in_full(room: Preflight, store: Store) -> None:
    told = await room.hold({**ASKED, "budget_usd": 0.01})
    usage = {"prompt_tokens": 20_000, "completion_tokens": 0}
    ended = await room.end(told["hold_id"], "settle", {"usage": usage})
    assert ended["settled_usd"] == pytest.approx(0.02)
    assert room.check("session_id=s", None) == {
        "exceeded": True,
        "spent_usd": 0.02,
        "limit_usd": 0.01,
        "remaining_usd": 0,
        "state": store.ledger.session("s").state,
    }


async def test_usage_that_can_t_be_meant_leaves_the_hold(room: Preflight, store: Store) -> None:
    told = await room.hold(ASKED)
    for usage in ({}, [], "x", {"prompt_tokens": 1 << 50, "completion_tokens": 0}):
        with pytest.raises(UsageError):
            await room.end(told["hold_id"], "settle", {"usage": usage})
    assert told["hold_id"] in store.ledger.holds


async def test_a_proxied_call_s_hold_is_no_business_of_this_room(room: Preflight) -> None:
    with pytest.raises(UnknownHold):
        await room.end("h0123", "void", {})
    with pytest.raises(UnknownHold):
        await room.end("p0123", "void", {})
    with pytest.raises(UsageError):
        await room.end("p0123", "void", {"usage": {}})


async def test_from_inside_only_the_own_session_is_asked_about(
    room: Preflight, store: Store
) -> None:
    session, _ = store.open_session("s")
    assert room.check("session_id=s", session)["exceeded"] is False
    for query in ("", "session_id=t", "session_id=s&session_id=t"):
        with pytest.raises(Refusal):
            room.check(query, session)


#: what each wire's usage object may not be, beside what none may be
NO_USAGE: list[tuple[str, Any]] = [
    ("openai", {"prompt_tokens": 5, "total_tokens": 9}),
    ("openai", {"prompt_tokens": 5, "completion_tokens": -1, "total_tokens": 5}),
    ("anthropic", {"input_tokens": 5}),
    ("anthropic", {"input_tokens": 5, "output_tokens": 1.5}),
    ("gemini", {"promptTokenCount": "5"}),
    ("gemini", {"candidatesTokenCount": 5}),
    ("xai", {"cost_in_usd_ticks": 5}),
    ("groq", {"input_tokens": 1}),
]


@pytest.mark.parametrize(("provider", "told"), NO_USAGE)
def test_what_is_no_usage_of_a_provider_s_is_told(provider: str, told: Any) -> None:
    with pytest.raises(UsageError, match=provider):
        told_of(dialects()[provider], "m", {"usage": told})


def test_each_wire_reads_its_own_spellings() -> None:
    """And those of the wires that it also takes; what a provider states as the cost, and the tier
    that answered, where the usage tells it."""
    message = {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 3}
    own = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_cache_hit_tokens": 4}
    chat = {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10}
    spoken = dialects({"deepseek": "openai", "mine": "mistral"})

    def read(provider: str, told: Any) -> Any:
        found = told_of(spoken[provider], "m", {"usage": told})
        assert isinstance(found, Seen)
        return found

    assert read("anthropic", {**message, "service_tier": "priority"}).service_tier == "priority"
    assert read("anthropic", {**message, "speed": "fast"}).service_tier == "fast"
    assert read("gemini", {"prompt_token_count": 5, "service_tier": "FLEX"}).service_tier == "flex"
    for provider in ("anthropic", "xai"):
        assert read(provider, message).usage.input_tokens == 8
    assert read("xai", {**chat, "cost_in_usd_ticks": 20}).usage.stated_nanos == 2
    assert read("deepseek", own).usage.cached_input_tokens == 4
    for provider in spoken:
        assert read(provider, chat).usage.input_tokens == 8


CHAT = {"object": "chat.completion", "model": "m-2", "usage": {"prompt_tokens": 8}}
MESSAGE = {
    "type": "message",
    "usage": {
        "input_tokens": 8,
        "output_tokens": 2,
        "server_tool_use": {"web_search_requests": 3},
    },
}
SEARCHED = {"web_search_queries": ["one"]}
GENERATED = {
    "candidates": [{"finish_reason": "STOP", "grounding_metadata": SEARCHED}],
    "usage_metadata": {"prompt_token_count": 8, "candidates_token_count": 2},
    "sdk_http_response": {"headers": {"X-Gemini-Service-Tier": "PRIORITY"}},
}


@pytest.mark.parametrize(
    ("provider", "answer", "pieces"),
    [
        ("anthropic", MESSAGE, {"web_search": 3}),
        ("xai", MESSAGE, {"web_search": 3}),
        ("gemini", GENERATED, {"web_search": 1}),
    ],
)
def test_a_whole_answer_tells_its_fees(provider: str, answer: Any, pieces: Any) -> None:
    seen = told_of(dialects()[provider], "m", {"answer": answer})
    assert seen is not None and seen.usage is not None and seen.complete
    assert seen.usage.pieces == pieces
    assert seen.usage.input_tokens == 8


def test_a_whole_answer_names_its_model_and_tier() -> None:
    chat = {**CHAT, "usage": {"prompt_tokens": 8, "completion_tokens": 2}, "service_tier": "flex"}
    seen = told_of(dialects()["openai"], "m", {"answer": chat})
    assert seen is not None and (seen.model, seen.service_tier) == ("m-2", "flex")
    # another's answer on the path where it speaks OpenAI's wire
    for provider in ("anthropic", "gemini", "groq", "xai"):
        seen = told_of(dialects()[provider], "m", {"answer": chat})
        assert seen is not None and seen.model == "m-2"
    seen = told_of(dialects()["gemini"], "m", {"answer": GENERATED})
    assert seen is not None and seen.service_tier == "priority"


@pytest.mark.parametrize("told", [CHAT, {}, [], "x", {"object": "list"}, {"usage": {}}])
def test_what_is_no_whole_answer_is_told(told: Any) -> None:
    for provider, dialect in dialects().items():
        with pytest.raises(UsageError, match=provider):
            told_of(dialect, "m", {"answer": told})


def test_an_answer_and_its_usage_are_told_both() -> None:
    with pytest.raises(UsageError, match="one of them"):
        told_of(dialects()["openai"], "m", {"usage": {}, "answer": {}})
