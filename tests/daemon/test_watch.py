"""What is done about what looks wrong: told once, paused, killed; and no call is ever broken."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from workbench import (
    DONE,
    END,
    Bench,
    FakeAnswer,
    FakeClient,
    FakeUpstream,
    bench,
    event,
    said,
    until,
    usage,
)

from agentwatch.core import accounts as acc
from agentwatch.daemon import watch as module
from agentwatch.errors import Refusal

CALL = {"function": {"name": "ls", "arguments": "{}"}}


def answered(given: int = 100, **message: Any) -> FakeAnswer:
    """A whole answer of a chat."""
    body = {"choices": [{"message": message or {"tool_calls": [CALL]}}], "usage": usage(given, 5)}
    return FakeAnswer(json.dumps(body).encode(), END, Content_Type="application/json")


def told(text: str = "the folder is empty") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "go"}, {"role": "tool", "content": text}]}


@pytest.fixture
async def here() -> AsyncIterator[Bench]:
    async with bench(upstream=FakeUpstream()) as made:
        yield made


async def calls(here: Bench, times: int, answer: Any = answered, **fields: Any) -> None:
    for _ in range(times):
        here.upstream.will(answer())
        await here.start(FakeClient(), **fields)


def kinds(here: Bench, name: str = "s") -> list[str]:
    return [alert["kind"] for alert in here.watch.of(name)]


async def test_a_loop_goes_on_untold(here: Bench) -> None:
    here.open()
    await calls(here, 8, **told())
    assert kinds(here) == ["repeated_request"]
    (alert,) = await here.watch.alerts.latest(10)
    assert (alert.session_id, alert.action, alert.ended_at) == ("s", "alert", None)
    assert [each["alert"]["id"] for each in here.events.past("s") if each["kind"] == "alert"] == [
        alert.id
    ]
    assert here.store.ledger.session("s").state == acc.ACTIVE


async def test_one_loop_is_told_in_each_way_that_it_shows(here: Bench) -> None:
    """The same tool call, with a request that grows: several detectors see it."""
    here.open()
    for number in range(9):
        here.upstream.will(answered())
        history = [{"role": "tool", "content": "the folder is empty"}] * (number + 2)
        await here.start(FakeClient(), messages=history)
    assert kinds(here) == ["repeated_tool_call"]


async def test_an_alert_never_ends(here: Bench) -> None:
    here.open()
    await calls(here, 6, **told())
    for number in range(40):
        here.upstream.will(answered(content="something new: " + chr(97 + number % 26) * 9))
        await here.start(FakeClient(), **told(f"{chr(97 + number)} was done"))
    assert here.watch.of("s")[0]["ended_at"] is not None
    assert (await here.watch.alerts.latest(1))[0].ended_at is not None


async def test_a_session_that_is_to_be_paused_makes_one_more_call(here: Bench) -> None:
    session = here.open(on_anomaly="pause")
    await calls(here, 5, **told())
    assert session.state == acc.PAUSED
    with pytest.raises(Refusal) as refusal:
        await here.start(FakeClient())
    assert refusal.value.reason == "session_paused"
    assert "the same request, 5 times" in refusal.value.message
    assert "agentwatch sessions resume s" in refusal.value.message
    here.store.set_state("s", "resume")
    assert here.watch.of("s")[0]["ended_at"] is not None
    await calls(here, 1, **told())
    assert session.state == acc.ACTIVE


async def test_who_was_paused_by_a_person_is_told_another_cause(here: Bench) -> None:
    here.open(on_anomaly="pause")
    await calls(here, 5, **told())
    here.store.set_state("s", "resume")
    here.store.set_state("s", "pause", "asked")
    with pytest.raises(Refusal) as refusal:
        await here.start(FakeClient())
    assert "the same request" not in refusal.value.message


async def test_a_session_that_is_to_be_killed_lives(here: Bench) -> None:
    session = here.open(on_anomaly="kill")
    await calls(here, 4, **told())
    here.upstream.will(answered())
    with pytest.raises(Refusal, match=r"was killed \(the same request"):
        await here.start(FakeClient(), **told())
    assert session.state == acc.KILLED
    assert not here.store.ledger.holds
    assert session.held == 0


async def test_an_info_pauses(here: Bench) -> None:
    session = here.open(on_anomaly="kill")
    for size in (100, 200, 400, 800):
        here.upstream.will(answered(size, content=f"{chr(97 + size % 26)} is new"))
        await here.start(FakeClient(), messages=[{"role": "user", "content": f"{size:b}"}])
    (growth,) = [each for each in here.watch.of("s") if each["kind"] == "prompt_growth"]
    assert (growth["severity"], growth["action"]) == ("info", "alert")
    assert session.state == acc.ACTIVE


@pytest.mark.parametrize(
    ("setting", "found", "state"),
    [("off", [], "active"), ("alert", ["repeated_request"], "active"),
     ("kill", ["repeated_request"], "killed")],
)  # fmt: skip
async def test_a_kind_s_own_action_is_not_done(setting: str, found: list[str], state: str) -> None:
    async with bench(
        upstream=FakeUpstream(), anomalies_repeated_request=setting,
        anomalies_repeated_tool_call="off",
    ) as here:  # fmt: skip
        session = here.open(on_anomaly="alert" if setting == "kill" else "pause")
        try:
            await calls(here, 5, **told())
        except Refusal:
            assert state == "killed"
        assert (kinds(here), session.state) == (found, state)


async def test_a_stronger_action_waits_for_a_weaker_one_s_end() -> None:
    """Another sign of the same loop, for which the session is to be paused."""
    actions = {"anomalies_repeated_request": "alert", "anomalies_repeated_tool_call": "pause"}
    async with bench(upstream=FakeUpstream(), anomalies_repeats="4", **actions) as here:
        session = here.open()
        with pytest.raises(Refusal, match="paused"):
            await calls(here, 8, **told())
        assert kinds(here) == ["repeated_request", "repeated_tool_call"]
        assert session.state == acc.PAUSED


async def test_calls_that_the_provider_refuses_are_taken_for_work(here: Bench) -> None:
    here.open()
    for number in range(7):
        here.upstream.will(FakeAnswer(b"{}", END, status=429, Content_Type="application/json"))
        await here.start(FakeClient(), **told(f"{chr(97 + number)} was done"))
    assert kinds(here) == ["failing_calls"]


async def test_a_stream_s_answer_is_not_known(here: Bench) -> None:
    here.open()
    talk = []
    for number in range(6):
        talk.append({"role": "user", "content": f"{chr(97 + number)} was done, what is next?"})
        end = event(choices=[], usage=usage(9, 2))
        here.upstream.will(FakeAnswer(said("nothing", " to do"), end, DONE, END))
        await here.start(FakeClient(), stream=True, messages=talk)
    assert kinds(here) == ["stale_answers"]


async def test_a_detector_that_fails_breaks_the_call(
    here: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(module.Watched, "begun", broken)
    monkeypatch.setattr(module.Watched, "ended", broken)
    session, client = here.open(), FakeClient()
    here.upstream.will(answered())
    await here.start(client)
    assert client.status == 200
    assert (session.held, session.iterations) == (0, 1)


async def test_one_session_s_thousands_push_others_out(
    here: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_OF_A_SESSION", 3)
    here.open()
    for number in range(40):
        here.upstream.will(answered(100 * 2 ** (number % 4), content=chr(97 + number % 26) * 5))
        await here.start(FakeClient(), messages=[{"role": "user", "content": f"{number:b}"}])
    assert len(await here.watch.alerts.latest(100)) == 3


async def test_growth_is_told_again_when_its_session_was_forgotten_meanwhile(
    here: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_SESSIONS", 1)
    here.open(None)
    here.open(None, "other")

    async def prompts(*sizes: int, name: str = "s") -> None:
        for size in sizes:
            here.upstream.will(answered(size, content=f"{size:b}"))
            await here.start(FakeClient(), name=name, model="gpt-4o")

    await prompts(10, 20, 40)
    await prompts(10, name="other")
    await prompts(80)
    await prompts(10, name="other")
    await prompts(160)
    alerts = await here.watch.alerts.latest(10)
    assert [(alert.kind, alert.ended_at) for alert in alerts] == [("prompt_growth", None)]
    await prompts(10, name="other")
    here.store.set_state("s", "kill")
    (alert,) = await here.watch.alerts.latest(10)
    assert alert.ended_at is not None


async def test_sessions_that_ended_are_watched_for_ever(here: Bench) -> None:
    here.open()
    await calls(here, 6, **told())
    here.store.set_state("s", "close")
    assert here.watch._sessions == {}
    assert here.watch.of("s")[0]["ended_at"] is not None


async def test_a_call_that_outlives_its_session_is_watched_anew(here: Bench) -> None:
    here.open()
    here.upstream.will(None)
    out = here.start(FakeClient())
    await until(lambda: here.governor.calls)
    here.store.set_state("s", "kill")
    await until(out.done)
    assert here.watch._sessions == {}


async def test_an_alert_tells_what_was_said(here: Bench) -> None:
    here.open()
    await calls(here, 8, **told("canary-in-a-prompt"))
    (alert,) = await here.watch.alerts.latest(10)
    assert "canary" not in repr(alert) and "canary" not in repr(here.events.past(None))


async def test_a_call_that_costs_more_than_was_held_is_not_alarmed(here: Bench) -> None:
    session = here.open()
    here.upstream.will(answered(2_000, content="much more was read than was sent"))
    await here.start(FakeClient())
    assert session.overdraft > 0
    assert kinds(here) == ["overdraft"]
    assert here.watch.of("s")[0]["evidence"]["usd"] == session.overdraft / 1e9
    await calls(here, 1)
    assert kinds(here) == ["overdraft"]


async def test_calls_that_pass_without_a_durable_hold_are_alarmed_each_time(here: Bench) -> None:
    here.open()
    await calls(here, 1)
    here.journal.broken = True
    for number in range(3):
        await calls(here, 1, **told(f"{chr(97 + number)} was done"))
    assert kinds(here) == ["undurable"]
    here.journal.broken = False
    await until(lambda: here.store.failed is None)
    await calls(here, 1, **told("and on"))
    assert here.watch.of("s")[0]["ended_at"] is not None
