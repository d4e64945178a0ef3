"""What a refused agent, and the person behind it, is told: what happened, and what to do next."""

from __future__ import annotations

from agentwatch.core.accounts import Session
from agentwatch.core.admission import Refused
from agentwatch.core.ledger import Ledger
from agentwatch.core.money import usd_text


def exceeded(ledger: Ledger, session: Session, verdict: Refused) -> str:
    """Why there is no money: the sum, and the command that raises the ceiling."""
    account = ledger.account(verdict.account)
    ceiling = account.ceiling or 0
    total = account.settled + account.held + verdict.nanos
    whose = f"session {session.name}" if account is session else _budget(verdict.account)
    if total <= ceiling:
        return (
            f"AgentWatch: the budget of {whose} can't bound this call: it sets no output limit, "
            "its model has none that is known, and clamp = false forbids to put one in. To go on: "
            "set max_tokens in the request"
        )
    return (
        f"AgentWatch: the budget of {whose} does not allow this call: "
        f"spent ${usd_text(account.settled)} + held ${usd_text(account.held)} "
        f"+ asked ${usd_text(verdict.nanos)} = ${usd_text(total)} > ceiling ${usd_text(ceiling)}. "
        f"To go on: {_remedy(session, verdict.account)}"
    )


def standing(ledger: Ledger, verdict: Refused) -> tuple[int, int]:
    """What is spent of which ceiling, in nanos, of the account that has no money."""
    account = ledger.account(verdict.account)
    return account.settled, account.ceiling or 0


def barred(session: Session, state: str, why: str = "") -> str:
    """Why a session's state (killed, paused or closed) lets nothing through. `why`: what it was
    done for, where the daemon did it itself."""
    remedy = {
        "killed": "a killed session stays so: open a new one",
        "paused": f"to go on: agentwatch sessions resume {session.name}",
        "closed": "to go on, open a new one",
    }[state]
    spent = f"spent ${usd_text(session.settled)}"
    cause = f"{why}; " if why else ""
    return f"AgentWatch: session {session.name} was {state} ({cause}{spent}); {remedy}"


def cut(session: Session) -> str:
    """Why a stream was ended before its time."""
    return (
        f"AgentWatch: the budget of session {session.name} was used up during this answer: "
        f"spent ${usd_text(session.settled)} of ${usd_text(session.ceiling or 0)}. "
        f"To go on: agentwatch sessions budget {session.name} USD"
    )


def stopping() -> str:
    """Why a call was ended by the daemon's own end."""
    return "AgentWatch: the daemon is stopping, and ended this call; ask again in a moment"


def unavailable(error: Exception) -> str:
    """Why nothing can be let through."""
    return f"AgentWatch: the ledger can't be written, and this session fails closed: {error}"


def no_provider_key(provider: str) -> str:
    """There is nothing to reach the provider with."""
    return (
        f"AgentWatch has no key for {provider}: give it one with `agentwatch keys set {provider}`"
    )


def _budget(account_id: str) -> str:
    name, _, month = account_id.rpartition("@")
    return f"{name} in {month}"


def _remedy(session: Session, account_id: str) -> str:
    if account_id == session.id:
        return f"agentwatch sessions budget {session.name} USD"
    return f"agentwatch budgets set {account_id.rpartition('@')[0]} --monthly USD"
