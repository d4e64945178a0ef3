"""One call's way out and its answer's way back, with the meter in between.

Whatever ends it (the provider, the client, a kill, the money, this process), the flight is
settled or voided first, and then the client is told as far as it can be.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from multidict import CIMultiDict

from agentwatch.core.money import usd_text
from agentwatch.daemon import failpoints, words
from agentwatch.daemon.encodings import Decoder, Undecodable, decoder
from agentwatch.daemon.flight import Flight, OutOfMoney
from agentwatch.daemon.refusals import refusal_for
from agentwatch.daemon.trace import Trace
from agentwatch.daemon.upstream import Answer, Lost, NotSent, Upstream
from agentwatch.errors import Refusal
from agentwatch.wire.dialect import Meter

if TYPE_CHECKING:
    from agentwatch.daemon.governor import Call

logger = logging.getLogger(__name__)

#: an answer that is not streamed is kept up to this size, so that its cost can go before it
WHOLE_LIMIT = 32 << 20
#: the last word to a client may take so long
LAST_WORD_S = 2.0

#: what the session has left, in nanos; None: nothing bounds it
Left = Callable[[], int | None]


class ClientGone(Exception):
    """The client does not take any more bytes."""


class Client(Protocol):
    """Who gets the answer. All methods but `when_gone` raise ClientGone."""

    def when_gone(self, do: Callable[[], None]) -> None:
        """Call `do` when the client has gone away; at once where it has already."""
        ...

    async def whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a whole answer."""
        ...

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Begin an answer of unknown length."""
        ...

    async def write(self, data: bytes) -> None:
        """Send some more of it."""
        ...

    async def finish(self) -> None:
        """It is complete."""
        ...

    def break_off(self) -> None:
        """Close the connection, so that the answer can't be taken for complete."""
        ...


