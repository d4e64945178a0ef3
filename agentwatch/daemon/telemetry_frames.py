"""What passes between the daemon and its telemetry process: frames of MessagePack, each behind its
length in four bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from agentwatch.core.call_record import CallRecord
from agentwatch.core.telemetry_settings import RisksSettings, TelemetrySettings

LENGTH_BYTES = 4


class Setup(Struct, tag=True):
    """The first frame: what to go by. `file`: None for a process that only looks at texts."""

    file: str | None
    telemetry: TelemetrySettings
    risks: RisksSettings


class Item(Struct):
    """A call that is over, and what it said, as far as somebody is to look at it."""

    record: CallRecord
    request: bytes | None = None
    answer: bytes | None = None


class Batch(Struct, tag=True):
    """Calls to be looked at and written, in one transaction."""

    items: list[Item]


class Ask(Struct, tag=True):
    """A question, answered after all that was sent before it."""

    number: int
    verb: str
    arguments: dict[str, Any] = {}


class Written(Struct, tag=True):
    """So many records of a batch are dealt with. `failed`: why they were not written."""

    count: int
    failed: str | None = None
    #: session, and the tags that were seen in one of its calls
    risks: list[tuple[str, list[str]]] = []


class Told(Struct, tag=True):
    """The answer to the question of this number, or why there is none."""

    number: int
    answer: Any = None
    failed: str | None = None


_encode = msgspec.msgpack.Encoder().encode
_to_worker: Callable[[bytes], Setup | Batch | Ask]
_to_worker = msgspec.msgpack.Decoder(Setup | Batch | Ask).decode
_to_daemon: Callable[[bytes], Written | Told]
_to_daemon = msgspec.msgpack.Decoder(Written | Told).decode


def frame(message: Struct) -> bytes:
    """A message as it is sent."""
    data = _encode(message)
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def for_worker(data: bytes) -> Setup | Batch | Ask:
    """A frame's content, as the process gets it."""
    return _to_worker(data)


def for_daemon(data: bytes) -> Written | Told:
    """A frame's content, as the daemon gets it."""
    return _to_daemon(data)
