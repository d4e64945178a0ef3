"""A request on a path that the user opened knowingly: sent on as it came, and never metered."""

from __future__ import annotations

from agentwatch.wire.answer import WholeAnswer
from agentwatch.wire.dialect import Meter


class UnmeteredRequest:
    """A body that is not read."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def body(self, output_limit: int | None = None) -> bytes:
        """The body as it came; no limit can be put into it."""
        return self._body

    def text(self) -> str | None:
        """Nothing is known of it."""
        return None

    def meter(self, streamed: bool) -> Meter:
        """A meter that reads nothing."""
        return WholeAnswer()
