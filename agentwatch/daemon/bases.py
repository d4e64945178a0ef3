"""The server that a watched client was made for, beside the one that the daemon would ask.

A client with a `base_url` of its own tells it with each call. What was meant for a private server
must not reach a public one, so the call goes to the provider whose address that is, or nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from agentwatch.errors import Refusal, SettingsError
from agentwatch.settings import Settings
from agentwatch.upstreams import PUBLIC_UPSTREAMS, is_loopback, upstream_base

#: the header in which it is told; never sent on, as all of ours
BASE_HEADER = "x-agentwatch-base-url"


class Place(NamedTuple):
    """A provider, and what of the client's base URL stands behind the provider's own."""

    provider: str
    tail: str


class Bases:
    """Which provider an address is."""

    def __init__(self, settings: Settings, at_home: Callable[[str], Place | None]) -> None:
        """`at_home` reads a path of the daemon's own port."""
        self._upstreams = {name: settings.upstream(name) for name in settings.provider_names}
        self._at_home = at_home
        #: the daemon's own port: an address there means the provider that its path names
        self.port = 0

    def place(self, provider: str, base: str) -> Place:
        """Where a client goes that calls as one of `provider`, at `base`. Raises Refusal."""
        found = self._own(base) or next(
            filter(None, (self._at(name, base) for name in (provider, *self._upstreams))), None
        )
        if found is None:
            raise Refusal("path_not_governed", _unknown(provider, base))
        return found

    def _own(self, base: str) -> Place | None:
        try:
            parts = urlsplit(base)
            if parts.port != self.port or not is_loopback(parts.hostname or ""):
                return None
        except ValueError:
            return None
        return self._at_home(parts.path.rstrip("/") + "/")

    def _at(self, name: str, base: str) -> Place | None:
        """This provider, where the daemon asks it at that address, or that is its public one: the
        daemon's configuration says then where it is asked instead."""
        try:
            told = upstream_base(name, base)
        except SettingsError:
            return None
        if told not in (self._upstreams[name], PUBLIC_UPSTREAMS.get(name)):
            return None
        path, known = urlsplit(base).path.rstrip("/"), urlsplit(told).path
        return Place(name, path.removeprefix(known) if path.startswith(known + "/") else "")


def _unknown(provider: str, base: str) -> str:
    return (
        f"AgentWatch: this client's base_url (at {_host(base)}) is none of the addresses that the "
        f"daemon asks, and what was meant for it goes nowhere else: nothing was sent. Name the "
        'server in config.toml ([providers.NAME] wire = "openai", base_url = "…"), or set '
        f"[providers.{provider}] base_url where it stands for {provider}; then `agentwatch "
        "restart`. To call it by yourself, hold the money: `session.hold(provider, model)`"
    )


def _host(base: str) -> str:
    """The host alone: the rest may hold a secret."""
    try:
        return f"{urlsplit(base).hostname or '?'}"[:100]
    except ValueError:
        return "?"
