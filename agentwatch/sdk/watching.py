"""How a client becomes a watched one: it gets a copy of its HTTP client whose way out is ours, and
raises our errors for our refusals. Neither the SDK nor the user's own HTTP client is changed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from agentwatch.errors import CallDenied, UsageError
from agentwatch.sdk.denial import denial_of
from agentwatch.sdk.inside import ambient
from agentwatch.sdk.session import Session
from agentwatch.sdk.terms import TIMEOUT_S, Terms, terms_of
from agentwatch.sdk.transport import (
    BASE,
    NO_KEY,
    AsyncGovernedTransport,
    Gate,
    GovernedTransport,
)

#: our arguments, and those of aw-sdk's that have no prefix
OURS = (
    "agentwatch_api_key",
    "agentwatch_project",
    "agentwatch_team",
    "agentwatch_session_id",
    "agentwatch_session_budget_usd",
    "agentwatch_monthly_budget_usd",
    "agentwatch_enforcement_mode",
    "agentwatch_enforcement_fail_open",
    "ingest_url",
    "timeout_seconds",
)
#: WebSockets go past the HTTP client, so they get an address at which nobody is
NO_WEBSOCKETS = "wss://websockets-are-not-governed-by-agentwatch.invalid"
#: how a copy is handed its original's gate
_GATE = "_agentwatch_gate"


def take_terms(arguments: dict[str, Any]) -> tuple[Terms, bool]:
    """Take our arguments out of a constructor's: the terms, and whether any was given."""
    ours = {name: arguments.pop(name) for name in OURS if name in arguments}
    return terms_of(**ours), bool(ours)


class Watched:
    """Beside a provider's client class of the stainless kind (OpenAI, Anthropic, Groq)."""

    #: the provider as the daemon knows it
    _agentwatch_provider = ""
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
            given = kwargs.pop(_GATE, None)
            terms, told = take_terms(kwargs)
            self._agentwatch_credential(kwargs)
            super().__init__(*args, **kwargs)
            govern(self, self._agentwatch_provider, given, terms if told else None)

        def copy(self, *args: Any, _extra_kwargs: Any = None, **kwargs: Any) -> Any:
            """As the parent's; the copy is charged to the same session."""
            extra = {**(_extra_kwargs or {}), _GATE: self._agentwatch_gate}
            return super().copy(*args, _extra_kwargs=extra, **kwargs)

        with_options = copy

        def _prepare_request(self, request: Any) -> Any:
            request.extensions[BASE] = str(self.base_url)
            return super()._prepare_request(request)

        def _make_status_error(self, err_msg: str, *, body: object, response: Any) -> Any:
            error = refusal_error(response, body)
            return error or super()._make_status_error(err_msg, body=body, response=response)

    @property
    def agentwatch_session(self) -> Session:
        """The session that its calls are charged to."""
        return self._agentwatch_gate.session

    @staticmethod
    def _agentwatch_credential(arguments: dict[str, Any]) -> None:
        """Beside a daemon that has the key, a client needs none of its own."""


def refusal_error(response: Any, body: object) -> CallDenied | None:
    """Our error for a refusal of ours; None for all other answers."""
    denial = denial_of(response.status_code, response.headers, body)
    return None if denial is None else denial.error()


def set_no_key(arguments: dict[str, Any], has_key: Callable[[], bool]) -> None:
    """Let a client without any key be made: the daemon has it."""
    if arguments.get("api_key") is None and not has_key():
        arguments["api_key"] = NO_KEY


def govern(client: Any, provider: str, gate: Gate | None, terms: Terms | None) -> None:
    """Put a stainless client's requests under a session: `gate`'s, or that of the governed HTTP
    client that it was made with, or a new one of these terms."""
    http = client._client
    if getattr(client, "_provider", None) is not None:
        raise UsageError(_ELSEWHERE.format(type(client).__name__, "provider=…"))
    before = governed(http)
    gate = gate or kept_gate(before, terms)
    if gate is None:
        gate = Gate(provider, new_session(terms), str(client.base_url))
    client._agentwatch_gate = gate
    if hasattr(client, "websocket_base_url"):
        client.websocket_base_url = NO_WEBSOCKETS
    if before is None:
        client._client = governed_copy(http, gate)
    elif before.gate is not gate:
        client._client = governed_copy(before.own, gate)


def kept_gate(before: Any, terms: Terms | None) -> Gate | None:
    """The gate of a client that is governed already, and of which nothing else is asked: neither
    by terms, nor by a session around this that its own is no part of."""
    if before is None or terms is not None:
        return None
    gate: Gate = before.gate
    around = ambient()
    return gate if around is None or gate.session.is_in(around) else None


def governed(http: Any) -> GovernedTransport | AsyncGovernedTransport | None:
    """The way out of an HTTP client that is governed already."""
    found = getattr(http, "_transport", None)
    return found if isinstance(found, (GovernedTransport, AsyncGovernedTransport)) else None


_ELSEWHERE = (
    "{0} with {1} reaches a server that the daemon does not: hold its calls by hand instead, "
    "`with agentwatch.session(…).hold(provider, model) as hold: …`"
)


def new_session(terms: Terms | None) -> Session:
    """The session of a client that is made here: of these terms, or the one around it."""
    outer = ambient()
    if terms is None:
        return outer or Session(Terms())
    return Session(terms, outer)


def governed_copy(http: Any, gate: Gate) -> Any:
    """The HTTP client with our way out, and all else as it is: its hooks, headers, time-outs. The
    original is left alone, and carries what goes straight to the provider.

    It is a plain one of its library: a subclass may have ways of its own past the transport, as
    google's has, which sends through clients that it keeps inside.
    """
    lib = library_of(http)
    is_async = hasattr(http, "aclose")
    governed: Any = object.__new__(lib.AsyncClient if is_async else lib.Client)
    governed.__dict__.update(http.__dict__)
    kind = AsyncGovernedTransport if is_async else GovernedTransport
    governed._transport = kind(lib, gate, http)
    # a proxy of the environment has no business between a client and its own machine
    governed._mounts = {}
    return governed


def library_of(http: Any) -> ModuleType:
    """httpx or httpx2: whichever this HTTP client is made of. Raises UsageError."""
    for kind in type(http).__mro__:
        root = kind.__module__.partition(".")[0]
        if root in ("httpx", "httpx2"):
            return sys.modules[root]
    raise UsageError(f"{type(http).__name__} is no HTTP client of httpx or httpx2")


def adopt(client: Any, provider: str, gate: Gate | None, terms: Terms | None) -> None:
    """Make a watched client of one that exists: what the classes override is overridden in it."""
    kind = type(client)

    def copied(*args: Any, **kwargs: Any) -> Any:
        made = kind.copy(client, *args, **kwargs)
        adopt(made, provider, client._agentwatch_gate, None)
        return made

    def prepare_request(request: Any) -> Any:
        request.extensions[BASE] = str(client.base_url)
        return kind._prepare_request(client, request)

    def make_status_error(err_msg: str, *, body: object, response: Any) -> Any:
        error = refusal_error(response, body)
        return error or kind._make_status_error(client, err_msg, body=body, response=response)

    client._agentwatch_provider = provider
    client.copy = client.with_options = copied
    client._prepare_request = prepare_request
    client._make_status_error = make_status_error
    govern(client, provider, gate, terms)
