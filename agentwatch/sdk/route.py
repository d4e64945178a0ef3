"""A provider's request, as the daemon takes it: path and headers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from agentwatch.upstreams import PUBLIC_UPSTREAMS

#: where a provider's paths begin at the daemon
PREFIX = {
    "openai": "/openai/v1",
    "anthropic": "/anthropic",
    "groq": "/groq",
    "xai": "/xai/v1",
    "gemini": "/gemini",
}
#: headers in which SDKs put a key, in the order in which the daemon looks
SLOTS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
#: in which the daemon is told of a base URL of the client's own
BASE_HEADER = "x-agentwatch-base-url"
_DROPPED = frozenset({*SLOTS, "host", "cookie"})


class Way(NamedTuple):
    """What opens the door for a session: a token, or an AgentWatch key and who is meant."""

    credential: str
    headers: Mapping[str, str] = {}


def daemon_path(provider: str, base: str, url: str) -> str | None:
    """The path of `url` at the daemon; None where it leads past the provider at `base`."""
    start, target = urlsplit(base), urlsplit(url)
    if _origin(start) != _origin(target):
        return None
    root = start.path.rstrip("/")
    below = target.path.removeprefix(root) if _is_below(target.path, root) else target.path
    query = "&".join(part for part in target.query.split("&") if part[:4] != "key=")
    return PREFIX[provider] + below + (f"?{query}" if query else "")


def own_base(provider: str, base: str) -> str:
    """A base URL of the client's own; "" for the provider's public one, for which the daemon's own
    configuration stands."""
    return "" if base.rstrip("/") == PUBLIC_UPSTREAMS[provider] else base


def daemon_headers(
    headers: Iterable[tuple[bytes, bytes]], way: Way, host: str, told: Mapping[str, str]
) -> list[tuple[bytes, bytes]]:
    """The request's headers, with the session's credential in the slot of the caller's own, and
    what else the daemon is told."""
    kept, slot = [], "authorization"
    for name, value in headers:
        low = name.lower().decode("latin-1")
        if low in SLOTS:
            slot = low
        if low not in _DROPPED and not low.startswith("x-agentwatch"):
            kept.append((name, value))
    shown = f"Bearer {way.credential}" if slot == "authorization" else way.credential
    ours = {"host": host, slot: shown, **way.headers, **told}
    return kept + [(name.encode(), value.encode("latin-1")) for name, value in ours.items()]


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(root + "/")


def _origin(parts: object) -> tuple[object, object, object]:
    scheme, port = getattr(parts, "scheme", ""), getattr(parts, "port", None)
    return scheme, getattr(parts, "hostname", None), port or {"https": 443, "http": 80}.get(scheme)
