"""What a refused agent, and the person behind it, is told: what happened, and what to do next."""

from __future__ import annotations

from agentwatch.core.accounts import Account, Session
from agentwatch.core.admission import Refused
from agentwatch.core.ledger import Ledger
from agentwatch.core.money import usd_text
from agentwatch.errors import Standing


def exceeded(ledger: Ledger, verdict: Refused) -> str:
    """Why there is no money: the sum, and the command that raises the ceiling."""
    account = ledger.account(verdict.account)
    ceiling = account.ceiling or 0
    total = account.settled + account.held + verdict.nanos
    whose = _whose(account)
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
        f"To go on: {_remedy(account)}"
    )


def standing(ledger: Ledger, verdict: Refused) -> Standing:
    """The account that has no money, and what it has spent of which ceiling."""
    account = ledger.account(verdict.account)
    return Standing(account.id, account.settled, account.ceiling or 0)


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


def cut(account: Account) -> str:
    """Why a stream was ended before its time. The SDK reads the amounts out of it
    (agentwatch.sdk.denial), as an event of the provider's has no other place for them."""
    return (
        f"AgentWatch: the budget of {_whose(account)} was used up during this answer: "
        f"spent ${usd_text(account.settled)} of ${usd_text(account.ceiling or 0)}. "
        f"To go on: {_remedy(account)}"
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


def _whose(account: Account) -> str:
    if isinstance(account, Session):
        return f"session {account.name}"
    name, _, month = account.id.rpartition("@")
    return f"{name} in {month}"


def _remedy(account: Account) -> str:
    if isinstance(account, Session):
        return f"agentwatch sessions budget {account.name} USD"
    return f"agentwatch budgets set {account.id.rpartition('@')[0]} --monthly USD"
