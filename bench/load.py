"""The load generator: a process of its own, plain asyncio sockets, keep-alive, no HTTP library.

Reads jobs as JSON lines from standard input and answers each with one line of figures:
    {"port", "path", "key", "size", "at_once", "calls", "stream", "paced"}
    -> {"latency_us": [...], "first_us": [...], "wall_s": 1.5, "failed": 0}
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, cast

#: tokens of each answer; few, so that the way there and back is what is measured
TOKENS = 16
_FRAME = 150


class Client(asyncio.Protocol):
    """One connection that makes one call after the other."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._got = bytearray()
        self._answer: asyncio.Future[bool] | None = None
        self.began = self.first = self.ended = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has another base

    async def call(self) -> bool:
        """Make one call. True: it was answered with 200, to its end."""
        assert self._transport is not None
        self._got.clear()
        self._answer = asyncio.get_running_loop().create_future()
        self.first = 0
        self.began = time.perf_counter_ns()
        self._transport.write(self._request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._got += data
        head_ends = self._got.find(b"\r\n\r\n")
        if head_ends < 0:
            return
        if not self.first and len(self._got) > head_ends + 4:
            self.first = time.perf_counter_ns()
        if self._complete(head_ends):
            self.ended = time.perf_counter_ns()
            self._over(self._got.startswith(b"HTTP/1.1 200"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._over(False)

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()

    def _complete(self, head_ends: int) -> bool:
        head = bytes(self._got[:head_ends]).lower()
        _, found, rest = head.partition(b"content-length: ")
        if found:
            length = int(rest.split(b"\r\n", 1)[0])
            return len(self._got) >= head_ends + 4 + length
        return self._got.endswith(b"0\r\n\r\n")

    def _over(self, well: bool) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(well)


def request(job: dict[str, Any]) -> bytes:
    """The bytes of one call whose body has about `size` bytes."""
    filling = "word " * (max(job["size"] - _FRAME, 5) // 5)
    asked: dict[str, Any] = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": filling}],
        "max_completion_tokens": TOKENS,
        "stream": job["stream"],
    }
    if job["paced"]:
        asked["user"] = "paced"
    if job["stream"]:
        asked["stream_options"] = {"include_usage": True}
    body = json.dumps(asked).encode()
    head = (
        f"POST {job['path']} HTTP/1.1\r\nHost: 127.0.0.1:{job['port']}\r\n"
        f"Authorization: Bearer {job['key']}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _worker(job: dict[str, Any], sent: bytes, calls: int, figures: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: Client(sent), "127.0.0.1", job["port"])
    for _ in range(calls):
        if not await client.call():
            figures["failed"] += 1
            break
        figures["latency_us"].append((client.ended - client.began) / 1000)
        figures["first_us"].append((client.first - client.began) / 1000)
    client.close()


async def run(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job: `calls` calls over `at_once` connections."""
    figures: dict[str, Any] = {"latency_us": [], "first_us": [], "failed": 0}
    sent = request(job)
    share = max(job["calls"] // job["at_once"], 1)
    began = time.perf_counter()
    workers = [_worker(job, sent, share, figures) for _ in range(job["at_once"])]
    await asyncio.gather(*workers)
    figures["wall_s"] = time.perf_counter() - began
    return figures


def main() -> None:
    """Serve jobs until standard input ends."""
    try:
        from uvloop import run as run_loop
    except ImportError:
        run_loop = asyncio.run
    for line in sys.stdin:
        print(json.dumps(run_loop(run(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
