"""Alerts to Slack, PagerDuty, Teams, mail and the rest, through apprise (the extra `notify`).

Each address is one that the user wrote into the configuration, so it is not looked at further. It
holds a secret, and is never shown. apprise is imported with the first alert, and works in a thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from agentwatch.core.alert import KILL, PAUSE, WARNING, Alert
from agentwatch.daemon.courier import Undelivered
from agentwatch.errors import SettingsError

#: for all addresses together
DELIVERY_TIMEOUT_S = 30.0


#: what was done about it, in words
_DONE = {PAUSE: " (paused)", KILL: " (killed)"}


class Notify:
    """The way to all addresses of `[alerts] notify`."""

    name = "notify"

    def __init__(self, addresses: Sequence[str]) -> None:
        """Raises SettingsError where apprise is missing, or does not know an address."""
        self._to = _apprise(addresses)

    async def deliver(self, alert: Alert, at_s: int) -> None:
        """Send a title and one line. Raises Undelivered where one address did not take it."""
        kind = "warning" if alert.severity == WARNING else "info"
        title = f"AgentWatch: {alert.kind} in {alert.session_id}"
        done = _DONE.get(alert.action, "")
        try:
            async with asyncio.timeout(DELIVERY_TIMEOUT_S):
                taken = await asyncio.to_thread(
                    self._to.notify, body=alert.message + done, title=title, notify_type=kind
                )
        except TimeoutError:
            message = f"it was not taken within {DELIVERY_TIMEOUT_S:g} s"
            raise Undelivered(message) from None
        if not taken:
            raise Undelivered("not every address of [alerts] notify took it")


def _apprise(addresses: Sequence[str]) -> Any:
    try:
        import apprise
    except ImportError:
        raise SettingsError(
            "[alerts] notify needs apprise where the daemon is installed: from a checkout, "
            "pipx install --force '.[notify]'"
        ) from None
    # it logs the addresses, secrets included
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    to = apprise.Apprise()
    for number, address in enumerate(addresses, start=1):
        if not to.add(address):
            raise SettingsError(
                f"[alerts] notify: address number {number} is none that apprise knows "
                "(https://github.com/caronc/apprise/wiki lists their forms)"
            )
    return to
