"""Answers on their way to a client: ended where the daemon ends them, metered where it is away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import cache
from types import ModuleType
from typing import Any

from agentwatch.sdk.denial import LastEvent
from agentwatch.sdk.loops import elsewhere
from agentwatch.sdk.session import Session
from agentwatch.sdk.straight import Tap


@cache
def stream_class(lib: ModuleType, kind: type) -> Any:
    """A stream of these kinds as a class of `lib`, which asks for its own."""
    base = lib.AsyncByteStream if hasattr(kind, "__aiter__") else lib.SyncByteStream
    return type(kind.__name__, (kind, base), {})


class _ToItsEnd:
    """An answer's events, up to the one by which the daemon ends them; there it raises ours."""

    def __init__(self, stream: Any, session: Session) -> None:
        self._stream = stream
        self._session = session
        self._last = LastEvent()

    def _until_end(self, chunk: bytes) -> Iterator[bytes]:
        end = self._last.feed(chunk)
        if end is None:
            yield chunk
            return
        before, reason, message = end
        if before:
            yield before
        error = self._session.ended_by(reason, message).error()
        if error is not None:
            raise error
        yield chunk[len(before) :]


class Ending(_ToItsEnd):
    """For sync clients."""

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            yield from self._until_end(chunk)

    def close(self) -> None:
        self._stream.close()


class AsyncEnding(_ToItsEnd):
    """For async clients."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            for piece in self._until_end(chunk):
                yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


class Tapped:
    """An answer that came straight from the provider, metered."""

    def __init__(self, stream: Any, tap: Tap) -> None:
        self._stream = stream
        self._tap = tap

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            if out := self._tap.feed(chunk):
                yield out
        if rest := self._tap.close():
            yield rest

    def close(self) -> None:
        self._tap.close()
        self._stream.close()


class AsyncTapped:
    """The same for async clients."""

    def __init__(self, stream: Any, tap: Tap) -> None:
        self._stream = stream
        self._tap = tap

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            if out := self._tap.feed(chunk):
                yield out
        if rest := await elsewhere(self._tap.close):
            yield rest

    async def aclose(self) -> None:
        try:
            await elsewhere(self._tap.close, always=True)
        finally:
            await self._stream.aclose()
