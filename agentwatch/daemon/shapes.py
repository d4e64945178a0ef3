"""The JSON that the people's door gives out: sessions, budgets, status (contract.md, Shapes)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from agentwatch.core.accounts import Account, Session, month_account
from agentwatch.core.ledger import Ledger
from agentwatch.core.money import to_usd

SCHEMA_VERSION = 1

#: sessions that are put into a listing before others get their turn
SHAPED_AT_ONCE = 200


#: a session's last alerts, as they are shown
Alerts = Callable[[str], list[dict[str, Any]]]


def session_shape(session: Session, at: float, alerts: Alerts | None = None) -> dict[str, Any]:
    """A session as everybody sees it at `at`; its tokens are not in it."""
    return {
        "session_id": session.name,
        "state": session.state_at(at),
        "mode": session.mode,
        "parent": session.parents[0].removeprefix("session:") if session.parents else None,
        "project": session.project,
        "team": session.team,
        "on_anomaly": session.on_anomaly,
        "budget_usd": _usd(session.ceiling),
        **_money(session),
        "iterations": session.iterations,
        "input_tokens": session.input_tokens,
        "output_tokens": session.output_tokens,
        "prompt_tokens_window": list(session.prompt_tokens_window),
        "models": list(session.by_model),
        "by_model": {
            model: {
                "calls": totals.calls,
                "input_tokens": totals.input_tokens,
                "output_tokens": totals.output_tokens,
                "cost_usd": to_usd(totals.nanos),
            }
            for model, totals in session.by_model.items()
        },
        "refusals": session.refusals,
        "estimated": session.estimated,
        "longest_call_s": round(session.longest_call_s, 3),
        "fail_open": dict(session.passes),
        "risks": dict(session.risks),
        "alerts": [] if alerts is None else alerts(session.name),
        "opened_at": session.opened_at,
        "last_call_at": session.last_call_at,
        "expires_at": session.expires_at,
    }


async def sessions_shape(ledger: Ledger, at: float, alerts: Alerts) -> list[dict[str, Any]]:
    """Every session, the newest last. Others get their turn in between: there may be thousands."""
    found = sorted(ledger.sessions.values(), key=lambda each: each.opened_at)
    shaped = []
    for number, session in enumerate(found, 1):
        shaped.append(session_shape(session, at, alerts))
        if number % SHAPED_AT_ONCE == 0:
            await asyncio.sleep(0)
    return shaped


def budgets_shape(ledger: Ledger, at: float) -> list[dict[str, Any]]:
    """Every budget above the session that was set or charged, in this month (UTC)."""
    names = dict.fromkeys(ledger.monthly)
    names.update(
        (account.id.rpartition("@")[0], None)
        for account in ledger.accounts.values()
        if "@" in account.id and not isinstance(account, Session)
    )
    return [budget_shape(ledger, name, at) for name in sorted(names)]


def budget_shape(ledger: Ledger, name: str, at: float) -> dict[str, Any]:
    """One budget in this month."""
    month = month_account(name, at)
    account = ledger.account(month)
    return {
        "name": name,
        "month": month.rpartition("@")[2],
        "monthly_usd": _usd(account.ceiling),
        **_money(account),
    }


def _money(account: Account) -> dict[str, float | None]:
    free = account.free
    return {
        "settled_usd": to_usd(account.settled),
        "held_usd": to_usd(account.held),
        "remaining_usd": None if free is None else to_usd(max(0, free)),
        "overdraft_usd": to_usd(account.overdraft),
    }


def _usd(nanos: int | None) -> float | None:
    return None if nanos is None else to_usd(nanos)
