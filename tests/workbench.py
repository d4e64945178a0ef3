"""A governor in the test's own process, with parts that a test can break.

For what can't be had from outside: a journal that fails, an answer of any chunks, a client that
goes away between two given bytes. The wire, the prices, the ledger and the store are the real ones.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

from multidict import CIMultiDict

from agentwatch.core.prices import PriceBook
from agentwatch.daemon.events import Events
from agentwatch.daemon.governor import Call, Governor
from agentwatch.daemon.relay import ClientGone
from agentwatch.daemon.tasks import Tasks
from agentwatch.daemon.telemetry import Telemetry
from agentwatch.daemon.upstream import Lost, NotSent
from agentwatch.daemon.watch import Watch
from agentwatch.errors import JournalUnavailable
from agentwatch.pricing import load_book
from agentwatch.settings import Settings, load_settings
from agentwatch.store.alerts import AlertStore
from agentwatch.store.memory import MemoryJournal
from agentwatch.store.protocol import Batch
from agentwatch.store.store import Store
from agentwatch.wire.openai import OpenAI

END = object()


@lru_cache(maxsize=1)
def book() -> PriceBook:
    """The shipped prices."""
    return load_book(None)


def settings(**variables: str) -> Settings:
    """The defaults, but for these variables (without their AGENTWATCH_)."""
    told = {f"AGENTWATCH_{name.upper()}": value for name, value in variables.items()}
    return load_settings(environ={"AGENTWATCH_HOME": "/nonexistent/home", **told})


class Keys:
    """One key for each provider."""

    def provider(self, name: str) -> str | None:
        return "sk-real"


class BrokenJournal(MemoryJournal):
    """A journal whose disk can be full (`broken`), or so slow that it stands (`stuck`)."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = self.stuck = False
        self._kept: tuple[Batch, Callable[[Exception | None], None]] | None = None

    def append(self, batch: Batch, done: Callable[[Exception | None], None]) -> None:
        if self.stuck:
            self._kept = batch, done
        elif self.broken:
            loop = asyncio.get_running_loop()
            loop.call_soon(done, JournalUnavailable("no space left on device"))
        else:
            super().append(batch, done)

    def release(self) -> None:
        """The disk goes on."""
        self.stuck, kept, self._kept = False, self._kept, None
        if kept is not None:
            self.append(*kept)


class FakeAnswer:
    """An answer whose chunks the test puts in one by one, or all at once."""

    def __init__(self, *chunks: bytes | object, status: int = 200, **headers: str) -> None:
        self.status = status
        self.headers: CIMultiDict[str] = CIMultiDict(
            {name.replace("_", "-"): value for name, value in headers.items()}
        )
        self.headers.setdefault("Content-Type", "text/event-stream")
        self._chunks: asyncio.Queue[Any] = asyncio.Queue()
        self.aborted = False
        for chunk in chunks:
            self.put(chunk)

    def put(self, chunk: bytes | BaseException | object) -> None:
        """Bytes, an error that breaks the line, or END."""
        self._chunks.put_nowait(chunk)

    def passed_headers(self) -> CIMultiDict[str]:
        return CIMultiDict(self.headers)

    @property
    def is_stream(self) -> bool:
        return self.headers["Content-Type"].startswith("text/event-stream")

    async def chunks(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not END:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk

    def abort(self) -> None:
        self.aborted = True


class FakeUpstream:
    """Answers each request with the next of these: an answer, an error to raise, or None for
    one that hangs."""

    def __init__(self, *answers: FakeAnswer | BaseException | None) -> None:
        self._answers = list(answers)
        self.sent: list[dict[str, Any]] = []
        self.credentials: list[tuple[str, str]] = []

    def will(self, answer: FakeAnswer | BaseException | None) -> None:
        """The next answer after those that are there already."""
        self._answers.append(answer)

    async def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        credential: tuple[str, str],
        body: bytes,
    ) -> FakeAnswer:
        self.sent.append(json.loads(body))
        self.credentials.append(credential)
        await asyncio.sleep(0)
        answer = self._answers.pop(0)
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, BaseException):
            raise answer
        assert answer is not None
        return answer


