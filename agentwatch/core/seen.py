"""What was seen of an answer, as it is kept: a meter's readings when its answer has ended."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from agentwatch.core.usage import Usage


class Readings(Protocol):
    """What a call is charged by: a meter's at the answer's end, or those that were kept of it.

    See the protocol Meter of the wire for the meaning of each.
    """

    @property
    def usage(self) -> Usage | None: ...
    @property
    def begun(self) -> Usage | None: ...
    @property
    def model(self) -> str | None: ...
    @property
    def service_tier(self) -> str | None: ...
    @property
    def error(self) -> str | None: ...
    @property
    def complete(self) -> bool: ...
    @property
    def output_floor(self) -> int: ...
    @property
    def output_ceiling(self) -> int: ...


class Seen(Struct, kw_only=True):
    """Readings that can be written down."""

    usage: Usage | None = None
    begun: Usage | None = None
    model: str | None = None
    service_tier: str | None = None
    error: str | None = None
    complete: bool = False
    output_floor: int = 0
    output_ceiling: int = 0

    @classmethod
    def of(cls, readings: Readings) -> Seen:
        """A meter's readings, as they are now."""
        return cls(**{name: getattr(readings, name) for name in cls.__struct_fields__})
