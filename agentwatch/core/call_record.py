"""What is kept of a call once it is over: who, which model, how much, how long, how it ended.

The names are those of `sessions export`. Money is in nanos here, and in USD there.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field

from agentwatch.core.money import to_usd


class CallRecord(Struct, kw_only=True):
    """One call, or one request that was refused. No text of it."""

    request_id: str
    session_id: str
    #: seconds since 1970, when it came
    at: float
    project: str | None = None
    team: str | None = None
    provider: str = ""
    api: str = ""
    #: the model that is billed, and the one that was asked for
    model: str = ""
    model_asked: str = ""
    iteration: int | None = None
    stream: bool = False
    #: allowed, clamped (an output limit was put in), refused, or elsewhere (told afterwards)
    verdict: str = "allowed"
    #: why it was refused, or charged otherwise than by its usage
    reason: str = ""
    #: complete, cut, killed, client_gone, stopping, lost, not_sent, failed, refused
    ended: str = "complete"
    #: the provider's status; None where none came
    status: int | None = None
    #: usage, estimate, void …; None: no money was set aside
    basis: str | None = None
    price_version: str = ""
    held_nanos: int = 0
    cost_nanos: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    #: tokens by kind, as reported
    usage: dict[str, Any] = field(default_factory=dict)
    #: seconds from its coming to the first byte of the answer, and to the end
    first_byte_s: float | None = None
    seconds: float = 0.0
    request_bytes: int = 0
    answer_bytes: int = 0
    #: tags of what was found in request and answer; None: nobody looked, or could
    risks: list[str] | None = None


def exported(row: dict[str, Any]) -> dict[str, Any]:
    """A record as it is given out: money in USD."""
    told: dict[str, Any] = {"schema_version": 1}
    for name, value in row.items():
        if name.endswith("_nanos"):
            told[f"{name.removesuffix('_nanos')}_usd"] = to_usd(value)
        else:
            told[name] = value
    return told


def as_row(record: CallRecord) -> dict[str, Any]:
    """The record's fields by name."""
    return {name: getattr(record, name) for name in record.__struct_fields__}


FIELDS: tuple[str, ...] = tuple(each.name for each in msgspec.structs.fields(CallRecord))