class FakeClient:
    """Keeps what it gets; takes no more than `takes` bytes."""

    def __init__(self, takes: int | None = None) -> None:
        self.status: int | None = None
        self.headers: CIMultiDict[str] = CIMultiDict()
        self.body = b""
        self.finished = self.broken_off = False
        self._takes = takes
        self._when_gone: list[Callable[[], None]] = []

    def when_gone(self, do: Callable[[], None]) -> None:
        self._when_gone.append(do)

    def go(self) -> None:
        """Hang up."""
        self._takes = 0
        for do in self._when_gone:
            do()

    async def whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        assert self.status is None, "an answer was begun already"
        await self.start(status, headers)
        await self.write(body)
        await self.finish()

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        assert self.status is None, "an answer was begun already"
        self._check()
        self.status, self.headers = status, CIMultiDict(headers)

    async def write(self, data: bytes) -> None:
        self._check()
        self.body += data
        if self._takes is not None and len(self.body) >= self._takes:
            self.go()

    async def finish(self) -> None:
        self._check()
        self.finished = True

    def break_off(self) -> None:
        self.broken_off = True
        self.go()

    def _check(self) -> None:
        if self._takes == 0:
            raise ClientGone


class Bench:
    """A governor and what it stands on."""

    def __init__(self, upstream: Any, journal: BrokenJournal, **variables: str) -> None:
        self.upstream = upstream
        self.journal = journal
        self.store = Store(journal)
        self.tasks = Tasks()
        self.events = Events()
        told = settings(**variables)
        self.watch = Watch(self.store, AlertStore(None), told.anomalies, self.events)
        #: without its process: what is put stays in the queue
        self.telemetry = Telemetry(told, Tasks(), self.store.count_risks)
        self.governor = Governor(
            self.store,
            book(),
            {"openai": upstream},
            Keys(),
            told,
            self.tasks,
            self.events,
            self.watch,
            self.telemetry,
        )

    def open(self, usd: float | None = 1.0, name: str = "s", **terms: Any) -> Any:
        """A session."""
        ceiling = None if usd is None else round(usd * 1e9)
        return self.store.open_session(name, ceiling=ceiling, **terms)[0]

    def call(self, path: str = "/chat/completions", name: str = "s", **fields: Any) -> Call:
        """A request of this session's agent."""
        said = {"model": "gpt-4", "max_tokens": 100, **fields}
        if path == "/chat/completions":
            said.setdefault("messages", [{"role": "user", "content": "hello"}])
        dialect = OpenAI()
        ask, request = dialect.read("POST", path, "", {}, json.dumps(said).encode())
        return Call(name, dialect, ask, request, "POST", {}, ("Authorization", "Bearer "))

    def start(self, client: FakeClient | None = None, **fields: Any) -> asyncio.Task[None]:
        """Serve a call in a task of its own."""
        serving = self.governor.serve(self.call(**fields), client or FakeClient())
        return self.tasks.spawn(serving, "a test's call")


@asynccontextmanager
async def bench(
    *answers: FakeAnswer | BaseException | None, upstream: Any = None, **variables: str
) -> AsyncIterator[Bench]:
    """A governor whose upstream gives these answers; all is ended afterwards."""
    made = Bench(upstream or FakeUpstream(*answers), BrokenJournal(), **variables)
    await made.store.open()
    await made.watch.open()
    try:
        yield made
    finally:
        made.journal.release()
        made.governor.end_calls("stopping")
        await made.tasks.end(0.1)
        await made.store.close()
        await made.watch.alerts.close()


async def until(look: Callable[[], Any], timeout: float = 10.0) -> None:
    """Let the loop run until `look` is true. Raises TimeoutError."""
    async with asyncio.timeout(timeout):
        while not look():  # noqa: ASYNC110 - what is looked at has no event
            await asyncio.sleep(0.001)


def event(**chunk: Any) -> bytes:
    """One server-sent event of a chat."""
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def said(*words: str) -> bytes:
    """One event of a chat for each word."""
    return b"".join(event(choices=[{"delta": {"content": word}}]) for word in words)


DONE = b"data: [DONE]\n\n"
LOST = Lost("the provider's answer broke off")
NOT_SENT = NotSent("openai can't be reached")


def usage(given: int, made: int) -> dict[str, int]:
    """A usage object of a chat."""
    return {"prompt_tokens": given, "completion_tokens": made}
