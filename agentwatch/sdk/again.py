"""A request that nobody can have read is asked again: a daemon that gives its place to another may
close a connection that one is on its way on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import cache
from types import ModuleType
from typing import Any

from agentwatch.sdk.door import Door

#: processes that may go one after the other before a request is read
MOST_TIMES = 3


class Body:
    """A body in memory, and whether a connection has taken all of it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.is_taken = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream
        self.is_taken = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk
        self.is_taken = True


def watched_body(lib: ModuleType, stream: Any) -> Any:
    """A request's body as it is sent: watched, where it is in memory and can be sent again."""
    return _body_class(lib)(stream) if isinstance(stream, lib.ByteStream) else stream


@cache
def _body_class(lib: ModuleType) -> Any:
    return type("Body", (Body, lib.ByteStream), {})


def is_unheard(lib: ModuleType, error: Exception, request: Any, door: Door) -> bool:
    """Whether nobody can have read the whole of the request that failed so: it was not sent, or the
    kernel says that the other side of a Unix socket went without having read it."""
    if isinstance(error, lib.TimeoutException):
        return False
    if isinstance(error, lib.ConnectError):
        return True
    if not isinstance(request.stream, Body):
        return False
    return not request.stream.is_taken or (isinstance(door.address, str) and _is_reset(error))


def _is_reset(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (ConnectionResetError, BrokenPipeError)):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
