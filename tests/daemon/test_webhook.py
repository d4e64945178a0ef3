"""A webhook's one try: what is signed, where it goes, and what it puts up with."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from agentwatch.daemon import webhook
from agentwatch.daemon.courier import Undelivered
from agentwatch.daemon.webhook import Webhook
from agentwatch.webhooks import secret_bytes, signature

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BODY = b'{"kind":"prompt_growth"}'
NOW_S = 1_795_000_000


class Receiver:
    """A server that keeps what it got and answers with these bytes (None: never)."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.heads: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[1:-2]
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head)}
        self.heads.append(fields)
        self.bodies.append(await reader.readexactly(int(fields["content-length"])))
        if self.answer is not None:
            writer.write(self.answer)
            await writer.drain()
            writer.close()
        else:
            await reader.read()


@asynccontextmanager
async def receiver(answer: bytes | None) -> AsyncIterator[Receiver]:
    made = Receiver(answer)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield made
    finally:
        server.close()


def answer(status: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Content-Length: 0", *headers, "", ""]).encode()


async def failing(sending: Awaitable[None]) -> Undelivered:
    with pytest.raises(Undelivered) as failed:
        await sending
    return failed.value


async def test_the_packages_own_verifier_takes_the_signature() -> None:
    async with receiver(answer("204 No Content")) as server:
        await Webhook(server.url, SECRET, allow_private=True).send("msg_1", NOW_S, BODY)
    (head,) = server.heads
    assert head["webhook-id"] == "msg_1"
    # the verifier looks at the clock as well: the same signature at this moment
    at_s = int(time.time())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at_s),
        "webhook-signature": signature(secret_bytes(SECRET), "msg_1", at_s, BODY),
    }
    assert Verifier(SECRET).verify(BODY, headers) == json.loads(BODY)
    with pytest.raises(WebhookVerificationError):
        Verifier(SECRET).verify(BODY + b" ", headers)
    expected = signature(secret_bytes(SECRET), "msg_1", NOW_S, BODY)
    assert head["webhook-signature"] == expected


async def test_without_a_secret_nothing_is_signed() -> None:
    async with receiver(answer("200 OK")) as server:
        await Webhook(server.url, None, allow_private=True).send("msg_1", NOW_S, BODY)
    assert "webhook-signature" not in server.heads[0]
    assert server.bodies == [BODY]


@pytest.mark.parametrize(
    ("status", "final"), [("500 Oops", False), ("429 Later", False), ("410 Gone", True)]
)
async def test_what_the_receiver_refuses_is_told(status: str, final: bool) -> None:
    async with receiver(answer(status)) as server:
        failed = await failing(Webhook(server.url, None, allow_private=True).send("m", NOW_S, BODY))
    assert status[:3] in str(failed)
    assert failed.final is final


async def test_a_redirect_is_not_followed() -> None:
    async with receiver(answer("200 OK")) as other:
        async with receiver(answer("307 There", f"Location: {other.url}")) as server:
            failed = await failing(
                Webhook(server.url, None, allow_private=True).send("m", NOW_S, BODY)
            )
        assert not other.bodies
    assert "redirects are not followed" in str(failed)


async def test_a_receiver_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "DELIVERY_TIMEOUT_S", 0.2)
    async with receiver(None) as server:
        failed = await failing(Webhook(server.url, None, allow_private=True).send("m", NOW_S, BODY))
    assert "did not answer" in str(failed)


async def test_nobody_there_is_told_without_the_address() -> None:
    async with receiver(None) as server:
        url = server.url
    failed = await failing(Webhook(url, None, allow_private=True).send("m", NOW_S, BODY))
    assert "can't be reached" in str(failed)
    assert "127.0.0.1" not in str(failed)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "2130706433", "[::1]", "0x7f.1"])
async def test_a_private_address_by_any_name_gets_nothing(host: str) -> None:
    """The cloud's metadata service, a router, a local database: not through us."""
    failed = await failing(Webhook(f"https://{host}:1/x", None).send("m", NOW_S, BODY))
    assert "not public" in str(failed)


async def test_the_connection_goes_to_the_address_that_was_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: the second answer would be another."""
    asked: list[str] = []
    async with receiver(answer("200 OK")) as server:
        port = int(server.url.rsplit(":", 1)[1].split("/")[0])
        loop = asyncio.get_running_loop()
        real: Callable[..., Awaitable[list[tuple[object, ...]]]] = loop.getaddrinfo

        async def once(host: str, port: int, **kind: int) -> list[tuple[object, ...]]:
            asked.append(host)
            return await real("127.0.0.1" if len(asked) == 1 else "192.0.2.1", port, **kind)

        monkeypatch.setattr(loop, "getaddrinfo", once)
        hook = Webhook(f"http://rebinding.example:{port}/", None, allow_private=True)
        await hook.send("m", NOW_S, BODY)
    assert server.bodies == [BODY]
    assert asked[0] == "rebinding.example"
