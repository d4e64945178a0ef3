"""What the ledger keeps: accounts, sessions (accounts with a story), holds and how they ended."""

from __future__ import annotations

import time
from functools import lru_cache

from msgspec import Struct, field

from agentwatch.core.prompt_sizes import ByLane

ACTIVE, PAUSED, EXHAUSTED, KILLED, CLOSED = "active", "paused", "exhausted", "killed", "closed"
STATES = frozenset({ACTIVE, PAUSED, EXHAUSTED, KILLED, CLOSED})
#: states in which nothing is let through, and those of them that no one comes back from
BARRED, ENDED = frozenset({KILLED, PAUSED, CLOSED}), frozenset({KILLED, CLOSED})
#: a session that comes into one of these is compared with nothing that it did before
JUDGED_ANEW = frozenset({ACTIVE, KILLED, CLOSED})
MODES = ("observe", "soft", "enforce")
ANOMALY_ACTIONS = ("alert", "pause", "kill")

#: how many of a session's last prompt sizes are kept
PROMPT_WINDOW = 5
#: models that a session's spending is kept by; what it spends on more is "others" (names can be
#: made up where unknown models have a ceiling price)
MODELS_KEPT = 100
#: sessions that one session may be split into, and how deep
MOST_CHILDREN = 1000
DEEPEST = 8
#: risks that a session's calls are counted by: whoever tells of a call may make up tags
RISKS_KEPT = 64
DAY_S = 86_400
#: tokens of a session that open its door; opening it again drops the oldest
TOKENS_PER_SESSION = 8


class Account(Struct, kw_only=True):
    """A ceiling (or none), what is settled, what is held. All money in nanos."""

    id: str
    ceiling: int | None = None
    settled: int = 0
    held: int = 0
    overdraft: int = 0

    @property
    def free(self) -> int | None:
        """What may still be set aside; None: no ceiling."""
        return None if self.ceiling is None else self.ceiling - self.settled - self.held

    @property
    def room(self) -> int | None:
        """What could be set aside if the open holds came to nothing; None: no ceiling."""
        return None if self.ceiling is None else self.ceiling - self.settled


class ModelTotals(Struct):
    """What a session spent on one model."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    nanos: int = 0


class Session(Account, kw_only=True):
    """The account that a run of an agent is charged to."""

    name: str
    state: str = ACTIVE
    mode: str = "enforce"
    project: str | None = None
    team: str | None = None
    on_anomaly: str = "alert"
    fail_open: bool | None = None
    iterations: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    prompt_tokens_window: list[int] = field(default_factory=list)
    prompt_sizes: ByLane = field(default_factory=dict)
    by_model: dict[str, ModelTotals] = field(default_factory=dict)
    estimated: int = 0
    longest_call_s: float = 0.0
    opened_at: float = 0.0
    expires_at: float | None = None
    last_call_at: float | None = None
    tokens: list[str] = field(default_factory=list)
    #: statistics beside the journal, not folds of it: calls that were refused, calls that
    #: governance did not fully cover, by cause, and calls in which a risk was seen, by its tag
    refusals: int = 0
    passes: dict[str, int] = field(default_factory=dict)
    #: the accounts that this session is a part of, the nearest first: its calls are held there too
    parents: tuple[str, ...] = ()
    #: calls of it came through the daemon: a record of one that was made elsewhere is of those
    proxied: bool = False
    risks: dict[str, int] = field(default_factory=dict)

    def state_at(self, at: float) -> str:
        """The state as it is at `at`: a session whose time is up is closed."""
        is_over = self.expires_at is not None and at >= self.expires_at
        return CLOSED if is_over and self.state != KILLED else self.state


class Hold(Struct, kw_only=True):
    """Money that is set aside for one call that is out."""

    id: str
    session: str
    accounts: tuple[str, ...]
    nanos: int
    iteration: int
    held_at: float
    provider: str = ""
    model: str = ""
    limit: int | None = None
    #: what its prompt is compared with (prompt_sizes.lane_key); empty: nothing
    lane: str = ""


class Outcome(Struct, frozen=True, kw_only=True):
    """How a hold ended: its one terminal entry. `nanos` is 0 where it was voided."""

    hold: str
    session: str
    accounts: tuple[str, ...]
    nanos: int
    basis: str
    iteration: int


def session_account(session_id: str) -> str:
    """The account id of a session."""
    return f"session:{session_id}"


def month_account(budget: str, at: float) -> str:
    """The account of `project:NAME` or `team:NAME` for the UTC month of `at`."""
    return f"{budget}@{_month(int(at // DAY_S))}"


@lru_cache(maxsize=64)
def _month(day: int) -> str:
    moment = time.gmtime(day * DAY_S)
    return f"{moment.tm_year:04d}-{moment.tm_mon:02d}"


def charged_accounts(session: Session, at: float) -> tuple[str, ...]:
    """All accounts that a call of this session is charged to, the session's own first."""
    accounts = [session.id, *session.parents]
    if session.project:
        accounts.append(month_account(f"project:{session.project}", at))
    if session.team:
        accounts.append(month_account(f"team:{session.team}", at))
    return tuple(accounts)
