"""Every error that crosses a boundary.

AgentWatchError
├── UsageError                 the caller asked for something that can't be (exit 2)
│   └── SettingsError          a configuration that can't be read, or an unknown key
├── DaemonUnavailable          no daemon answers on the socket (exit 1)
├── AlertsUnavailable          the alerts can't be read or changed at the moment
├── LedgerError
│   ├── UnknownAccount         no such session
│   ├── UnknownHold            no such hold
│   ├── BarredError            the session's state lets no call through
│   ├── JournalDamaged         what the journal says can't be trusted: it was set aside
│   └── JournalUnavailable     the journal can't be written: nothing may be promised
├── Refusal                    a call that is not let through; has a reason of the contract
└── CallDenied                 what the SDK raises in the place of a provider's answer
    ├── AgentBudgetExceeded          the ceiling does not allow the call
    ├── AgentSessionKilled           somebody, or a rule, ended the session
    └── AgentBudgetCheckUnavailable  no daemon answers, and the call may not go without
"""

from __future__ import annotations

from typing import NamedTuple


class AgentWatchError(Exception):
    """Base of all. `exit_code` is what a command ends with."""

    exit_code = 1


class UsageError(AgentWatchError):
    """The caller asked for something that can't be."""

    exit_code = 2


class SettingsError(UsageError):
    """The configuration can't be read, or names a key that does not exist."""


class DaemonUnavailable(AgentWatchError):
    """No daemon answers on the socket."""


class AlertsUnavailable(AgentWatchError):
    """The alerts can't be read or changed at the moment."""


class LedgerError(AgentWatchError):
    """The ledger can't do what it was asked."""


class UnknownAccount(LedgerError):
    """No session has this id."""


class UnknownHold(LedgerError):
    """No hold has this id."""


class BarredError(LedgerError):
    """A session's state lets no call through: killed, paused or closed."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state


class JournalDamaged(LedgerError):
    """What the journal says can't be trusted; it was set aside. `exit_code` is EX_CONFIG: a
    supervisor does not start the daemon again."""

    exit_code = 78


class JournalUnavailable(LedgerError):
    """The journal can't be written: nothing may be promised on it."""


class Standing(NamedTuple):
    """The account that has no money for a call, and what it has spent of which ceiling: nanos."""

    account: str
    spent: int
    limit: int


class Refusal(AgentWatchError):
    """A call that is not let through.

    `reason` is one of the contract's (`agent_budget_exceeded`, `path_not_governed`, …);
    `status` overrides the HTTP status that the reason has on this provider's wire
    (413 and 415 are both `bad_request`); `standing` is whose money was short, where it is for want
    of money.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        status: int | None = None,
        standing: Standing | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.status = status
        self.standing = standing


class CallDenied(AgentWatchError):
    """A call that the SDK did not let through, or a stream that was ended half way."""

    def __init__(self, message: str, *details: object) -> None:
        super().__init__(message)
        self._details = details

    def __reduce__(self) -> tuple[type[CallDenied], tuple[object, ...]]:
        return type(self), (*self._details, str(self))


class AgentBudgetExceeded(CallDenied):
    """The ceiling of the session, project or team-month does not allow the call. Amounts in USD.

    All three are of the session whose ceiling it was: the one that asked, or one that it is a part
    of. Where it was a month's, the amounts are the month's, and the session is the one that asked.
    """

    def __init__(
        self, session_id: str, spent: float, limit: float, message: str | None = None
    ) -> None:
        super().__init__(
            message
            or f"AgentWatch: the budget of session {session_id} is used up: spent ${spent:.4f} of "
            f"${limit:.4f}. To go on: agentwatch sessions budget {session_id} USD",
            session_id,
            spent,
            limit,
        )
        self.session_id = session_id
        self.spent = spent
        self.limit = limit


class AgentSessionKilled(CallDenied):
    """The session was killed: it lets no further call through, whatever its budget."""

    def __init__(self, session_id: str, message: str | None = None) -> None:
        super().__init__(
            message
            or f"AgentWatch: session {session_id} was killed; a killed session stays so: "
            "open a new one",
            session_id,
        )
        self.session_id = session_id


class AgentBudgetCheckUnavailable(CallDenied):
    """No daemon answers, and the call may not go to the provider without one."""

    def __init__(self, session_id: str, reason: str, message: str | None = None) -> None:
        super().__init__(
            message
            or f"AgentWatch: nothing was sent for session {session_id}, as no daemon governs it "
            f"({reason}). Start it with `agentwatch up`, then try again",
            session_id,
            reason,
        )
        self.session_id = session_id
        self.reason = reason
