"""`wrap`: a client that exists already becomes a watched one, in place."""

from __future__ import annotations

from typing import Any, TypeVar

from agentwatch.errors import UsageError
from agentwatch.sdk.terms import terms_of
from agentwatch.upstreams import public_place, region_of

Client = TypeVar("Client")

#: the packages of the supported clients, and their provider as the daemon knows it
STAINLESS = {"openai": "openai", "anthropic": "anthropic", "groq": "groq"}
_HELP = "hold its calls by hand instead: `with agentwatch.session(…).hold(provider, model): …`"


def wrap(client: Client, **arguments: Any) -> Client:
    """Govern a client that exists already, and return it.

    It takes the arguments of WatchedOpenAI that are AgentWatch's (`agentwatch_…`, `ingest_url`,
    `timeout_seconds`); a client that is watched already is charged to that session from now on.
    Raises UsageError for one of another kind.
    """
    from agentwatch.sdk.watching import adopt, govern

    terms = terms_of(**arguments) if arguments else None
    provider = provider_of(client)
    if provider == "gemini":
        from agentwatch.sdk.gemini import govern_gemini

        govern_gemini(client, None, terms)
        return client
    watch = govern if hasattr(client, "_agentwatch_provider") else adopt
    watch(client, provider, None, terms)
    return client


def provider_of(client: object) -> str:
    """The provider of a client. Raises UsageError where it is none that can be governed."""
    known = getattr(client, "_agentwatch_provider", None)
    if known:
        return str(known)
    for kind in type(client).__mro__:
        package = kind.__module__.split(".")[0]
        if kind.__module__.startswith("google.genai"):
            return "gemini"
        if package in STAINLESS and kind.__name__.removeprefix("Async") in _PLAIN[package]:
            return _by_address(client, STAINLESS[package])
        if package in STAINLESS and hasattr(kind, "copy"):
            break
    raise UsageError(f"{type(client).__name__} can't be wrapped: {_HELP}")


#: the client classes that talk to the provider itself; those for a cloud's gateway do not
_PLAIN = {"openai": {"OpenAI"}, "anthropic": {"Anthropic"}, "groq": {"Groq"}}


def _by_address(client: object, provider: str) -> str:
    """xAI is talked to by OpenAI's client, at another address."""
    base = str(getattr(client, "base_url", ""))
    place = public_place(base)
    name, _ = region_of(base) or (place.provider if place else "", "")
    at_xai = name == "xai" or base.rstrip("/").endswith("/xai/v1")
    return "xai" if provider == "openai" and at_xai else provider
