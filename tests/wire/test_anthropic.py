"""Anthropic's paths, and its errors."""

from __future__ import annotations

import json

import pytest

from agentwatch.errors import Refusal
from agentwatch.wire.anthropic import Anthropic
from agentwatch.wire.anthropic_messages import MessageBody, MessageStream
from agentwatch.wire.openai_chat import ChatBody, ChatStream

DIALECT = Anthropic()
MODEL = "claude-sonnet-5"
BODY = json.dumps(
    {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
).encode()


@pytest.mark.parametrize("path", ["/messages", "/v1/messages", "/v1/v1/messages"])
@pytest.mark.parametrize("query", ["", "beta=true"])
def test_who_adds_the_version_and_who_asks_for_the_beta(path: str, query: str) -> None:
    ask, request = DIALECT.read("POST", path, query, {}, BODY)
    assert ask.upstream_path == "/v1/messages" + ("?beta=true" if query else "")
    assert (ask.model, ask.output_limit, ask.free) == (MODEL, 9, False)
    assert isinstance(request.meter(True), MessageStream)
    assert isinstance(request.meter(False), MessageBody)


@pytest.mark.parametrize(
    ("method", "path", "query", "way_out"),
    [
        ("POST", "/v1/messages/count_tokens", "", "/v1/messages/count_tokens"),
        ("POST", "/messages/count_tokens", "beta=true", "/v1/messages/count_tokens?beta=true"),
        ("GET", "/v1/models", "", "/v1/models"),
        ("GET", "/v1/models", "limit=20&after_id=m_1", "/v1/models?limit=20&after_id=m_1"),
        ("GET", "/models/claude-sonnet-5", "", "/v1/models/claude-sonnet-5"),
    ],
)
def test_what_is_free_is_let_through_without_a_hold(
    method: str, path: str, query: str, way_out: str
) -> None:
    ask, request = DIALECT.read(method, path, query, {}, BODY if method == "POST" else b"")
    assert ask.free
    assert ask.upstream_path == way_out
    assert json.loads(request.body() or b"{}") == (json.loads(BODY) if method == "POST" else {})


def test_the_openai_compatible_path_is_openais_chat() -> None:
    spoken = DIALECT.at("/chat/completions")
    assert spoken is DIALECT.at("/v1/chat/completions") is not DIALECT.at("/v1/messages")
    ask, request = spoken.read("POST", "/v1/chat/completions", "", {}, BODY)
    assert (ask.provider, ask.api, ask.upstream_path) == (
        "anthropic",
        "chat",
        "/v1/chat/completions",
    )
    assert isinstance(request.meter(True), ChatStream)
    assert isinstance(request.meter(False), ChatBody)
    status, refusal = spoken.refusal("agent_budget_exceeded", "no")
    assert (status, json.loads(refusal)["error"]["code"]) == (400, "agent_budget_exceeded")
    assert spoken.stream_error("chat", "session_killed", "killed").startswith(b"data: {")


#: every other path of the published API (anthropic 2.14, resources/)
NOT_GOVERNED = [
    *("POST /v1/complete", "POST /v1/messages/batches", "GET /v1/messages/batches"),
    *("GET /v1/messages/batches/b_1/results", "POST /v1/messages/batches/b_1/cancel"),
    *("POST /v1/files", "GET /v1/files", "GET /v1/files/f_1/content", "DELETE /v1/files/f_1"),
    *("POST /v1/skills", "POST /v1/skills/s_1/versions", "POST /v1/sessions"),
    *("POST /v1/sessions/s_1/events", "POST /v1/environments", "POST /v1/agents"),
    *("POST /v1/deployments", "POST /v1/dreams", "POST /v1/vaults", "POST /v1/memory_stores"),
    *("POST /v1/user_profiles", "POST /v1/user_profiles/u_1/enrollment_url", "GET /v1/webhooks"),
    *("GET /v1/organizations/me", "POST /v1/organizations/api_keys", "POST /v1/oauth/token"),
    *("POST /v1/tunnels", "GET /v1/messages", "PUT /v1/messages", "POST /v1/models"),
    *("POST /v2/messages", "POST /v1/messages/", "POST /v1//messages", "POST /v1/../v1/messages"),
    *("POST /v1/messages%2Fcount_tokens", "POST /V1/messages", "GET /v1/models/..", "POST /"),
]


@pytest.mark.parametrize("asked", NOT_GOVERNED)
def test_a_path_that_is_not_priced_is_let_through(asked: str) -> None:
    method, path = asked.split()
    with pytest.raises(Refusal) as refused:
        DIALECT.read(method, path, "", {}, BODY)
    assert refused.value.reason == "path_not_governed"


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/messages", "beta=false"),
        ("/v1/messages", "beta=true&x=1"),
        ("/v1/chat/completions", "beta=true"),
    ],
)
def test_a_query_that_is_not_known_is_let_through(path: str, query: str) -> None:
    with pytest.raises(Refusal) as refused:
        DIALECT.at(path).read("POST", path, query, {}, BODY)
    assert refused.value.reason == "path_not_governed"


@pytest.mark.parametrize(
    ("reason", "status", "kind"),
    [
        ("agent_budget_exceeded", 402, "billing_error"),
        ("session_killed", 403, "permission_error"),
        ("session_paused", 403, "permission_error"),
        ("session_closed", 403, "permission_error"),
        ("path_not_governed", 403, "permission_error"),
        ("model_not_priced", 403, "permission_error"),
        ("session_mismatch", 403, "permission_error"),
        ("unknown_credential", 401, "authentication_error"),
        ("bad_request", 400, "invalid_request_error"),
        ("governance_unavailable", 503, "api_error"),
        ("websocket_not_governed", 426, "invalid_request_error"),
    ],
)
def test_a_refusal_has_anthropics_shape_and_our_reason(reason: str, status: int, kind: str) -> None:
    told, body = DIALECT.refusal(reason, "no")
    assert told == status
    assert json.loads(body) == {
        "type": "error",
        "error": {"type": kind, "message": "no", "code": reason},
    }


def test_a_status_that_is_given_counts() -> None:
    status, body = DIALECT.refusal("bad_request", "too large", 413)
    assert (status, json.loads(body)["error"]["type"]) == (413, "request_too_large")


def test_a_stream_ends_in_the_event_that_its_sdk_raises_on() -> None:
    told = DIALECT.stream_error("messages", "session_killed", "killed")
    name, data = told.decode().splitlines()[:2]
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"]["code"] == "session_killed"
