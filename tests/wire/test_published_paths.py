"""Every path that a provider publishes is either governed or refused: nothing slips through.

The lists are in published/: read out of the SDKs' sources (openai 3.54, anthropic 2.12, groq 1.7,
google-genai 3.4) and, where there is no SDK for a path, out of the providers' references
(docs.x.ai, console.groq.com, ai.google.dev). A path that a newer
SDK has and the list has not is told.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from agentwatch.daemon.main import dialects
from agentwatch.errors import Refusal

LISTS = Path(__file__).parent / "published"
DIALECTS = dialects()

#: what is let through: priced, or free ("free": nothing is made)
GOVERNED = {
    "openai": {
        *("POST /v1/chat/completions", "POST /v1/responses", "POST /v1/completions"),
        *("POST /v1/embeddings", "POST /v1/responses/input_tokens", "POST /v1/moderations"),
        *("POST /v1/audio/speech", "POST /v1/audio/transcriptions", "POST /v1/audio/translations"),
        *("POST /v1/images/generations", "POST /v1/images/edits"),
        *("GET /v1/models", "GET /v1/models/{}", "GET /v1/responses/{}"),
        *("DELETE /v1/responses/{}", "GET /v1/responses/{}/input_items"),
    },
    "anthropic": {
        *("POST /v1/messages", "POST /v1/messages/count_tokens", "POST /v1/chat/completions"),
        *("GET /v1/models", "GET /v1/models/{}"),
    },
    "groq": {
        *("POST /openai/v1/chat/completions", "POST /openai/v1/responses"),
        *("POST /openai/v1/embeddings", "POST /openai/v1/audio/speech"),
        *("POST /openai/v1/audio/transcriptions", "POST /openai/v1/audio/translations"),
        *("GET /openai/v1/models", "GET /openai/v1/models/{}"),
    },
    "xai": {
        *("POST /v1/chat/completions", "POST /v1/responses", "POST /v1/messages"),
        *("GET /v1/responses/{}", "DELETE /v1/responses/{}"),
        *("GET /v1/models", "GET /v1/models/{}"),
    },
    "gemini": {
        *("POST /v1beta/models/{}:generateContent", "POST /v1beta/models/{}:embedContent"),
        "POST /v1beta/models/{}:streamGenerateContent",
        "POST /v1beta/models/{}:batchEmbedContents",
        "POST /v1beta/models/{}:countTokens",
        *("POST /v1beta/openai/chat/completions", "POST /v1beta/openai/embeddings"),
        *("GET /v1beta/models", "GET /v1beta/models/{}", "GET /v1beta/openai/models"),
    },
}
_CALL = re.compile(
    r'self\._(?:get|post|delete|put|patch|get_api_list)\(\s*(?:path_template\(\s*)?f?"(/[^"]*)"'
)
_PART = re.compile(r"\{[^}]*\}")
#: its verbs stand where an id does, and would be taken for a folder of some machine
_WORK = re.compile(r"(/work)/[a-z]+$")


def published(provider: str) -> list[str]:
    return (LISTS / f"{provider}.txt").read_text().splitlines()


def is_refused(provider: str, row: str) -> bool:
    """Whether the path itself is refused, whatever the request says."""
    method, path = row.split()
    path = path.replace("{}", "resp_1abcdefgh")
    dialect = DIALECTS[provider].at(path)
    try:
        dialect.read(method, path, "", {}, b"{}")
    except Refusal as refusal:
        return refusal.reason == "path_not_governed"
    return False


@pytest.mark.parametrize("provider", sorted(GOVERNED))
def test_every_published_path_is_governed_or_refused(provider: str) -> None:
    rows = published(provider)
    assert len(rows) == len(set(rows)) and GOVERNED[provider] <= set(rows)
    let_through = {row for row in rows if not is_refused(provider, row)}
    assert let_through == GOVERNED[provider]


@pytest.mark.parametrize("provider", sorted(GOVERNED))
def test_no_other_method_gets_through(provider: str) -> None:
    for row in published(provider):
        path = row.split()[1]
        for method in ("PUT", "PATCH", "HEAD", "OPTIONS", "CONNECT", "post"):
            assert is_refused(provider, f"{method} {path}")


@pytest.mark.parametrize(
    ("provider", "prefix"), [("openai", "/v1"), ("anthropic", ""), ("groq", "")]
)
def test_the_list_knows_every_path_of_the_sdk(provider: str, prefix: str) -> None:
    spec = find_spec(provider)
    assert spec is not None and spec.origin is not None
    found = set()
    for file in (Path(spec.origin).parent / "resources").rglob("*.py"):
        for path in _CALL.findall(file.read_text()):
            found.add(prefix + _WORK.sub(r"\1/{}", _PART.sub("{}", path.partition("?")[0])))
    listed = {row.split()[1] for row in published(provider)}
    # the SDK's own way round its base URL ("/v1/chat/completions" in groq's tests) is no path
    assert len(found) > 10 and found - listed <= {"/v1/chat/completions"}
