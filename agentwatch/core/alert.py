"""What people are told when a session's calls look wrong: kinds, severities, actions, the Alert.

An alert holds figures and names, and never a word of a prompt or an answer.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

INFO, WARNING = "info", "warning"
SEVERITIES = (INFO, WARNING)

#: from the mildest to the strongest
ALERT, PAUSE, KILL = "alert", "pause", "kill"
ACTIONS = (ALERT, PAUSE, KILL)

PROMPT_GROWTH = "prompt_growth"
REPEATED_REQUEST = "repeated_request"
REPEATED_TOOL_CALL = "repeated_tool_call"
CYCLE = "cycle"
STALE_ANSWERS = "stale_answers"
SAME_ERROR = "same_error"
FAILING_CALLS = "failing_calls"
BURN_RATE = "burn_rate"
BURST = "burst"
FAN_OUT = "fan_out"

#: Kinds by what they are signs of. A loop shows in several ways at once: while one of a family is
#: open, another of it is told only where it asks for a stronger action.
FAMILIES = {
    "growth": (PROMPT_GROWTH,),
    "loop": (
        REPEATED_REQUEST,
        REPEATED_TOOL_CALL,
        CYCLE,
        STALE_ANSWERS,
        SAME_ERROR,
        FAILING_CALLS,
    ),
    "pace": (BURN_RATE, BURST, FAN_OUT),
}
#: what the ledger itself wants known: a call that cost more than was held, calls that passed
#: without a durable hold
OVERDRAFT = "overdraft"
UNDURABLE = "undurable"

KINDS = tuple(kind for kinds in FAMILIES.values() for kind in kinds)
FAMILY_OF = {kind: family for family, kinds in FAMILIES.items() for kind in kinds}


class Alert(Struct, frozen=True, kw_only=True):
    """One event of one session, from its start; the contract's shape, and what came of it.

    `action` is what was done about it: alert, pause or kill. `ended_at` is when its cause was
    seen to have ended, `acked_at` when somebody said that he has seen it; None: not yet.
    """

    id: str
    at: float
    session_id: str
    kind: str
    severity: str
    message: str
    evidence: dict[str, Any] = {}
    action: str = ALERT
    ended_at: float | None = None
    acked_at: float | None = None


def stronger(first: str, second: str) -> str:
    """The stronger of two actions."""
    return max(first, second, key=ACTIONS.index)
