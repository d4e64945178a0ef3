"""Google's client for Gemini, watched, sync and async (`client.aio`)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from google import genai

from agentwatch.errors import UsageError
from agentwatch.sdk.session import Session
from agentwatch.sdk.terms import TIMEOUT_S, Terms
from agentwatch.sdk.transport import Gate
from agentwatch.sdk.watching import (
    NO_WEBSOCKETS,
    governed,
    governed_copy,
    kept_gate,
    new_session,
    set_no_key,
    take_terms,
)


class WatchedGemini(genai.Client):
    """`google.genai.Client`, every call of which is held to a ceiling: see WatchedOpenAI.

    Vertex AI is another server, and can't be governed so: hold its calls by hand.
    """

    _agentwatch_provider = "gemini"
    _agentwatch_gate: Gate

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            agentwatch_api_key: str | None = None,
            agentwatch_project: str | None = None,
            agentwatch_team: str | None = None,
            agentwatch_session_id: str | None = None,
            agentwatch_session_budget_usd: float | None = None,
            agentwatch_monthly_budget_usd: float | None = None,
            agentwatch_enforcement_mode: bool | None = None,
            agentwatch_enforcement_fail_open: bool = True,
            ingest_url: str | None = None,
            timeout_seconds: float = TIMEOUT_S,
            **parent: Any,
        ) -> None: ...

    else:

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            terms, told = take_terms(kwargs)
            set_no_key(kwargs, _has_key)
            super().__init__(*args, **kwargs)
            govern_gemini(self, None, terms if told else None)

    @property
    def agentwatch_session(self) -> Session:
        """The session that its calls are charged to."""
        return self._agentwatch_gate.session


def spare_key(arguments: dict[str, Any]) -> None:
    """Put a placeholder where a constructor's arguments bring no key; Vertex AI goes without."""
    if not arguments.get("vertexai") and not os.environ.get("GOOGLE_GENAI_USE_VERTEXAI"):
        set_no_key(arguments, _has_key)


def _has_key() -> bool:
    return any(os.environ.get(name) for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY"))


def govern_gemini(client: Any, gate: Gate | None, terms: Terms | None) -> None:
    """Put a client's requests under a session. Raises UsageError for one of Vertex AI."""
    api = client._api_client
    if api.vertexai:
        raise UsageError(
            "Vertex AI is no server that the daemon reaches: hold its calls by hand instead, "
            "`with agentwatch.session(…).hold(provider, model) as hold: …`"
        )
    gate = gate or kept_gate(governed(api._httpx_client), terms)
    if gate is None:
        base = str(api._http_options.base_url)
        gate = Gate("gemini", new_session(terms), base, raises=True)
    client._agentwatch_gate = gate
    for name in ("_httpx_client", "_async_httpx_client"):
        http = getattr(api, name)
        before = governed(http)
        setattr(api, name, governed_copy(before.own if before else http, gate))
    # else its async calls would take another library, and another way
    api._http_options.httpx_async_client = api._async_httpx_client
    api._websocket_base_url = lambda *_args, **_kwargs: NO_WEBSOCKETS
