"""Streams on their way to a client, from the daemon and from the provider itself."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from harness import Daemon, chat, wait_until

import agentwatch
from agentwatch import AgentSessionKilled, WatchedOpenAI
from agentwatch.sdk.answers import Ending, stream_class
from agentwatch.standin.process import StandinProcess


def test_a_stream_goes_on_past_its_kill(beside: Daemon, standin: StandinProcess) -> None:
    standin.script("endless delay=0.005")
    client = WatchedOpenAI(agentwatch_session_budget_usd=1.0)
    seen = 0
    with pytest.raises(AgentSessionKilled):  # noqa: PT012
        for _ in client.chat.completions.create(**chat(stream=True)):
            seen += 1
            if seen == 3:
                beside.call("POST", f"/v1/sessions/{client.agentwatch_session.id}/kill")
    wait_until(lambda: standin.bill()["in_flight"] == 0)


def test_a_stream_that_nobody_reads_to_its_end_is_kept_as_free(
    alone: Path, standin: StandinProcess
) -> None:
    client = WatchedOpenAI(api_key=standin.key, base_url=standin.url)
    with client.chat.completions.create(**chat("tokens=50", stream=True)) as stream:
        next(iter(stream))
    (file,) = (alone / "spool").iterdir()
    assert '"seen"' in file.read_text()


def test_each_library_gets_a_stream_that_it_does_not_take() -> None:
    made = stream_class(httpx, Ending)([b"data: {}\n\n"], agentwatch.session(1.0))
    assert isinstance(made, httpx.SyncByteStream)
    assert list(made) == [b"data: {}\n\n"]
