"""One message to one webhook: signed, to an address that was looked at first, once and soon.

The signature is that of Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks,
spec/standard-webhooks.md): HMAC-SHA256 over "ID.TIMESTAMP.BODY". The receiver's name is resolved
once, each address that it has must be public unless the user allowed others, and the connection
goes to just these: a name that is bound anew in between leads nowhere else. Redirects are not
followed, and of the answer only the status is read.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from agentwatch.errors import AgentWatchError, SettingsError

#: from the look-up of the name to the status of the answer
DELIVERY_TIMEOUT_S = 5.0
SECRET_PREFIX = "whsec_"  # noqa: S105 - what stands before a secret, not one
#: seconds until a message is tried again, by how often it was tried; the last repeats
WAITS_S = (2, 10, 60, 300, 1_800, 3_600, 7_200, 21_600)
#: tries before a message is given up: about three days
MOST_TRIES = 18
#: a receiver that says so wants no more of this
_GONE = 410
_PLAIN = "http"


class Undelivered(AgentWatchError):
    """The receiver did not take a message. `final`: it would not take it another time."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


def wait_before(tries: int, lot: float) -> float:
    """Seconds to wait after so many `tries` (1: the first has just failed). `lot`, in [0, 1), draws
    them up to a fifth longer, so that what failed together does not come back together."""
    return WAITS_S[min(tries, len(WAITS_S)) - 1] * (1 + lot / 5)


def secret_bytes(secret: str) -> bytes:
    """The key that a secret `whsec_BASE64` stands for. Raises SettingsError; never shows it."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not 24 <= len(key) <= 64:
        raise SettingsError(
            "[alerts] webhook_secret must be whsec_ and then 24 to 64 bytes in base64; "
            'make one: python3 -c "import base64, os; '
            "print('whsec_' + base64.b64encode(os.urandom(32)).decode())\""
        )
    return key


def signature(key: bytes, message_id: str, at_s: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    signed = b"%s.%d.%s" % (message_id.encode(), at_s, body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


class Webhook:
    """The way to one receiver."""

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

    async def _post(self, headers: dict[str, str], body: bytes) -> int:
        parts = urlsplit(self._url)
        port = parts.port or (80 if parts.scheme == _PLAIN else 443)
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


def check_url(url: str, allow_private: bool) -> None:
    """Raises SettingsError for what is no address of a webhook."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in (_PLAIN, "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username or parts.password or not url.isascii() or " " in url:
        raise SettingsError(
            "[alerts] webhook_url must be an address like https://hooks.example.com/agentwatch, "
            "without a user or password in it"
        )
    if parts.scheme == _PLAIN and not allow_private:
        raise SettingsError(
            "[alerts] webhook_url is plain http: use https, or for a receiver on this network "
            "set webhook_allow_private = true"
        )


def is_public(address: str) -> bool:
    """Whether an address, or the one that it wraps, is of the public internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        wrapped = ip.ipv4_mapped or ip.sixtofour
        if wrapped is not None:
            return is_public(str(wrapped))
    return ip.is_global and not ip.is_multicast


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


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
