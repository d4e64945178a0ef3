"""Budgets above sessions, and holds for calls that are made elsewhere, on the control path."""

from __future__ import annotations

from agentwatch.daemon.fields import check_fields, money
from agentwatch.daemon.preflight import Preflight
from agentwatch.daemon.routes import Answer, Asked, Route, in_force, row
from agentwatch.daemon.shapes import budget_shape, budgets_shape
from agentwatch.errors import UsageError
from agentwatch.store.store import Store


class BudgetCalls:
    """The rows below /v1/budgets and /v1/holds, and the budget check."""

    def __init__(self, store: Store, preflight: Preflight) -> None:
        self._store = store
        self._preflight = preflight

    def routes(self) -> tuple[Route, ...]:
        """The rows of this part."""
        hold = r"/v1/holds/(?P<hold>[A-Za-z0-9]{1,64})/(?P<verb>settle|void)"
        return (
            row("GET", r"/v1/budget-check", self.budget_check, inside=True, port=True),
            row("POST", r"/v1/holds", self.hold),
            row("POST", hold, self.end_hold),
            row("GET", r"/v1/budgets", self.budgets),
            row("PUT", r"/v1/budgets/(?P<budget>[^?#\\]{1,200})", self.set_monthly),
        )

    async def budgets(self, asked: Asked) -> Answer:
        """The monthly budgets of projects and teams."""
        return {"budgets": budgets_shape(self._store.ledger, self._store.now())}

    async def set_monthly(self, asked: Asked) -> Answer:
        """Set, or with null take away, a monthly ceiling."""
        check_fields(asked.body, ("monthly_usd",))
        if "monthly_usd" not in asked.body:
            raise UsageError("monthly_usd is missing")
        name = asked.names["budget"]
        await in_force(self._store.set_ceiling(name, money(asked.body, "monthly_usd")))
        return budget_shape(self._store.ledger, name, self._store.now())

    def budget_check(self, asked: Asked) -> Answer:
        """How a session stands to its ceiling; changes nothing."""
        return self._preflight.check(asked.query, asked.inside)

    async def hold(self, asked: Asked) -> Answer:
        """Set money aside for a call."""
        return await self._preflight.hold(asked.body)

    async def end_hold(self, asked: Asked) -> Answer:
        """Settle it, or give it back."""
        return await self._preflight.end(asked.names["hold"], asked.names["verb"], asked.body)
