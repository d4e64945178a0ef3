"""Headers on their way to a provider and back; the wire itself is in tests/e2e."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from agentwatch.daemon.upstream import _proxy_for, _request_headers, _with_credential


def sent(*headers: tuple[str, str]) -> list[tuple[str, str]]:
    return list(_request_headers(CIMultiDict(headers)).items())


OURS = [("Accept-Encoding", "identity")]


def test_what_is_named_in_connection_is_of_this_hop_alone() -> None:
    named = [("Connection", "X-A"), ("connection", "close, x-b")]
    assert sent(*named, ("X-A", "1"), ("X-B", "1"), ("X-C", "1")) == [("X-C", "1"), *OURS]


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "X-API-Key",
        "Api-Key",
        "x-goog-api-key",
        "COOKIE",
        "Proxy-Authorization",
        "x-agentwatch-session-id",
        "X-AgentWatch-Anything",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Content-Encoding",
        "Expect",
        "Upgrade",
        "Via",
        "Forwarded",
        "X-Forwarded-Host",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-Method-Override",
        "X-Host",
        "X-Goog-FieldMask",
    ],
)
def test_no_credential_and_no_way_to_another_host_goes_along(name: str) -> None:
    assert sent((name, "x"), (name, "y")) == OURS


def test_the_rest_goes_along_in_its_order_twice_where_it_came_twice() -> None:
    rest = [("X-B", "1"), ("User-Agent", "a"), ("X-A", "2"), ("X-B", "3"), ("Idempotency-Key", "i")]
    assert sent(*rest) == [*rest, *OURS]


@pytest.mark.parametrize(
    ("credential", "path", "headers"),
    [
        (("Authorization", "Bearer k"), "/a?b=c", [("Authorization", "Bearer k")]),
        (("?key", "a/b&c=d"), "/a?b=c", []),
        (("?key", "k"), "/a", []),
    ],
)
def test_a_key_goes_into_another_slot_than_the_clients(
    credential: tuple[str, str], path: str, headers: list[tuple[str, str]]
) -> None:
    target, told = _with_credential(path, CIMultiDict(), credential)
    assert list(told.items()) == headers
    query = {"/a?b=c": "/a?b=c&key=a%2Fb%26c%3Dd", "/a": "/a?key=k"}[path]
    assert target == (path if headers else query)


def test_this_machine_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:1")
    monkeypatch.setenv("https_proxy", "http://proxy.example:1")
    monkeypatch.setenv("no_proxy", "inside.example")
    for address in ("http://127.0.0.1:1/v1", "http://localhost/v1", "https://inside.example/v1"):
        assert _proxy_for(address) is None
    assert _proxy_for("https://api.openai.com/v1") == "http://proxy.example:1"
