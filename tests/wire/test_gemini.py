"""Gemini's paths, queries and errors."""

from __future__ import annotations

import json

import pytest

from agentwatch.errors import Refusal
from agentwatch.wire.gemini import Gemini
from agentwatch.wire.gemini_compat import GeminiCompat

BODY = b'{"contents":[]}'
GENERATE = "models/gemini-2.5-flash:generateContent"


def read(path: str, query: str = "", method: str = "POST", body: bytes = BODY) -> str:
    return Gemini().read(method, path, query, {}, body)[0].upstream_path


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (f"/v1/{GENERATE}", f"/v1/{GENERATE}"),
        (f"/v1beta/{GENERATE}", f"/v1beta/{GENERATE}"),
        (f"/v1alpha/{GENERATE}", f"/v1alpha/{GENERATE}"),
        (f"/{GENERATE}", f"/v1beta/{GENERATE}"),
    ],
)
def test_clients_disagree_on_who_adds_the_version(path: str, target: str) -> None:
    assert read(path) == target


#: ai.google.dev/api, all methods: each is priced, free or refused
PRICED = ["generateContent", "streamGenerateContent", "embedContent", "batchEmbedContents"]
FREE = [
    ("POST", "/v1beta/models/gemini-2.5-flash:countTokens"),
    ("GET", "/v1beta/models"),
    ("GET", "/v1/models/gemini-2.5-flash"),
]
REFUSED = [
    ("POST", "/v1beta/models/gemini-2.5-flash:batchGenerateContent"),
    ("POST", "/v1beta/models/gemini-embedding-001:asyncBatchEmbedContent"),
    ("POST", "/v1beta/models/imagen-4:predict"),
    ("POST", "/v1beta/models/veo-3:predictLongRunning"),
    ("POST", "/v1beta/models/gemini-2.5-flash:computeTokens"),
    ("POST", "/v1beta/models/gemini-2.5-flash:generateAnswer"),
    ("POST", "/v1beta/tunedModels/mine:generateContent"),
    ("POST", "/v1beta/tunedModels"),
    ("GET", "/v1beta/tunedModels"),
    ("POST", "/v1beta/dynamic/x:generateContent"),
    ("GET", "/v1beta/batches"),
    ("POST", "/v1beta/batches/x:cancel"),
    ("DELETE", "/v1beta/batches/x"),
    ("POST", "/v1beta/cachedContents"),
    ("GET", "/v1beta/cachedContents"),
    ("PATCH", "/v1beta/cachedContents/x"),
    ("DELETE", "/v1beta/cachedContents/x"),
    ("POST", "/v1beta/files"),
    ("POST", "/upload/v1beta/files"),
    ("GET", "/v1beta/files/x"),
    ("GET", "/v1beta/files/x:download"),
    ("POST", "/v1beta/files:register"),
    ("POST", "/v1beta/interactions"),
    ("GET", "/v1beta/interactions/x"),
    ("POST", "/v1beta/interactions/x/cancel"),
    ("POST", "/v1beta/fileSearchStores"),
    ("POST", "/v1beta/fileSearchStores/x:importFile"),
    ("POST", "/upload/v1beta/fileSearchStores/x:uploadToFileSearchStore"),
    ("POST", "/v1beta/corpora/x:query"),
    ("POST", "/v1alpha/auth_tokens"),
    ("POST", "/v1beta/agents"),
    ("POST", "/v1beta/environments"),
    ("POST", "/v1beta/triggers"),
    ("POST", "/v1beta/webhooks"),
    ("POST", "/v1beta/voices"),
    ("GET", "/v1beta/operations/x"),
    ("GET", "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"),
    ("POST", "/v1beta/openai/images/generations"),
    ("POST", "/v1beta/openai/batches"),
    ("POST", "/v1beta/openai/files"),
    ("POST", "/v1beta/openai/audio/speech"),
]


@pytest.mark.parametrize("verb", PRICED)
def test_a_priced_method_is_read(verb: str) -> None:
    ask, _ = Gemini().read("POST", f"/v1beta/models/gemini-2.5-flash:{verb}", "", {}, BODY)
    assert not ask.free and ask.model == "gemini-2.5-flash"


@pytest.mark.parametrize(("method", "path"), FREE)
def test_a_free_method_is_free(method: str, path: str) -> None:
    body = BODY if method == "POST" else b""
    ask, request = Gemini().read(method, path, "", {}, body)
    assert ask.free and ask.upstream_path == path and request.body() == body


