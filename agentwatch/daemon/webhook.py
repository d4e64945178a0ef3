"""One message to one webhook: signed, to an address that was looked at first, once and soon.

The receiver's name is resolved once, each address that it has must be public unless the user
allowed others, and the connection goes to just these: a name that is bound anew in between leads
nowhere else. Redirects are not followed, and of the answer only the status is read.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from agentwatch.core.alert import Alert
from agentwatch.daemon.courier import Undelivered
from agentwatch.webhooks import PLAIN, check_url, is_public, secret_bytes, signature

#: from the look-up of the name to the status of the answer
DELIVERY_TIMEOUT_S = 5.0
#: a receiver that says so wants no more of this
_GONE = 410


class Webhook:
    """The way to one receiver."""

    name = "webhook"

    def __init__(self, url: str, secret: str | None, *, allow_private: bool = False) -> None:
        """Raises SettingsError for an address or a secret that can't be. No message repeats the
        address: its path may be a secret, as with most chat programs."""
        self._url = url
        self._allow_private = allow_private
        self._key = secret_bytes(secret) if secret else None
        check_url(url, allow_private)

    async def send(self, message_id: str, at_s: int, body: bytes) -> None:
        """Deliver one message; `at_s` is the time of this try. Raises Undelivered."""
        headers = {"Content-Type": "application/json", "User-Agent": "AgentWatch"}
        headers |= {"webhook-id": message_id, "webhook-timestamp": str(at_s)}
        if self._key is not None:
            headers["webhook-signature"] = signature(self._key, message_id, at_s, body)
        try:
            async with asyncio.timeout(DELIVERY_TIMEOUT_S):
                status = await self._post(headers, body)
        except TimeoutError:
            message = f"the receiver did not answer within {DELIVERY_TIMEOUT_S:g} s"
            raise Undelivered(message) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Undelivered(f"the receiver can't be reached ({type(error).__name__})") from error
        if not 200 <= status < 300:
            redirected = " (redirects are not followed)" if 300 <= status < 400 else ""
            message = f"the receiver answered {status}{redirected}"
            raise Undelivered(message, final=status == _GONE)

    async def deliver(self, alert: Alert, at_s: int) -> None:
        """Deliver an alert; its id is the message's. Raises Undelivered."""
        await self.send(alert.id, at_s, msgspec.json.encode(alert))

    async def _post(self, headers: dict[str, str], body: bytes) -> int:
        parts = urlsplit(self._url)
        port = parts.port or (80 if parts.scheme == PLAIN else 443)
        addresses = await self._addresses(parts.hostname or "", port)
        connector = aiohttp.TCPConnector(
            resolver=_Known(addresses), force_close=True, use_dns_cache=False
        )
        async with (
            aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            ) as session,
            session.post(
                URL(self._url, encoded=True), data=body, headers=headers, allow_redirects=False
            ) as answer,
        ):
            return answer.status

    async def _addresses(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        if not self._allow_private and not all(map(is_public, addresses)):
            raise Undelivered(
                "the receiver's address is not public: [alerts] webhook_allow_private = true "
                "allows receivers on this network"
            )
        return addresses


class _Known(AbstractResolver):
    """Answers with addresses that were looked at already."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""
