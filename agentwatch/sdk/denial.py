"""A call that is not let through: as the provider's kind of answer, and as a typed error.

A transport never raises ours: some SDKs take whatever a transport raises for a lost connection, and
ask again. A refusal travels as an answer that no SDK asks again on, and the watched client makes
our error of it where it would have made its own. A stream that was ended half way tells so in its
last event; there nothing asks again, and the error is raised at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from agentwatch.errors import (
    AgentBudgetCheckUnavailable,
    AgentBudgetExceeded,
    AgentSessionKilled,
    CallDenied,
)

EXCEEDED, KILLED, UNAVAILABLE = "agent_budget_exceeded", "session_killed", "governance_unavailable"
#: what is still true when the daemon is away
LASTING = frozenset({EXCEEDED, KILLED})
_REASONS = (EXCEEDED, KILLED, UNAVAILABLE)
#: what such an event says of money (agentwatch.daemon.words.cut)
_CUT = re.compile(
    r"the budget of (?:session (?P<session>\S+)|.+?) was used up during this answer: "
    r"spent \$(?P<spent>[0-9.]*[0-9]) of \$(?P<limit>[0-9.]*[0-9])\."
)
#: the longest last event that is looked for
_LONGEST_EVENT = 65_536


class Denial(NamedTuple):
    """Why a call is not let through. Amounts in USD."""

    reason: str
    message: str
    #: the session that refused: with its amounts that of the ceiling that was too low
    session_id: str
    spent: float = 0.0
    limit: float = 0.0
    #: the provider's own refusal, as the daemon wrote it: status and body
    status: int = 400
    body: bytes = b""

    def error(self) -> CallDenied | None:
        """Our error; None where the provider's own says it as well (a path, a model, a pause)."""
        if self.reason == EXCEEDED:
            return AgentBudgetExceeded(self.session_id, self.spent, self.limit, self.message)
        if self.reason == KILLED:
            return AgentSessionKilled(self.session_id, self.message)
        if self.reason == UNAVAILABLE:
            # as it stands: it is a whole sentence, which the error would put into one of its own
            return AgentBudgetCheckUnavailable(self.session_id, self.message, self.message)
        return None

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the refusal, so that the client knows it for one of ours."""
        return {
            "content-type": "application/json",
            "x-should-retry": "false",
            "x-agentwatch-denied": self.reason,
            "x-agentwatch-session-id": self.session_id,
            "x-agentwatch-spent-usd": repr(self.spent),
            "x-agentwatch-limit-usd": repr(self.limit),
        }

    @property
    def content(self) -> bytes:
        """The refusal's body, in a shape that every provider's SDK finds its message in."""
        told = {"message": self.message, "type": "invalid_request_error", "code": self.reason}
        return self.body or json.dumps({"type": "error", "error": told}).encode()


def denial_of(status: int, headers: Mapping[str, str], body: object) -> Denial | None:
    """What the daemon's answer refuses; None where it is no refusal. `body` is read or not."""
    reason = headers.get("x-agentwatch-denied")
    if reason is None:
        return None
    raw = body if isinstance(body, bytes) else b""
    return Denial(
        reason,
        _message(_read(raw) if raw else body) or f"AgentWatch refused the call ({reason})",
        whose(headers.get("x-agentwatch-account"), headers.get("x-agentwatch-session-id", "")),
        _number(headers.get("x-agentwatch-spent-usd")),
        _number(headers.get("x-agentwatch-limit-usd")),
        status,
        raw,
    )


def whose(account: str | None, session_id: str) -> str:
    """The session whose ceiling refused a call of `session_id`: that one itself where it was a
    month's, or nobody's."""
    kind, _, name = (account or "").partition(":")
    return name if kind == "session" else session_id


def cut(reason: str, message: str, session_id: str) -> Denial:
    """The denial that ended a stream of `session_id` half way, by the daemon's words for it."""
    found = _CUT.search(message) if reason == EXCEEDED else None
    if found is None:
        return Denial(reason, message, session_id)
    spent, limit = _number(found["spent"]), _number(found["limit"])
    return Denial(reason, message, found["session"] or session_id, spent, limit)


class LastEvent:
    """Looks through a stream for the event by which the daemon ends it."""

    def __init__(self) -> None:
        self._line = b""

    def feed(self, chunk: bytes) -> tuple[bytes, str, str] | None:
        """None: go on. Else what of the chunk was before the end, the reason and its message."""
        *whole, rest = (self._line + chunk).split(b"\n")
        seen = len(self._line)
        at = -seen
        for line in whole:
            if (found := _ending(line)) is not None:
                return chunk[: max(0, at)], *found
            at += len(line) + 1
        self._line = rest[-_LONGEST_EVENT:]
        return None


def _ending(line: bytes) -> tuple[str, str] | None:
    if not line.startswith(b"data:") or b"AgentWatch: " not in line:
        return None
    told = _read(line[5:])
    error = told.get("error") if isinstance(told, dict) else None
    message = _message(told)
    if not isinstance(error, dict) or message is None or not message.startswith("AgentWatch: "):
        return None
    text = json.dumps(told)
    reason = next((each for each in _REASONS if json.dumps(each) in text), None)
    return None if reason is None else (reason, message)


def _message(told: object) -> str | None:
    error = told.get("error", told) if isinstance(told, dict) else None
    found = error.get("message") if isinstance(error, dict) else None
    return found if isinstance(found, str) else None


def _read(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _number(text: str | None) -> float:
    try:
        return float(text or 0.0)
    except ValueError:
        return 0.0
