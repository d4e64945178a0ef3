"""Webhooks without their sending: signature, secret, address, and how long until the next try.

The signature is that of Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks,
spec/standard-webhooks.md): HMAC-SHA256 over "ID.TIMESTAMP.BODY".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from urllib.parse import urlsplit

from agentwatch.errors import SettingsError

SECRET_PREFIX = "whsec_"  # noqa: S105 - what stands before a secret, not one
#: seconds until a message is tried again, by how often it was tried; the last repeats
WAITS_S = (2, 10, 60, 300, 1_800, 3_600, 7_200, 21_600)
#: tries before a message is given up: about three days
MOST_TRIES = 18
PLAIN = "http"
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


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


def check_url(url: str, allow_private: bool) -> None:
    """Raises SettingsError for what is no address of a webhook."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in (PLAIN, "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username or parts.password or not url.isascii() or " " in url:
        raise SettingsError(
            "[alerts] webhook_url must be an address like https://hooks.example.com/agentwatch, "
            "without a user or password in it"
        )
    if parts.scheme == PLAIN and not allow_private:
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
