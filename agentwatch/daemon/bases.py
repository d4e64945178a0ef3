"""The server that a watched client was made for, beside the one that the daemon would ask.

A client with a `base_url` of its own tells it with each call. What was meant for a private server
must not reach a public one, nor what was meant for one region another, so the call goes to the
provider whose address that is, or nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from agentwatch.errors import Refusal
from agentwatch.settings import Settings
from agentwatch.upstreams import PUBLIC_UPSTREAMS, Place, is_loopback, place_of, region_of

#: the header in which it is told; never sent on, as all of ours
BASE_HEADER = "x-agentwatch-base-url"


class Bases:
    """Which provider an address is."""

    def __init__(
        self, settings: Settings, at_home: Callable[[str], Place | None] = lambda path: None
    ) -> None:
        """`at_home` reads a path of the daemon's own port."""
        self._upstreams = {name: settings.upstream(name) for name in settings.provider_names}
        self._at_home = at_home
        #: the daemon's own port: an address there means the provider that its path names
        self.port = 0

    def place(self, provider: str, base: str) -> Place:
        """Where a client goes that calls as one of `provider`, at `base`. Raises Refusal."""
        found = self.find(provider, base)
        if found is None:
            region = region_of(base)
            message = _other_region(*region) if region else _unknown(provider, base)
            raise Refusal("path_not_governed", message)
        return found

    def find(self, provider: str, base: str) -> Place | None:
        """The provider whose address it is: where the daemon asks it, or its public one, for which
        the daemon's configuration says where it is asked instead. None: nobody's."""
        named = [
            (name, address)
            for name in (provider, *self._upstreams)
            for address in (self._upstreams.get(name), PUBLIC_UPSTREAMS.get(name))
            if address
        ]
        return self._own(base) or place_of(base, named)

    def _own(self, base: str) -> Place | None:
        try:
            parts = urlsplit(base)
            if parts.port != self.port or not is_loopback(parts.hostname or ""):
                return None
        except ValueError:
            return None
        return self._at_home(parts.path.rstrip("/") + "/")


def _other_region(provider: str, address: str) -> str:
    return (
        f"AgentWatch: this client's base_url (at {_host(address)}) is a region of {provider} that "
        "the daemon does not ask, and a call that was meant for it goes to no other: nothing was "
        f'sent. Set [providers.{provider}] base_url = "{address}" in config.toml, where all calls '
        f"of {provider} go then, or AGENTWATCH_{provider.upper()}_UPSTREAM; then `agentwatch "
        "restart`"
    )


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
