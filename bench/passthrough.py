"""The bare aiohttp pass-through that AgentWatch is measured against: it forwards, and no more.

`python bench/passthrough.py UPSTREAM_PORT KEY` prints one JSON line with its port.
"""

from __future__ import annotations

import asyncio
import json
import sys

import aiohttp
from aiohttp import web


class Passthrough:
    """aiohttp's server in front, aiohttp's client behind, the key exchanged in between."""

    def __init__(self, upstream: str, key: str, session: aiohttp.ClientSession) -> None:
        self._upstream = upstream
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._session = session

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Forward one request, and its answer as it comes."""
        body = await request.read()
        url = self._upstream + request.path
        async with self._session.request(
            request.method, url, data=body, headers=self._headers
        ) as answer:
            response = web.StreamResponse(status=answer.status)
            response.content_type = answer.content_type
            if answer.content_length is not None:
                response.content_length = answer.content_length
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response


async def serve(upstream: str, key: str) -> None:
    """Serve until the process is ended."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        server = web.Server(Passthrough(upstream, key, session).handle, access_log=None)
        runner = web.ServerRunner(server)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Run on uvloop where it installs, as the daemon does."""
    try:
        from uvloop import run
    except ImportError:
        run = asyncio.run
    run(serve(f"http://127.0.0.1:{sys.argv[1]}", sys.argv[2]))


if __name__ == "__main__":
    main()