class Relay:
    """Carries one call."""

    def __init__(
        self,
        upstream: Upstream,
        client: Client,
        call: Call,
        credential: tuple[str, str],
        in_doubt: str,
    ) -> None:
        self._upstream = upstream
        self._client = client
        self._call = call
        self._credential = credential
        self._in_doubt = in_doubt
        self._client_lost = False
        self._started = False
        #: fits one of our events behind those that the client has got; None: none may follow
        self._fit: Callable[[bytes], bytes] | None = None

    async def pass_on(self) -> None:
        """A call that costs nothing: there and back."""
        try:
            answer = await self._send(None)
        except (NotSent, Lost) as error:
            await self._answer_badly(str(error), {})
            return
        await self._copy(answer, {"x-agentwatch-session-id": self._call.session_id})

    async def fly(self, flight: Flight, limit: int | None, left: Left) -> None:
        """A call that is paid for. When this returns the flight is settled or voided."""
        headers = _headers(flight, limit)
        answer: Answer | None = None
        try:
            flight.leave()
            answer = await self._send(limit, flight.trace)
            flight.trace.status = answer.status
            if answer.status >= 300:
                flight.void(f"refused by the provider: {answer.status}")
                await self._copy(answer, headers)
            elif answer.is_stream or self._call.ask.json_array:
                await self._stream(flight, answer, headers)
            else:
                await self._whole(flight, answer, headers, left)
        except NotSent as error:
            flight.void("never sent")
            await self._answer_badly(str(error), headers)
        except Lost as error:
            flight.settle_in_doubt(self._in_doubt)
            await self._answer_badly(str(error), headers)
        except asyncio.CancelledError:
            _cancelled_no_more()
            await self._ended(flight, headers)
        except ClientGone:
            flight.settle_in_doubt(self._in_doubt)
        finally:
            if answer is not None:
                answer.abort()

    async def _send(self, limit: int | None, trace: Trace | None = None) -> Answer:
        call = self._call
        body = call.request.body(limit)
        if trace is not None:
            trace.sent(body)
        failpoints.at("before_send")
        answer = await self._upstream.send(
            call.method,
            call.ask.upstream_path,
            call.headers,
            self._credential,
            body,
        )
        failpoints.at("after_head")
        return answer

    # ---- answers

    async def _copy(self, answer: Answer, headers: Mapping[str, str]) -> None:
        """An answer that is not metered, as it comes."""
        try:
            await self._start(answer, headers)
            async for chunk in answer.chunks():
                await self._write(chunk)
                if self._client_lost:
                    break
            await self._finish()
        except Lost:
            self._client.break_off()
        finally:
            answer.abort()

    async def _whole(
        self, flight: Flight, answer: Answer, headers: dict[str, str], left: Left
    ) -> None:
        meter = self._call.request.meter(streamed=False)
        meter.head(answer.headers)
        unpack = _Unpack(answer, meter, flight.trace)
        kept = bytearray()
        if answer.headers.get("Content-Type", "").startswith("audio/"):
            await self._start(answer, headers)  # it is played as it comes
        async for chunk in answer.chunks():
            unpack.feed(chunk)
            if self._started:
                await self._write(chunk)
                continue
            kept += chunk
            if len(kept) > WHOLE_LIMIT:
                await self._start(answer, headers)
                await self._write(bytes(kept))
                kept.clear()
        unpack.close()
        cost = self._charge(flight, meter, unpack.blind or not meter.complete)
        if self._started:
            await self._finish()
            return
        await flight.until_paid()
        headers["x-agentwatch-cost-usd"] = usd_text(cost)
        remaining = left()
        if remaining is not None:
            headers["x-agentwatch-remaining-usd"] = usd_text(max(0, remaining))
        await self._client.whole(answer.status, _merged(answer, headers), bytes(kept))

    async def _stream(self, flight: Flight, answer: Answer, headers: dict[str, str]) -> None:
        meter = self._call.request.meter(streamed=answer.is_stream)
        meter.head(answer.headers)
        unpack = _Unpack(answer, meter, flight.trace)
        try:
            await self._start(answer, headers, plain=unpack.decodes)
            # into what stays encoded no last word of ours can be put: it is broken off
            self._fit = None if unpack.untouched else meter.last_word
            async for chunk in answer.chunks():
                out = unpack.feed(chunk)
                await flight.pay_for(meter)
                if out:
                    await self._write(out)
                if unpack.blind and unpack.decodes:
                    # it was promised decoded, and what comes now can't be
                    raise Lost("the provider's answer can't be decoded")
            rest = unpack.close()
        except OutOfMoney:
            self._charge(flight, meter, unpack.blind)
            await self._last_word("agent_budget_exceeded", words.cut(flight.shortest))
        except Refusal as refusal:
            self._charge(flight, meter, unpack.blind)
            await self._last_word(refusal.reason, refusal.message)
        except Lost:
            self._charge(flight, meter, unpack.blind)
            await self._write(unpack.close())
            self._client.break_off()
        except asyncio.CancelledError:
            self._charge(flight, meter, unpack.blind)
            raise
        else:
            self._charge(flight, meter, unpack.blind)
            await self._write(rest)
            await self._finish()

    def _charge(self, flight: Flight, meter: Meter, blind: bool) -> int:
        """Settle by what was read; where some of it could not be read, as if nothing had come."""
        if blind and meter.usage is None:
            return flight.settle_in_doubt(self._in_doubt, "the answer could not be read")
        return flight.settle(meter)

    # ---- endings

    async def _ended(self, flight: Flight, headers: Mapping[str, str]) -> None:
        """Ended from outside: settle what is not settled yet, and say why."""
        if self._call.ask.stream and not self._started:
            # it has not begun to answer: what was seen is nothing
            flight.settle(self._call.request.meter(streamed=True))
        else:
            flight.settle_in_doubt(self._in_doubt)
        if flight.ended_by == "killed":
            await self._last_word("session_killed", words.barred(flight.session, "killed"), headers)
        elif flight.ended_by == "stopping":
            await self._last_word("governance_unavailable", words.stopping(), headers)
        elif self._started:
            self._client.break_off()

    async def _last_word(
        self, reason: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """End the answer with the provider's own kind of error."""
        if self._client_lost:
            return
        if self._started and self._fit is None:
            self._client.break_off()
            return
        dialect, api = self._call.dialect, self._call.ask.api
        try:
            async with asyncio.timeout(LAST_WORD_S):
                if self._started and self._fit is not None:
                    await self._client.write(self._fit(dialect.stream_error(api, reason, message)))
                    await self._client.finish()
                else:
                    status, body = refusal_for(self._call.headers, dialect, reason, message)
                    told = {**(headers or {}), **refusal_headers(reason)}
                    await self._client.whole(status, told, body)
        except (ClientGone, TimeoutError):
            self._client.break_off()

    async def _answer_badly(self, message: str, headers: Mapping[str, str]) -> None:
        """The provider could not be reached, or fell silent."""
        if self._started:
            self._client.break_off()
            return
        _, body = self._call.dialect.refusal("upstream_failed", f"AgentWatch: {message}", 502)
        try:
            await self._client.whole(502, {**headers, "Content-Type": "application/json"}, body)
        except ClientGone:
            pass

    # ---- the client, who may be gone while the answer is still read

    async def _start(
        self, answer: Answer, headers: Mapping[str, str], *, plain: bool = False
    ) -> None:
        passed = _merged(answer, headers)
        if plain:
            passed.popall("Content-Encoding", None)
        self._started = True
        await self._try(self._client.start(answer.status, passed))

    async def _write(self, data: bytes) -> None:
        if data and not self._client_lost:
            await self._try(self._client.write(data))

    async def _finish(self) -> None:
        if not self._client_lost:
            await self._try(self._client.finish())

    async def _try(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except ClientGone:
            self._client_lost = True


class _Unpack:
    """Feeds a meter with an answer's decoded bytes; what comes out is for the client.

    An answer that comes encoded, though it was not asked for so, is handed on as it comes
    (`untouched`), and decoded only where the meter has something to take out of it (`decodes`).
    `blind` tells that some of the answer could not be decoded, so that the meter has not seen it.
    """

    def __init__(self, answer: Answer, meter: Meter, trace: Trace) -> None:
        self._trace = trace
        encoding = answer.headers.get("Content-Encoding", "")
        self._decoder: Decoder | None = decoder(encoding)
        encoded = encoding.lower() not in ("", "identity")
        self.decodes = encoded and self._decoder is not None and meter.rewrites
        self.untouched = encoded and not self.decodes
        self.blind = self._decoder is None
        self._meter = meter

    def feed(self, chunk: bytes) -> bytes:
        failpoints.at("chunk")
        if self._decoder is None:
            return b"" if self.decodes else chunk
        try:
            plain = self._decoder.feed(chunk)
            self._trace.came(plain)
            out = self._meter.feed(plain)
            return chunk if self.untouched else out
        except Undecodable as error:
            logger.warning("an answer can't be decoded: %s", error)
            self._decoder, self.blind = None, True
            return chunk if self.untouched else b""

    def close(self) -> bytes:
        """The answer is at its end: what the meter kept back."""
        if self._decoder is not None and not self._decoder.done:
            self.blind = True
        rest = self._meter.close()
        return b"" if self.untouched else rest


def _cancelled_no_more() -> None:
    """The cancellation ends here. Python 3.11.2, which Debian 12 has, would else take a time-out of
    what is still done for the cancellation itself, and hand it on."""
    task = asyncio.current_task()
    while task is not None and task.uncancel() > 0:
        pass


def _merged(answer: Answer, headers: Mapping[str, str]) -> CIMultiDict[str]:
    """The answer's headers, each as often as it came, and ours."""
    merged = answer.passed_headers()
    merged.update(headers)
    return merged


def refusal_headers(reason: str) -> dict[str, str]:
    """What goes with every refusal: no client is to ask again."""
    return {
        "Content-Type": "application/json",
        "x-should-retry": "false",
        "x-agentwatch-denied": reason,
    }


def _headers(flight: Flight, limit: int | None) -> dict[str, str]:
    headers = {
        "x-agentwatch-session-id": flight.session_id,
        "x-agentwatch-iteration": str(flight.iteration),
        "x-agentwatch-request-id": flight.hold_id,
    }
    if limit is not None:
        headers["x-agentwatch-clamped"] = str(limit)
    return headers
