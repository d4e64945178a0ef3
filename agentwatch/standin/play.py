"""One answer from its plan to its last byte: how fast, how far, and where it breaks.

Each token is billed when it is made, before it is sent, and whether or not anybody still listens:
what the client hung up on was made all the same.
"""

from __future__ import annotations

import asyncio

from agentwatch.standin.bill import Entry
from agentwatch.standin.line import Line
from agentwatch.standin.provider import Call, Plan, Voice

#: tokens between two looks at whether anybody still listens
_BREATH = 16
_FOR_EVER_S = 86_400.0


class BrokenOffError(Exception):
    """The answer was broken off as its script says; `how` is what the bill calls that."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class Play:
    """Plays one call. `run` returns how it ended; a cancellation is the client's going."""

    def __init__(
        self,
        call: Call,
        plan: Plan,
        voice: Voice,
        entry: Entry,
        line: Line,
        headers: dict[str, str],
    ) -> None:
        self._call, self._plan, self._voice = call, plan, voice
        self._entry, self._line, self._headers = entry, line, headers
        self._script = plan.script
        self._streamed = call.stream and call.api != "embeddings"

    async def run(self) -> str:
        """Answer. Returns "done" or what broke it."""
        try:
            await self._pause(self._script.head_delay)
            await self._trip("before_head")
            if self._streamed:
                await self._stream()
            else:
                await self._whole()
        except BrokenOffError as broken:
            return broken.how
        return "done"

    async def _stream(self) -> None:
        await self._line.stream(self._headers)
        await self._trip("after_head")
        await self._comments()
        await self._line.events(self._voice.opening())
        await self._tokens()
        await self._line.events(self._voice.closing())
        await self._line.finish()

    async def _whole(self) -> None:
        await self._tokens()
        body = self._voice.whole()
        if self._script.cut is not None or self._script.hang == "after_head":
            await self._line.whole(self._headers, body, share=0.5)
            await self._trip("after_head")
            self._line.hang_up()
            raise BrokenOffError("cut")
        if self._script.reset == "after_head":
            await self._line.whole(self._headers, body, share=0.5)
            await self._trip("after_head")
        await self._line.whole(self._headers, body)
        await self._line.finish()

    async def _tokens(self) -> None:
        if not self._streamed and self._at_once():
            self._make(self._plan.made)
            return
        for index in range(self._plan.made):
            await self._break_at(index)
            await self._breathe(index)
            self._make(1)
            if self._streamed and index >= self._plan.reasoning:
                await self._say(index - self._plan.reasoning)
        await self._break_at(None)

    def _at_once(self) -> bool:
        script = self._script
        odd = (script.delay, script.hang, script.reset, script.end, script.error)
        return all(one in (None, 0.0, "after_head") for one in odd)

    def _make(self, count: int) -> None:
        entry = self._entry
        before = entry.completion_tokens // max(self._call.made_choices, 1)
        thought = min(before + count, self._plan.reasoning) - min(before, self._plan.reasoning)
        entry.completion_tokens += count * self._call.made_choices
        entry.reasoning += thought * self._call.made_choices

    async def _say(self, index: int) -> None:
        piece = self._plan.piece(index)
        for choice in range(self._call.choices):
            await self._line.events(self._voice.token(piece, choice))

    async def _breathe(self, index: int) -> None:
        if self._script.delay:
            await asyncio.sleep(self._script.delay)
        elif index % _BREATH == 0:
            await asyncio.sleep(0)

    async def _break_at(self, index: int | None) -> None:
        """Break off where the script says; None: after the last token."""
        script = self._script
        if self._due(script.hang, index):
            await asyncio.sleep(_FOR_EVER_S)
        if self._due(script.reset, index):
            self._line.reset()
            raise BrokenOffError("reset")
        if self._due(script.error, index):
            await self._fail()
        if self._due(script.cut, index) and self._streamed:
            self._line.hang_up()
            raise BrokenOffError("cut")
        if self._due(script.end, index):
            await self._stop()

    def _due(self, at: str | int | None, index: int | None) -> bool:
        if at is None or (isinstance(at, str) and not at.isdigit()):
            return False
        return int(at) >= self._plan.made if index is None else int(at) == index

    async def _fail(self) -> None:
        broken = self._voice.broken(self._script.error_as)
        if self._streamed:
            await self._line.events(broken)
        else:
            await self._line.whole(self._headers, broken)
        await self._line.finish()
        raise BrokenOffError("error")

    async def _stop(self) -> None:
        if not self._streamed:
            body = self._voice.whole()
            await self._line.whole(self._headers, body[: len(body) // 2])
        await self._line.finish()
        raise BrokenOffError("end")

    async def _trip(self, place: str) -> None:
        if self._script.hang == place:
            await asyncio.sleep(_FOR_EVER_S)
        if self._script.reset == place:
            self._line.reset()
            raise BrokenOffError("reset")

    async def _comments(self) -> None:
        left = self._script.comments
        while left:
            await self._line.events(b": still here\n\n")
            await asyncio.sleep(self._script.delay)
            left -= 1

    async def _pause(self, seconds: float) -> None:
        if seconds:
            await asyncio.sleep(seconds)