def refusal(method: str, path: str, query: str = "") -> str:
    dialect = Gemini().at(path)
    with pytest.raises(Refusal) as raised:
        dialect.read(method, path, query, {}, BODY)
    return raised.value.reason


@pytest.mark.parametrize(("method", "path"), REFUSED)
def test_a_path_that_spends_otherwise_is_refused(method: str, path: str) -> None:
    assert refusal(method, path) == "path_not_governed"


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/v1/{GENERATE}",
        f"//v1/{GENERATE}",
        f"/v1/./{GENERATE}",
        f"/v2/{GENERATE}",
        "/v1/models/../tunedModels/x:generateContent",
        "/v1/models/a..b:generateContent",
        "/v1/models/gemini%2D2.5-flash:generateContent",
        "/v1/models/gemini-2.5-flash%3AgenerateContent",
        "/v1/models/gemini-2.5-flash:generateContent/",
        "/v1/models/gemini-2.5-flash:generateContent:x",
        "/v1/models/models/gemini-2.5-flash:generateContent",
        "/v1/models/gemini 2:generateContent",
        "/v1/models/:generateContent",
        "/v1/models/gémini:generateContent",
        "/v1/models/gemini-2.5-flash:GenerateContent",
        "/v1/models/gemini-2.5-flash:generateContent\n",
        "/v1/models/" + "a" * 200 + ":generateContent",
        "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash:generateContent",
    ],
)
def test_a_path_is_compared_as_it_came(path: str) -> None:
    assert refusal("POST", path) == "path_not_governed"


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "post"])
def test_only_a_post_generates(method: str) -> None:
    assert refusal(method, f"/v1/{GENERATE}") == "path_not_governed"


@pytest.mark.parametrize(
    "query",
    [
        "fields=candidates",
        "$fields=candidates",
        "alt=proto",
        "alt=sse&fields=candidates",
        "alt=sse&alt=json",
        "prettyPrint=true",
        "callback=f",
        "$httpMethod=DELETE",
        "%6bey=x",
        "access_token=x",
    ],
)
def test_a_query_that_could_take_the_usage_out_is_refused(query: str) -> None:
    path = "/v1/models/gemini-2.5-flash:streamGenerateContent"
    assert refusal("POST", path, query) == "path_not_governed"


def test_lists_of_models_may_be_paged() -> None:
    query = "pageSize=5&pageToken=ab-_="
    assert read("/v1/models", query, "GET") == f"/v1/models?{query}"
    assert refusal("GET", "/v1/models", "filter=x") == "path_not_governed"


@pytest.mark.parametrize(
    ("reason", "status", "name"),
    [
        ("agent_budget_exceeded", 402, "RESOURCE_EXHAUSTED"),
        ("session_killed", 403, "PERMISSION_DENIED"),
        ("session_paused", 403, "PERMISSION_DENIED"),
        ("path_not_governed", 403, "PERMISSION_DENIED"),
        ("model_not_priced", 403, "PERMISSION_DENIED"),
        ("session_mismatch", 403, "PERMISSION_DENIED"),
        ("unknown_credential", 401, "UNAUTHENTICATED"),
        ("bad_request", 400, "INVALID_ARGUMENT"),
        ("governance_unavailable", 503, "UNAVAILABLE"),
        ("websocket_not_governed", 426, "FAILED_PRECONDITION"),
    ],
)
def test_refusals_are_in_googles_words(reason: str, status: int, name: str) -> None:
    code, body = Gemini().refusal(reason, "why")
    error = json.loads(body)["error"]
    assert (code, error["code"], error["status"], error["message"]) == (status, status, name, "why")
    assert error["details"][0]["reason"] == reason


def test_a_status_of_its_own_is_kept() -> None:
    code, body = Gemini().refusal("bad_request", "too big", 413)
    assert (code, json.loads(body)["error"]["code"]) == (413, 413)


def test_a_stream_ends_in_the_form_that_it_has() -> None:
    event = Gemini().stream_error("streamGenerateContent", "session_killed", "why")
    assert event.startswith(b"data: {") and event.endswith(b"}\r\n\r\n")
    element = Gemini().stream_error("streamGenerateContent array", "session_killed", "why")
    assert json.loads(element)["error"]["code"] == json.loads(event[6:])["error"]["code"] == 403


@pytest.mark.parametrize(
    "path", ["/v1beta/openai/chat/completions", "/openai/models", "/v1/openai/x"]
)
def test_openais_wire_is_spoken_below_its_prefix(path: str) -> None:
    assert isinstance(Gemini().at(path), GeminiCompat)
    assert isinstance(Gemini().at("/v1beta/models/openai"), Gemini)
