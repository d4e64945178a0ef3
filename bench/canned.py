"""A provider that costs next to nothing, so that what stands before it is what is measured.

It answers every call with the same bytes: 16 tokens, streamed where the call asks for it, the first
event at once and the others 1 ms later; after 20 ms where the request names the user "paced".
`GET /bill` tells what it billed, by the stand-in's price table. What a provider can do wrong is the
stand-in's business, not this one's.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

from agentwatch.standin import prices

MODEL = "gpt-4o-mini"
TOKENS = 16
PROMPT_TOKENS = 200
PACE_S = 0.02
#: a stream's other events come so long after its first
REST_S = 0.001
_USAGE = {
    "prompt_tokens": PROMPT_TOKENS,
    "completion_tokens": TOKENS,
    "total_tokens": PROMPT_TOKENS + TOKENS,
}
_FRAME = {"id": "chatcmpl-canned", "created": 1_700_000_000, "model": MODEL}


def _whole() -> bytes:
    message = {"role": "assistant", "content": "word " * TOKENS}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    answer = {**_FRAME, "object": "chat.completion", "choices": [choice], "usage": _USAGE}
    return _answered(json.dumps(answer).encode())


def _answered(body: bytes) -> bytes:
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _stream() -> list[bytes]:
    deltas: list[Any] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": "word "}] * TOKENS
    rows = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    rows.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    frame = {**_FRAME, "object": "chat.completion.chunk"}
    events = [json.dumps({**frame, "choices": [row], "usage": None}) for row in rows]
    events.append(json.dumps({**frame, "choices": [], "usage": _USAGE}))
    texts = [f"data: {event}\n\n".encode() for event in [*events, "[DONE]"]]
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    return [head, *(b"%x\r\n%b\r\n" % (len(text), text) for text in texts), b"0\r\n\r\n"]


WHOLE, STREAM = _whole(), _stream()


class Books:
    """How many calls were answered."""

    def __init__(self) -> None:
        self.calls = 0

    def told(self) -> bytes:
        """The bill."""
        one = prices.cost(MODEL, "default", prompt=PROMPT_TOKENS, output=TOKENS)
        return _answered(json.dumps({"calls": self.calls, "nanos": self.calls * one}).encode())


class Canned(asyncio.Protocol):
    """One connection, one call at a time."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._transport: asyncio.Transport | None = None
        self._got = bytearray()
        self._needed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._got += data
        if not self._needed:
            head_ends = self._got.find(b"\r\n\r\n")
            if head_ends < 0:
                return
            self._needed = head_ends + 4 + _length(bytes(self._got[:head_ends]))
        if len(self._got) < self._needed:
            return
        asked = bytes(self._got[: self._needed])
        del self._got[: self._needed]
        self._needed = 0
        self._take(asked)

    def _take(self, asked: bytes) -> None:
        if asked.startswith(b"GET /bill"):
            self._send([self._books.told()])
            return
        self._books.calls += 1
        tail = asked[-300:].replace(b" ", b"")
        if b'"stream":true' in tail:
            self._send(STREAM[:2])
            asyncio.get_running_loop().call_later(REST_S, self._send, STREAM[2:])
        elif b'"user":"paced"' in tail:
            asyncio.get_running_loop().call_later(PACE_S, self._send, [WHOLE])
        else:
            self._send([WHOLE])

    def _send(self, parts: list[bytes]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(parts)


def _length(head: bytes) -> int:
    """The Content-Length of a request. Raises ValueError where it has another framing."""
    lowered = head.lower()
    if b"\r\ntransfer-encoding:" in lowered:
        raise ValueError("a canned provider reads no chunked requests")
    _, found, rest = lowered.partition(b"\r\ncontent-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


async def serve() -> None:
    """Serve until the process is ended."""
    books = Books()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Canned(books), "127.0.0.1", 0, backlog=1024)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Run on uvloop where it installs."""
    try:
        from uvloop import run
    except ImportError:
        run = asyncio.run
    run(serve())


if __name__ == "__main__":
    main()
