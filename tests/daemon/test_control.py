"""The control path's table as a whole: what changes nothing, what the port and a wrapped process
may call."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from workbench import bench, settings

from agentwatch.daemon.control import Control
from agentwatch.daemon.courier import Courier
from agentwatch.daemon.keys import Keys
from agentwatch.daemon.routes import Route
from agentwatch.daemon.tasks import Tasks


@pytest.fixture
async def routes(tmp_path) -> AsyncIterator[tuple[Route, ...]]:
    async with bench() as made:
        keys = Keys(tmp_path / "keys.toml", {}, None)
        courier = Courier(made.governor.watch.alerts, [], made.store.now)
        yield Control(
            made.governor, keys, settings(), dict, lambda: None, courier, {}, Tasks()
        ).routes.rows


def test_nothing_that_changes_anything_is_done_by_get(routes: tuple[Route, ...]) -> None:
    for route in routes:
        changes = route.do.__name__ in {
            "restart",
            "open_session",
            "set_budget",
            "change_state",
            "close_session",
            "set_monthly",
            "hold",
            "end_hold",
            "acknowledge",
            "test",
            "ingest",
            "purge",
        }
        assert changes == (route.method != "GET"), route.path.pattern


def test_what_needs_no_authority_is_all_that_the_port_serves(
    routes: tuple[Route, ...],
) -> None:
    served = {route.do.__name__: route.anybody for route in routes if route.port}
    assert served == {"healthz": True, "budget_check": False, "ingest": False}


def test_from_inside_it_is_its_own_session_or_nothing_secret(
    routes: tuple[Route, ...],
) -> None:
    allowed = {route.do.__name__ for route in routes if route.inside}
    own = {"open_session", "session", "set_budget", "events", "budget_check"}
    own.add("close_session")  # of a part of it
    assert allowed == own | {"healthz", "status", "metrics"}
