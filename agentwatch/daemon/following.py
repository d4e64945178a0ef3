"""Events as server-sent events: an answer that stays open for as long as somebody follows."""

from __future__ import annotations

import asyncio
import contextlib
import json

from aiohttp import web

from agentwatch.daemon.doors import connection_of
from agentwatch.daemon.events import Events, Follower

#: an event stream says so often that it is still there
HEARTBEAT_S = 15.0


async def follow(
    request: web.BaseRequest, events: Events, session_id: str | None
) -> web.StreamResponse:
    """Tell what happens from now on to one session (None: to all), until the connection ends."""
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    connection_of(request).follows = True
    # who follows goes when he likes
    with events.follow(session_id) as follower, contextlib.suppress(ConnectionResetError):
        await answer.prepare(request)
        await answer.write(b": following\n\n")
        while not connection_of(request).is_closing:
            await answer.write(await _next(follower))
    return answer


async def _next(follower: Follower) -> bytes:
    try:
        async with asyncio.timeout(HEARTBEAT_S):
            event = await follower.next()
    except TimeoutError:
        return b": still here\n\n"
    return b"data: " + json.dumps(event).encode() + b"\n\n"
