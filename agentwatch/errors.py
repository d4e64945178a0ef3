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
└── Refusal                    a call that is not let through; has a reason of the contract
"""

from __future__ import annotations


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


class Refusal(AgentWatchError):
    """A call that is not let through.

    `reason` is one of the contract's (`agent_budget_exceeded`, `path_not_governed`, …);
    `status` overrides the HTTP status that the reason has on this provider's wire
    (413 and 415 are both `bad_request`).
    """

    def __init__(self, reason: str, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.status = status
