"""Every journal: a restart loses nothing, a crash is charged, a repeated verb changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from workbench import BrokenJournal

from agentwatch.core import entries as e
from agentwatch.core import fold
from agentwatch.core.accounts import Session
from agentwatch.core.admission import Admitted, Policy
from agentwatch.core.estimate import Quote
from agentwatch.errors import BarredError, JournalUnavailable, LedgerError, UnknownHold
from agentwatch.store.memory import MemoryJournal
from agentwatch.store.protocol import Batch
from agentwatch.store.store import Store, new_hold_id

Kit = Any
QUOTE = Quote(fixed=0, per_token=1_000_000, asked=100, most=100)


async def opened(kit: Kit, ceiling: int | None = 1_000, **terms: Any) -> Store:
    store: Store = await kit.open()
    await store.open_session("s", ceiling=ceiling, **terms)[1]
    return store


def money(store: Store, account: str = "session:s") -> tuple[int, int]:
    found = store.ledger.account(account)
    return found.settled, found.held


async def test_a_restart_loses_nothing(kit: Kit) -> None:
    store = await opened(kit, project="web", team="core")
    await store.set_ceiling("project:web", 5_000)
    await store.mint("s", "hash-of-a-token")
    await kit.hold(store, "h1", 300)[1]
    await store.settle("h1", 120, "usage", model="m", input_tokens=7, output_tokens=3)[1]
    await store.set_state("s", "pause", "lunch")
    before = dict(store.ledger.accounts)

    store = await kit.reopen(store)

    assert store.ledger.accounts == before
    assert store.ledger.monthly == {"project:web": 5_000}
    assert store.ledger.tokens == {"hash-of-a-token": "s"}
    session = store.ledger.session("s")
    assert isinstance(session, Session)
    assert (session.state, session.settled, session.by_model["m"].calls) == ("paused", 120, 1)
    assert kit.crashed_with == []
    assert await store.verify() == 6


async def test_a_kill_outlives_the_daemon(kit: Kit) -> None:
    store = await opened(kit)
    await store.set_state("s", "kill", "enough")
    for again in (await kit.reopen(store), await kit.crash()):
        assert again.ledger.session("s").state == "killed"
        with pytest.raises(BarredError):
            kit.hold(again, "h", 1)


async def test_under_load_the_ledger_is_never_verified(kit: Kit) -> None:
    """There is always something left to write then."""
    store = await opened(kit)

    async def load() -> None:
        for number in range(100_000):
            store.mint("s", f"{number}")
            await asyncio.sleep(0)

    loading = asyncio.create_task(load())
    try:
        assert await asyncio.wait_for(store.verify(), 10) >= 1
        assert not loading.done()
    finally:
        loading.cancel()


async def test_an_open_hold_at_a_crash_is_charged_in_full(kit: Kit) -> None:
    store = await opened(kit, project="web")
    await kit.hold(store, "sent", 300)[1]
    await store.extend("sent", 50)[1]
    await kit.hold(store, "ended", 100)[1]
    await store.void("ended", "429")[1]

    store = await kit.crash()

    (outcome,) = kit.crashed_with
    assert (outcome.hold, outcome.nanos, outcome.basis) == ("sent", 350, "crash")
    for account in ("session:s", *outcome.accounts):
        assert money(store, account) == (350, 0)
    assert store.ledger.holds == {}
    await store.verify()
    store = await kit.crash()
    assert kit.crashed_with == [], "a crash is charged once, however many follow"
    assert money(store) == (350, 0)


async def test_many_open_holds_at_a_crash_are_charged_in_few_transactions(kit: Kit) -> None:
    store = await opened(kit, ceiling=None)
    written = [kit.hold(store, f"h{number}", 1)[1] for number in range(500)]
    await asyncio.gather(*(asyncio.ensure_future(_done(one)) for one in written))
    store = await kit.crash()
    assert len(kit.crashed_with) == 500
    assert money(store) == (500, 0)
    assert await store.verify() == 1_001


async def _done(written: Any) -> None:
    await written


@pytest.mark.parametrize("way", ["reopen", "crash"])
async def test_a_verb_repeated_after_a_restart_is_answered_as_the_first(kit: Kit, way: str) -> None:
    store = await opened(kit)
    for hold in ("settled", "voided", "adjusted"):
        await kit.hold(store, hold, 100)[1]
    await store.settle("settled", 60, "usage")[1]
    await store.void("voided", "429")[1]
    await store.settle("adjusted", 10, "estimate")[1]
    first = [
        store.settle("settled", 1, "usage")[0],
        store.void("voided", "again")[0],
        store.adjust("adjusted", 30, "bill")[0],
    ]
    await store.verify()
    store = await (kit.reopen(store) if way == "reopen" else kit.crash())
    rows = await store.verify()

    holds = ("settled", "voided", "adjusted")
    assert [store.settle(hold, 99, "usage")[0] for hold in holds] == first
    assert [store.void(hold, "late")[0] for hold in holds] == first
    assert store.adjust("adjusted", 30, "bill")[0] == first[2]
    assert await store.verify() == rows, "nothing was written"
    assert money(store) == (90, 0)


async def test_a_late_report_after_a_restart_is_charged_once(kit: Kit) -> None:
    store = await opened(kit)
    await kit.hold(store, "h", 100)[1]
    await store.settle("h", 60, "usage")[1]
    store = await kit.reopen(store)
    for _ in range(2):
        outcome, written = store.adjust("h", 80, "bill")
        await written
        assert (outcome.nanos, outcome.basis) == (80, "late")
    assert money(store) == (80, 0)
    await store.verify()


async def test_an_end_that_is_no_longer_remembered_is_found_in_the_journal(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "REMEMBERED_ENDS", 20)
    store = await opened(kit, ceiling=None)
    await kit.hold(store, "first", 5)[1]
    first, _ = store.settle("first", 4, "usage")
    for number in range(20):
        kit.hold(store, f"h{number}", 0)
        store.void(f"h{number}", "")
    await store.verify()
    assert "first" not in store.ledger.ended
    assert store.settle("first", 9, "usage")[0] == first
    assert money(store) == (4, 0)


async def test_a_hold_that_never_was_is_unknown_before_and_after_a_restart(kit: Kit) -> None:
    store = await opened(kit)
    for _ in range(2):
        with pytest.raises(UnknownHold):
            store.settle("never", 1, "usage")
        with pytest.raises(UnknownHold):
            store.adjust("s", 1, "a session's id is no hold")
        store = await kit.reopen(store)


async def test_an_open_hold_can_not_be_adjusted(kit: Kit) -> None:
    store = await opened(kit)
    await kit.hold(store, "h", 100)[1]
    with pytest.raises(UnknownHold):
        store.adjust("h", 500, "bill")
    assert money(store) == (0, 100)


async def test_what_was_not_yet_written_is_gone_with_the_process_and_nothing_else() -> None:
    journal = Forgetful()
    store = Store(journal)
    await store.open()
    await store.open_session("s", ceiling=1_000)[1]
    journal.deaf = True
    verdict, written = store.hold("s", QUOTE, Policy(), "h")
    assert isinstance(verdict, Admitted)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(_done(written), 0.01)
    after = Store(journal)
    assert await after.open() == []
    assert await after.verify() == 1


async def test_a_repeated_verb_is_told_to_be_written_before_the_first_is() -> None:
    journal = BrokenJournal()
    store = Store(journal)
    await store.open()
    await store.open_session("s")[1]
    journal.stuck = True
    first = store.hold("s", QUOTE, Policy(), "h")[1]
    again = asyncio.ensure_future(_done(store.hold("s", QUOTE, Policy(), "h")[1]))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not again.done()
    journal.release()
    await first
    await again


async def test_a_text_that_is_no_unicode_takes_its_whole_batch_with_it(kit: Kit) -> None:
    """Those who waited for it were told nothing, and no later batch was written."""
    odd = "\ud800ä"
    store = await opened(kit)
    written = []
    for hold in ("h1", "h2"):
        about = {"provider": odd, "model": odd, "lane": odd}
        written.append(store.hold("s", QUOTE, Policy(), hold, **about)[1])
    written.append(store.settle("h1", 1, "usage", model=odd, price_version=odd, reason=odd)[1])
    written.append(store.adjust("h1", 2, odd)[1])
    written.append(store.void("h2", odd)[1])
    told = {"model": odd, "reason": odd}
    charged = store.charge("s", 1, "late", hold_id="h3", provider=odd, lane=odd, **told)
    assert charged is not None
    written += [charged, store.set_state("s", "pause", odd)]
    async with asyncio.timeout(30):
        await asyncio.gather(*written)
    assert await store.verify() == 9


async def test_group_commit_makes_far_fewer_transactions_than_calls(kit: Kit) -> None:
    store = await opened(kit)
    counted = Counted(store)

    async def call(number: int) -> None:
        await kit.hold(store, f"h{number}", 1)[1]
        await asyncio.sleep(0)
        await store.settle(f"h{number}", 1, "usage")[1]

    await asyncio.gather(*(call(number) for number in range(200)))
    assert money(store) == (200, 0)
    assert counted.rows == 400
    if kit.kind == "sqlite":
        assert counted.batches < 100


async def test_listeners_hear_each_entry_once_and_in_order(kit: Kit) -> None:
    store = await opened(kit)
    heard: list[e.AnyEntry] = []
    store.listen(heard.append)
    kit.hold(store, "h", 10)
    store.settle("h", 5, "usage")
    store.settle("h", 5, "usage")
    assert [e.kind(entry) for entry in heard] == ["held", "settled"]


async def test_a_statistic_beside_the_journal_survives_and_troubles_no_audit(kit: Kit) -> None:
    store = await opened(kit)
    session = store.ledger.session("s")
    session.refusals = 3
    session.passes["journal"] = 2
    store.touch(session)
    store = await kit.reopen(store)
    assert store.ledger.session("s").refusals == 3
    assert store.ledger.session("s").passes == {"journal": 2}
    assert await store.verify() == 1


async def test_the_audit_is_not_confused_by_calls_that_go_on_meanwhile(kit: Kit) -> None:
    store = await opened(kit, ceiling=None)
    for number in range(300):
        kit.hold(store, f"h{number}", 2)
        store.settle(f"h{number}", 1, "usage", input_tokens=number)
    audit = asyncio.create_task(store.verify())
    for number in range(300):
        kit.hold(store, f"g{number}", 2)
        store.settle(f"g{number}", 1, "usage", model=f"m{number}", input_tokens=number + 1)
        if number % 10 == 0:
            await asyncio.sleep(0)
    await audit


@pytest.mark.parametrize(
    "corrupt",
    [
        lambda store: setattr(store.ledger.session("s"), "settled", 1),
        lambda store: setattr(store.ledger.session("s"), "state", "killed"),
        lambda store: store.ledger.monthly.update({"project:x": 5}),
        lambda store: store.ledger.holds.clear(),
    ],
    ids=["settled", "state", "budget", "holds"],
)
async def test_a_balance_that_its_entries_do_not_make_is_told(
    kit: Kit, corrupt: Callable[[Store], None]
) -> None:
    store = await opened(kit)
    await kit.hold(store, "h", 100)[1]
    corrupt(store)
    with pytest.raises(LedgerError, match="add up"):
        await store.verify()


async def test_ten_thousand_ids_of_holds_are_all_different() -> None:
    assert len({new_hold_id() for _ in range(10_000)}) == 10_000


async def test_verbs_after_the_end_promise_nothing_and_hang_nobody(files: Kit) -> None:
    store = await opened(files)
    await store.close()
    written = files.hold(store, "h", 1)[1]
    with pytest.raises(JournalUnavailable):
        await asyncio.wait_for(_done(written), 2)
    with pytest.raises(JournalUnavailable):
        store.settle("never", 1, "usage")


# ---- journals that fail as told


class Forgetful(MemoryJournal):
    """Never answers when it is deaf, as a process that died would not."""

    deaf = False

    def append(self, batch: Batch, done: Callable[[Exception | None], None]) -> None:
        if not self.deaf:
            super().append(batch, done)


class Counted:
    """Counts what a store's journal is given."""

    def __init__(self, store: Store) -> None:
        self.batches = self.rows = 0
        journal = store._journal
        append = journal.append

        def counting(batch: Batch, done: Callable[[Exception | None], None]) -> None:
            self.batches += 1
            self.rows += len(batch.rows)
            append(batch, done)

        journal.append = counting  # type: ignore[method-assign]
