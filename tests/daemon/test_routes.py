"""The table of routes: every path leads to one row or to none, whatever its spelling."""

from __future__ import annotations

import re

import pytest

from agentwatch.daemon.routes import ID, Table, row
from agentwatch.errors import Refusal


async def nothing(asked: object) -> dict[str, object]:
    return {}


ROUTES = Table(
    (
        row("GET", r"/v1/healthz", nothing),
        row("GET", r"/v1/sessions", nothing),
        row("POST", r"/v1/sessions", nothing),
        row("GET", rf"/v1/sessions/{ID}", nothing),
        row("POST", rf"/v1/sessions/{ID}/(?P<verb>kill|pause)", nothing),
    )
)


def refused(method: str, path: str) -> int | None:
    with pytest.raises(Refusal) as refusal:
        ROUTES.find(method, path)
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


def test_a_row_tells_what_its_path_names() -> None:
    route, names = ROUTES.find("POST", "/v1/sessions/ci-run:1.2/kill")
    assert names == {"id": "ci-run:1.2", "verb": "kill"}
    assert re.fullmatch(route.path, "/v1/sessions/a/pause")


def test_a_pattern_is_no_path() -> None:
    assert refused("GET", rf"/v1/sessions/{ID}") == 404
