"""A call that goes to the provider itself, as the daemon is away: read and metered by the same
code as in the daemon, and kept in the spool. What can't be priced is refused here too.

msgspec and the wires are loaded by the first such call, not before.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentwatch.errors import Refusal
from agentwatch.sdk.denial import Denial
from agentwatch.sdk.spool import Entry, Spool
from agentwatch.upstreams import PUBLIC_UPSTREAMS, public_place

if TYPE_CHECKING:
    from agentwatch.sdk.session import Session
    from agentwatch.wire.dialect import Ask, Dialect, Meter, Request

#: the class of each provider's wire, as far as a public address tells it
_WIRES = {
    "openai": "OpenAI",
    "anthropic": "Anthropic",
    "groq": "Groq",
    "xai": "XAI",
    "gemini": "Gemini",
    "mistral": "Mistral",
}


def prepare(
    session: Session,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    base: str = "",
) -> Alone | Denial:
    """Read the call, and write down the most that it may cost. `path` as at the daemon; `base` is
    a base URL of the client's own. What that one's provider is called, and asks for its work, is
    in the daemon's configuration, so the address is kept."""
    _, provider, below = path.split("/", 2)
    target, _, query = f"/{below}".partition("?")
    if (place := public_place(base)) is not None:
        provider, target = place.provider, place.path(target)
    dialect = _dialect(provider).at(target)
    try:
        ask, request = dialect.read(method, target, query, headers, body)
    except Refusal as refusal:
        status, told = dialect.refusal(refusal.reason, refusal.message, refusal.status)
        return Denial(refusal.reason, refusal.message, session.id, status=status, body=told)
    if ask.free:
        return Alone(request, None)
    return Alone(request, Spool.of(session.terms).begin(session, _kept(ask), base))


def _kept(ask: Ask) -> dict[str, Any]:
    """What bears on the price; what was said, and its fingerprints, stay out of files."""
    import msgspec

    told: dict[str, Any] = msgspec.structs.asdict(ask)
    del told["marks"], told["thread"]
    return dict(msgspec.to_builtins(told))


def _dialect(provider: str) -> Dialect:
    module = importlib.import_module(f"agentwatch.wire.{provider}")
    kind = getattr(module, _WIRES[provider])
    made: Dialect = kind() if provider in PUBLIC_UPSTREAMS else kind(provider)
    return made


class Alone:
    """One call on its own way."""

    def __init__(self, request: Request, entry: Entry | None) -> None:
        self._request = request
        self._entry = entry
        #: what is to be sent: the client's request, asking for its usage where it had not
        self.body = request.body()

    def never_sent(self) -> None:
        """The provider was not reached."""
        if self._entry is not None:
            self._entry.drop()

    def answered(self, status: int, headers: Mapping[str, str]) -> Tap | None:
        """A tap for the answer's bytes; None where it costs nothing."""
        if self._entry is None:
            return None
        if status >= 300:
            self._entry.drop()
            return None
        streamed = headers.get("content-type", "").startswith("text/event-stream")
        encoded = headers.get("content-encoding", "identity").lower() not in ("", "identity")
        if encoded:
            return Tap(self._entry, None)
        meter = self._request.meter(streamed=streamed)
        meter.head(headers)
        return Tap(self._entry, meter)


class Tap:
    """Meters an answer on its way to the client."""

    def __init__(self, entry: Entry, meter: Meter | None) -> None:
        self._entry = entry
        self._meter = meter
        self._closed = False

    def feed(self, chunk: bytes) -> bytes:
        """The bytes that the client gets."""
        return chunk if self._meter is None else self._meter.feed(chunk)

    def close(self) -> bytes:
        """The answer is at its end, or nobody reads on: write down what was seen."""
        if self._closed:
            return b""
        self._closed = True
        if self._meter is None:
            self._entry.end({})
            return b""
        rest = self._meter.close()
        self._entry.end(_seen(self._meter))
        return rest


def seen_in(provider: str, answer: object) -> dict[str, Any] | None:
    """What a whole answer (JSON) tells of its cost, and nothing of what it says; None where it
    tells nothing. One of a provider that only the daemon knows is read as OpenAI's."""
    import msgspec

    dialect = _dialect(provider if provider in _WIRES else "openai")
    meter = dialect.answered(msgspec.json.encode(answer))
    return None if meter is None or meter.usage is None else _seen(meter)


def _seen(meter: Meter) -> dict[str, Any]:
    import msgspec

    from agentwatch.core.seen import Seen

    told: dict[str, Any] = msgspec.to_builtins(Seen.of(meter))
    return told
