"""The way out to a provider: pools, time-outs, which headers go along.

The governor sees `send` and an Answer; that aiohttp carries them is known here alone.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from agentwatch.errors import AgentWatchError

#: how long a connection may take to stand, and an answer to say nothing
CONNECT_TIMEOUT_S = 10.0
SILENCE_TIMEOUT_S = 900.0
#: below what providers keep: a connection that they are about to close is not used again
KEEPALIVE_S = 15.0

#: of this hop alone (RFC 9110, 7.6.1), or set anew for the next
HOP_HEADERS = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
    }
)
_REQUEST_DROPPED = HOP_HEADERS | {
    "host",
    "content-length",
    "content-encoding",
    "accept-encoding",
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
    # leaves out of an answer what it does not name: the usage
    "x-goog-fieldmask",
    "forwarded",
    "via",
}
#: headers by which some servers take another method, path or host than the request line's
_ROUTING = re.compile(
    r"x-(?:http-)?method.*|x-original-.*|x-rewrite-.*|x-forwarded.*|x-host|x-envoy-.*|x-accel-.*"
)
_ANSWER_DROPPED = HOP_HEADERS | {"content-length", "set-cookie", "alt-svc"}


_SHORTEST_KEY = 8

#: beginnings of header names that are ours to set, or open us to web pages
_NOT_PASSED = ("x-agentwatch", "access-control-")


class NotSent(AgentWatchError):
    """The provider was never reached: nothing was sent, nothing is billed."""


class Lost(AgentWatchError):
    """The line broke after the request was sent, or may have been."""


class Answer:
    """A provider's answer, as it comes."""

    def __init__(self, response: aiohttp.ClientResponse, key: str) -> None:
        self._response = response
        # a server that needs none is sent a word in its place
        self._secrets = (key, quote(key, safe="")) if len(key) >= _SHORTEST_KEY else ()
        self.status = response.status

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """As they came."""
        return self._response.headers

    def passed_headers(self) -> CIMultiDict[str]:
        """The headers that the client gets: without those of the hop and without ours, which a
        provider has no business to set; nor one that repeats the key, as a redirect does that
        repeats the query which the key came in."""
        return CIMultiDict(
            (name, value)
            for name, value in self._response.headers.items()
            if (low := name.lower()) not in _ANSWER_DROPPED
            and not low.startswith(_NOT_PASSED)
            and not any(secret in value for secret in self._secrets)
        )

    @property
    def is_stream(self) -> bool:
        """Whether server-sent events come."""
        return self._response.headers.get("Content-Type", "").startswith("text/event-stream")

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes as they arrive, not decoded. Raises Lost where the line breaks."""
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise Lost(f"the provider's answer broke off ({type(error).__name__})") from error

    def abort(self) -> None:
        """Close the connection: nothing more is wanted."""
        self._response.close()


class Upstream:
    """The way to one provider."""

    def __init__(self, name: str, base_url: str, session: aiohttp.ClientSession) -> None:
        self.name = name
        self._base = base_url
        self._session = session
        self._proxy = _proxy_for(base_url)

    async def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        credential: tuple[str, str],
        body: bytes,
    ) -> Answer:
        """Send one request; `path` is below the base URL and goes out as it stands.

        `credential` is the header, or the name of the query's field behind a "?", and the value
        that carries the provider's key. Raises NotSent or Lost. Redirects are not followed: they
        would lead the key elsewhere.
        """
        target, told = _with_credential(path, _request_headers(headers), credential)
        try:
            response = await self._session.request(
                method,
                URL(self._base + target, encoded=True),
                headers=told,
                data=body if body or method != "GET" else None,
                allow_redirects=False,
                proxy=self._proxy,
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(f"{self.name} can't be reached ({type(error).__name__})") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Lost(f"{self.name} did not answer ({type(error).__name__})") from error
        return Answer(response, credential[1])


def open_session() -> aiohttp.ClientSession:
    """The pool that all providers share."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S, ttl_dns_cache=60),
        timeout=aiohttp.ClientTimeout(
            total=None, connect=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_TIMEOUT_S
        ),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        read_bufsize=256 * 1024,
    )


def _with_credential(
    path: str, headers: CIMultiDict[str], credential: tuple[str, str]
) -> tuple[str, CIMultiDict[str]]:
    """Path and headers with the provider's key in the slot that it belongs in."""
    slot, key = credential
    if slot.startswith("?"):
        joint = "&" if "?" in path else "?"
        return f"{path}{joint}{slot[1:]}={quote(key, safe='')}", headers
    headers[slot] = key
    return path, headers


def _request_headers(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """The client's headers without its credentials, ours, and those of the hop. What answers is
    read here, so that only encodings are asked for that can be decoded."""
    named = {
        part.strip().lower()
        for name, value in headers.items()
        if name.lower() == "connection"
        for part in value.split(",")
    }
    kept: CIMultiDict[str] = CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if (low := name.lower()) not in _REQUEST_DROPPED
        and low not in named
        and not low.startswith("x-agentwatch")
        and not (low.startswith("x-") and _ROUTING.fullmatch(low))
    )
    kept["Accept-Encoding"] = "identity"
    return kept


def _proxy_for(base_url: str) -> str | None:
    """The environment's proxy for this address; none for loopback."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if host in ("localhost", "::1") or host.startswith("127.") or proxy_bypass(host):
        return None
    return getproxies().get(parts.scheme)
