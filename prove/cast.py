"""Who is in a simulated world: sessions of each kind, budgets above them, requests of each kind.

Money is small on purpose: with ceilings of a few hundred nanos and calls of a few dozen, every
world meets its ceilings to the nano, again and again.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import cache
from typing import Any

from agentwatch.core.admission import Policy
from agentwatch.core.estimate import Quote
from agentwatch.core.money import TOKENS_PER_RATE

POLICIES = (
    Policy(useful_output_tokens=40, min_output_tokens=5),
    Policy(useful_output_tokens=40, min_output_tokens=5, clamp=False),
)

#: session id -> its terms; `loose` has no ceiling of its own, `over` and `watched` may pass theirs
SESSIONS: dict[str, dict[str, Any]] = {
    "a": {"ceiling": 300, "project": "p"},
    "b": {"ceiling": 500, "project": "p", "team": "t"},
    "c": {"ceiling": 120, "team": "t"},
    "alone": {"ceiling": 200},
    "loose": {"project": "p"},
    "over": {"ceiling": 200, "mode": "soft"},
    "watched": {"ceiling": 100, "mode": "observe", "team": "t"},
    "short": {"ceiling": 400, "ttl_s": 20 * 86_400.0},
    # parts of sessions, and parts of parts
    "part": {"parent": "b", "ceiling": 250},
    "deep": {"parent": "part", "ceiling": 150},
    "wide": {"parent": "b"},
    "bit": {"parent": "over", "ceiling": 120},
}
#: parts that are opened later
LATER: dict[str, dict[str, Any]] = {
    "new": {"parent": "part", "ceiling": 100},
    "newer": {"parent": "deep", "mode": "soft", "ceiling": 60},
}
BUDGETS = {"project:p": 700, "team:t": 450}

_TERMS = {**SESSIONS, **LATER}


def _lineage(name: str) -> tuple[str, ...]:
    parent = _TERMS[name].get("parent")
    return (name,) if parent is None else (name, *_lineage(parent))


#: a session, what it is a part of, what that is a part of …
LINEAGE = {name: _lineage(name) for name in _TERMS}


@cache
def charged_in(month: str) -> dict[str, tuple[str, ...]]:
    """The accounts that each session's calls are to be charged to in a month: itself, all that it
    is a part of, and their budgets."""
    found = {}
    for name, line in LINEAGE.items():
        terms = _TERMS[line[-1]]
        budgets = [f"{kind}:{terms[kind]}@{month}" for kind in ("project", "team") if kind in terms]
        found[name] = (*(f"session:{each}" for each in line), *budgets)
    return found


def month_of(at: float) -> str:
    """The UTC month of a moment."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m")


def _quotes() -> tuple[Quote, ...]:
    lots = random.Random(7)  # a seed is to be played again
    made = []
    for number in range(64):
        asked = lots.choice([None, 0, 1, 4, 5, 10, 30, 39, 40, 41, 90, 400])
        most = asked if asked is not None or number % 3 else 200
        fixed = lots.choice([0, 1, 5, 20, 60, 119, 120, 121, 400]) * TOKENS_PER_RATE
        price = lots.choice([0, 1, 1, 1, 2, 3]) * TOKENS_PER_RATE - lots.choice([0, 0, 1])
        made.append(Quote(fixed=fixed, per_token=max(0, price), asked=asked, most=most))
    return tuple(made)


QUOTES = _quotes()
#: a clock that runs, jumps over a month's end, or is put back
DAY_S = 86_400.0
JUMPS_S = (0.0, 0.001, 1.0, 60.0, 3_600.0, 20 * DAY_S, -0.001, -3_600.0, -20 * DAY_S)
EPOCH = 1_768_000_000.0
