"""The table of routes: every path leads to one row or to none, whatever its spelling."""

from __future__ import annotations

import pytest

from agentwatch.daemon.control import _ROUTES, _find
from agentwatch.errors import Refusal


def refused(method: str, path: str) -> int | None:
    with pytest.raises(Refusal) as refusal:
        _find(method, path)
    return refusal.value.status


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v1",
        "/v1/",
        "/v1/sessions/",
        "//v1/sessions",
        "/v1//sessions",
        "/V1/sessions",
        "/v1/%73essions",
        "/v1/sessions/a/b",
        "/v1/sessions/../status",
        "/v1/sessions/%2e%2e",
        "/v1/sessions/a\n",
        "/v1/sessions/-a",
        "/v1/sessions/" + "a" * 129,
        "/v1/sessions/\u0660",
        "/v1/holds/p-1/void",
        "http://x/v1/sessions",
        "*",
    ],
)
def test_a_path_that_is_not_in_the_table_is_nowhere(path: str) -> None:
    for method in ("GET", "POST", "PUT", "CONNECT"):
        assert refused(method, path) == 404


def test_another_method_is_told_which_one_it_takes() -> None:
    assert refused("DELETE", "/v1/sessions") == 405
    assert refused("HEAD", "/v1/healthz") == 405
    assert refused("GET", "/v1/sessions/a/kill") == 405


def test_nothing_that_changes_anything_is_done_by_get() -> None:
    for route in _ROUTES:
        changes = route.do.__name__ in {
            "restart",
            "open_session",
            "set_budget",
            "change_state",
            "set_monthly",
            "hold",
            "end_hold",
        }
        assert changes == (route.method != "GET"), route.path.pattern


def test_what_needs_no_authority_is_all_that_the_port_serves() -> None:
    served = {route.do.__name__: route.anybody for route in _ROUTES if route.port}
    assert served == {"healthz": True, "budget_check": False}


def test_from_inside_it_is_its_own_session_or_nothing_secret() -> None:
    allowed = {route.do.__name__ for route in _ROUTES if route.inside}
    own = {"open_session", "session", "set_budget", "events", "budget_check"}
    assert allowed == own | {"healthz", "status"}
