"""A thread that follows a session's events while its command runs, so that a kill is noticed at
once, the daemon's restarts notwithstanding."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from agentwatch.errors import AgentWatchError
from agentwatch_cli.client import Control, session_path
from agentwatch_cli.run_process import Verdict

BUDGET_REASON = "agent_budget_exceeded"
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0


class Watch(threading.Thread):
    """Follows one session; calls `on_verdict` when its command has to end."""

    def __init__(
        self,
        control: Control,
        session_id: str,
        on_verdict: Callable[[Verdict], None],
        *,
        kill_on_exceeded: bool,
    ) -> None:
        super().__init__(name="agentwatch-events", daemon=True)
        self._control = control
        self._session_id = session_id
        self._on_verdict = on_verdict
        self._kill_on_exceeded = kill_on_exceeded
        self._done = threading.Event()
        #: a call was refused because the money was spent
        self.exceeded = False

    def run(self) -> None:
        """Follow until told to stop; reconnect with growing pauses."""
        pause_s = _FIRST_PAUSE_S
        while not self._done.is_set():
            try:
                self._follow()
                pause_s = _FIRST_PAUSE_S
            except AgentWatchError:
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            self._done.wait(pause_s)

    def stop(self) -> None:
        """No more verdicts."""
        self._done.set()

    def _follow(self) -> None:
        path = session_path(self._session_id, "events") + "?follow=1"
        with self._control.events(path) as events:
            # asked after the stream stands: nothing can fall between the two
            self._judge_state(self._control.request("GET", session_path(self._session_id)))
            for event in events:
                self.take(event)

    def take(self, event: Mapping[str, Any]) -> None:
        """Judge one event."""
        if event.get("kind") == "state":
            self._judge_state(event)
        elif event.get("kind") == "refusal" and event.get("reason") == BUDGET_REASON:
            self._exceeded()

    def _judge_state(self, told: Mapping[str, Any]) -> None:
        if told.get("state") == "killed":
            self._say("killed")
        elif told.get("state") == "exhausted":
            self._exceeded()

    def _exceeded(self) -> None:
        self.exceeded = True
        if self._kill_on_exceeded:
            self._say("exceeded")

    def _say(self, verdict: Verdict) -> None:
        if not self._done.is_set():
            self._on_verdict(verdict)
