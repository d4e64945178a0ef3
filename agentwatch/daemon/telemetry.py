"""Records of calls on their way to the telemetry process: a bounded queue that never waits.

`put` is all that a call does, after its books are closed. Where the queue is full a record goes
without what was said; where even records are too many, it is dropped. Both are counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from agentwatch.core.call_record import CallRecord
from agentwatch.daemon.metrics import Metrics
from agentwatch.daemon.tasks import Tasks
from agentwatch.daemon.telemetry_frames import Ask, Batch, Item, Setup, Written
from agentwatch.daemon.telemetry_link import Gone, Link
from agentwatch.errors import AgentWatchError, Refusal
from agentwatch.settings import Settings

logger = logging.getLogger(__name__)

#: records, and bytes of what was said, that may wait
MOST_RECORDS = 20_000
MOST_BYTES = 64 << 20
#: a request or answer that is larger is not looked at, and not kept
LARGEST_BODY = 8 << 20
#: what goes into one transaction
BATCH_RECORDS, BATCH_BYTES = 200, 4 << 20
ANSWER_S = 60.0
#: what a look at a session waits for its last calls' risks
PATIENCE_S = 1.0
FIRST_S = 5.0
#: records of the first calls may wait so long for their process: calls that waited for this one to
#: serve come first, and its start takes a processor for as long as some hundred of them
LATER_S = 0.5
#: what the first look of all may take: its process is only just being started
START_S = 15.0
#: what is queued may take so long to be written when the daemon stops
CLOSE_S = 5.0

#: is told of a session and the tags that were seen in one of its calls
Seen = Callable[[str, list[str]], None]


class Telemetry:
    """The daemon's side of it."""

    def __init__(self, settings: Settings, tasks: Tasks, seen: Seen) -> None:
        policy = settings.risks.policy()
        #: whether what calls say is wanted, or only how they went
        self.wants_text = bool(policy.tags) or settings.telemetry.keeps_text
        #: whether a request is to be looked at before it is sent
        self.blocks = bool(policy.blocked)
        self.metrics = Metrics()
        self.written = self.dropped = self.stripped = 0
        self._warmed = False
        self._block_within_s = settings.risks.block_within_s
        self._seen = seen
        self._tasks = tasks
        self._queue: deque[Item | Ask] = deque()
        self._bytes = 0
        self._some = asyncio.Event()
        self._asked = asyncio.Event()
        self._told_failure = False
        file = str(settings.paths.telemetry)
        setup = Setup(file, settings.telemetry, settings.risks)
        self._link = Link(setup, tasks, self._heard)
        looking = Setup(None, settings.telemetry, settings.risks)
        self._gate = Link(looking, tasks, self._heard)
        self._sending: asyncio.Task[None] | None = None
        self._first: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Begin. The process is started soon after the first call, or after a while without one:
        what is too old is removed, and what an earlier process could not finish removing."""
        self._sending = self._tasks.spawn(self._send_all(), "telemetry")
        if self.blocks:
            self._tasks.spawn(self._warm(), "the gate for risks")
        self._first = asyncio.get_running_loop().call_later(FIRST_S, self._ask, "stats", {})

    def put(self, item: Item) -> None:
        """Take a call that is over."""
        self.metrics.saw(item.record)
        size = _size(item)
        if len(self._queue) >= MOST_RECORDS:
            self.dropped += 1
            return
        if size and (size > 2 * LARGEST_BODY or self._bytes + size > MOST_BYTES):
            self.stripped += 1
            item, size = Item(item.record), 0
        self._bytes += size
        self._queue.append(item)
        self._some.set()

    def tell(self, record: CallRecord) -> None:
        """Take the record of a call of which nothing was seen here, and its risks, if any."""
        if record.risks:
            self.saw_risks(record.session_id, record.risks)
        self.put(Item(record))

    def saw_risks(self, session_id: str, tags: list[str]) -> None:
        """Count what was seen in one call of a session."""
        self.metrics.saw_risks(tags)
        self._seen(session_id, tags)

    @property
    def waiting(self) -> int:
        """Records and questions in the queue."""
        return len(self._queue)

    async def ask(self, verb: str, **arguments: Any) -> Any:
        """Ask the process, behind all that is queued. Raises AgentWatchError."""
        try:
            return await asyncio.wait_for(self._ask(verb, arguments), ANSWER_S)
        except TimeoutError:
            raise Gone("the telemetry process is behind: ask again") from None

    async def looked_through(self) -> None:
        """Wait until what is over by now was looked at; not for long."""
        if self._queue or self._link.out:
            with contextlib.suppress(AgentWatchError, TimeoutError):
                await asyncio.wait_for(self._ask("stats", {}), PATIENCE_S)

    async def check(self, body: bytes) -> None:
        """Look at a request before it is sent. Raises Refusal (bad_request) for one that has what
        is to be blocked, and for one that could not be looked at in time."""
        try:
            if len(body) > LARGEST_BODY:
                raise Gone("it is too large to be looked at")
            async with asyncio.timeout(self._block_within_s if self._warmed else START_S):
                question, answer = self._gate.question("blocked", {"body": body})
                await self._gate.put(question)
                tags = await answer
            self._warmed = True
        except (AgentWatchError, TimeoutError) as error:
            why = str(error) or "that took too long ([risks] block_within_s)"
            raise Refusal(
                "bad_request",
                f"AgentWatch: this request could not be looked at for what [risks] blocks: {why}; "
                "nothing was sent",
            ) from None
        if tags:
            raise Refusal(
                "bad_request",
                f"AgentWatch: this request holds what [risks] blocks: {', '.join(tags)}; nothing "
                "was sent. Take it out, or allow it in config.toml ([risks] allow)",
            )

    async def close(self) -> None:
        """Write what is queued, and end the process."""
        if self._first is not None:
            self._first.cancel()
        if self._queue:
            with contextlib.suppress(AgentWatchError, TimeoutError):
                await asyncio.wait_for(self._ask("stats", {}), CLOSE_S)
        if self._sending is not None:
            self._sending.cancel()
        await self._link.close()
        await self._gate.close()

    # ---- the queue

    def _ask(self, verb: str, arguments: dict[str, Any]) -> asyncio.Future[Any]:
        question, answer = self._link.question(verb, arguments)
        answer.add_done_callback(_heard_of)
        self._queue.append(question)
        self._asked.set()
        self._some.set()
        return answer

    async def _send_all(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._asked.wait(), LATER_S)
        while True:
            await self._some.wait()
            while self._queue:
                if isinstance(self._queue[0], Ask):
                    await self._link.put(self._queue.popleft())  # type: ignore[arg-type]
                else:
                    await self._link.send(Batch(self._next_batch()))
            self._some.clear()

    def _next_batch(self) -> list[Item]:
        items: list[Item] = []
        size = 0
        while self._queue and len(items) < BATCH_RECORDS and size < BATCH_BYTES:
            item = self._queue[0]
            if isinstance(item, Ask):
                break
            self._queue.popleft()
            items.append(item)
            size += _size(item)
        self._bytes -= size
        return items

    async def _warm(self) -> None:
        """Have the process there before the first call waits for it."""
        with contextlib.suppress(Refusal):
            await self.check(b"{}")

    def _heard(self, told: Written) -> None:
        for session, tags in told.risks:
            self.saw_risks(session, tags)
        if told.failed is None:
            self.written += told.count
            self._told_failure = False
            return
        self.dropped += told.count
        if not self._told_failure:
            logger.error("telemetry is not written: %s", told.failed)
        self._told_failure = True


def _size(item: Item) -> int:
    return len(item.request or b"") + len(item.answer or b"")


def _heard_of(answer: asyncio.Future[Any]) -> None:
    """An answer that nobody waits for any more is no failure of a task."""
    if not answer.cancelled():
        answer.exception()
