"""Requests for messages on Anthropic's wire: read into an Ask, and written again.

What is not looked at is sent on as it came: what does not bear on the price is the provider's to
refuse. A field that can cost money in a way that has no bound is refused by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from agentwatch.wire.anthropic_input import (
    IMAGE_TOKENS,
    MOST_OUTPUT,
    MOST_SAMPLINGS,
    REQUEST_OVERHEAD,
    Weight,
    messages_weight,
    system_weight,
    text_bound,
    tools_weight,
)
from agentwatch.wire.anthropic_usage import US_THOUSANDTHS
from agentwatch.wire.dialect import Ask, Meter
from agentwatch.wire.fingerprint import input_marks
from agentwatch.wire.json_object import (
    Fields,
    bad,
    boolean,
    given,
    read_json,
    refuse_look_alikes,
    strict,
    strict_object,
    text,
    whole,
)
from agentwatch.wire.openai_input import unpriced

API = "messages"
#: the least that thinking can be given
LEAST_THINKING = 1024
_MODEL_LENGTH = 256
_THREAD_LENGTH = 128
_THREAD_HEADERS = ("x-claude-code-session-id", "x-session-id")
#: fields that cost what has no bound, or bill somebody else; {"bill_to": "self"} is the default
_CLOSED = {
    "mcp_servers": "tools of MCP servers, which the provider calls by itself",
    "container": "a container",
    "thread": "a conversation that the provider keeps",
    "billing_policy": "a billing_policy",
}
_LOOK_ALIKES = frozenset(
    [
        *_CLOSED,
        *("model", "messages", "system", "tools", "max_tokens", "stream", "thinking", "speed"),
        *("service_tier", "inference_geo", "fallbacks", "context_management", "compaction"),
        *("cache_control", "output_config"),
    ]
)
#: a mark that the cache is to keep something for an hour, and what could hide it (searched for
#: one by one: a pattern of both takes six times as long)
_LONG = (b'"1h"', b"\\u00")
#: models that think only where they are told to
_NEVER_THINKS = re.compile(r"claude-(?:2|3|instant|(?:opus|sonnet|haiku)-4(?!-[789]))")

MeterMaker = Callable[["MessageRequest", bool], Meter]


class MessageRequest:
    """A request that was read: its fields, and what is to be changed when it is written."""

    def __init__(self, fields: Fields, meter: MeterMaker) -> None:
        self._fields = fields
        self._meter = meter
        self._as_read = msgspec.json.encode(fields)
        #: something may be kept in the cache for an hour
        self.keeps_long = any(mark in self._as_read for mark in _LONG)

    def body(self, output_limit: int | None = None) -> bytes:
        """The request to send upstream, with `output_limit` put in. A budget for thinking must
        stay below it, and shrinks with it."""
        if output_limit is None:
            return self._as_read
        changed = {**self._fields, "max_tokens": Raw(str(output_limit).encode())}
        thinking = _thinking_within(self._fields, output_limit)
        if thinking is not None:
            changed["thinking"] = Raw(json.dumps(thinking).encode())
        return msgspec.json.encode(changed)

    def text(self) -> str | None:
        """Nobody outside knows how Anthropic counts: bytes are the only bound."""
        return None

    def meter(self, streamed: bool) -> Meter:
        """A new meter for this request's answer."""
        return self._meter(self, streamed)


def read_messages(
    provider: str, path: str, fields: Fields, headers: Mapping[str, str], meter: MeterMaker
) -> tuple[Ask, MessageRequest]:
    """Read the fields of one request. Raises Refusal."""
    refuse_look_alikes(fields, _LOOK_ALIKES)
    for key, what in _CLOSED.items():
        if given(fields, key) is not None:
            raise unpriced(what, f"take {key!r} out of the request")
    request = MessageRequest(fields, meter)
    limit, weight, model = _limit(fields), _weight(fields), _model(fields)
    fallbacks = _fallbacks(fields)
    tries = _Tries.of(fallbacks, min(weight.rounds, MOST_SAMPLINGS - 1), _compacts(fields))
    if limit == 0 and tries != _Tries():
        bad(
            "max_tokens 0 only fills the cache: it can't go with server tools, fallbacks or "
            "compaction"
        )
    overhead = REQUEST_OVERHEAD + weight.overhead + weight.images * IMAGE_TOKENS
    read = text_bound(request.body()) - weight.media_bytes + overhead
    windows = tries.windows + weight.consultations + (tries.bodies - 1) * weight.by_reference
    ask = Ask(
        provider=provider,
        api=API,
        upstream_path=path,
        model=model,
        input_bound=read * tries.bodies,
        input_overhead=overhead,
        input_by_reference=weight.by_reference,
        rounds=windows,
        has_output=limit > 0,
        thinks=_may_think(fields, model),
        output_limit=limit or None,
        choices=tries.answers,
        extra_output=weight.extra_output + tries.extra_output,
        cache_write_long=request.keeps_long,
        service_tier=_tier(fields),
        pieces={"web_search": weight.searches * len(fallbacks) + weight.searches}
        if weight.searches
        else {},
        also_models=tuple(dict.fromkeys((*weight.also_models, *(name for name, _ in fallbacks)))),
        uplift_thousandths=_uplift(fields),
        stream=boolean(fields, "stream"),
        thread=_thread(fields, headers),
        marks=input_marks(given(fields, "messages"), bare=True),
    )
    return ask, request


class _Tries(NamedTuple):
    """How often one request may be read and answered by the provider, at most.

    `bodies`: times that its own input is read; `windows`: times that it is read with more, which
    the context window bounds; `answers`: outputs that its limit holds for; `extra_output`: tokens
    of output that have a limit of their own.
    """

    bodies: int = 1
    windows: int = 0
    answers: int = 1
    extra_output: int = 0

    @classmethod
    def of(cls, fallbacks: list[tuple[str, int]], rounds: int, compacts: bool) -> _Tries:
        """Each model is tried, goes on for some rounds, and may compact what it reads."""
        models = 1 + len(fallbacks)
        limited = sum(limit for _, limit in fallbacks)
        bound_by_request = models - sum(limit > 0 for _, limit in fallbacks)
        return cls(
            bodies=models * (1 + compacts),
            windows=models * rounds * (1 + compacts),
            answers=bound_by_request * (1 + rounds),
            extra_output=limited * (1 + rounds) + models * (1 + rounds) * MOST_OUTPUT * compacts,
        )


def _limit(fields: Fields) -> int:
    """max_tokens; 0 asks for nothing but that the cache is filled."""
    raw = given(fields, "max_tokens")
    if raw is None:
        bad("max_tokens is missing")
    return 0 if bytes(raw) == b"0" else whole(fields, "max_tokens") or 0


def _model(fields: Fields) -> str:
    model = text(fields, "model")
    if not model:
        bad("model is missing")
    if len(model) > _MODEL_LENGTH:
        bad(f"model is longer than {_MODEL_LENGTH} characters")
    return model


def _weight(fields: Fields) -> Weight:
    total = Weight()
    for key, weigh in _WEIGHED.items():
        raw = given(fields, key)
        if raw is not None:
            total += weigh(raw)
    return total


_WEIGHED = {"messages": messages_weight, "system": system_weight, "tools": tools_weight}


def _fallbacks(fields: Fields) -> list[tuple[str, int]]:
    """The models that may answer in place of the one asked for, each with its own output limit
    (0: the request's)."""
    raw = given(fields, "fallbacks")
    entries = [] if raw is None else strict(raw, "fallbacks")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise unpriced("fallbacks that the provider chooses", "name the models in fallbacks")
    return [_fallback(entry) for entry in entries]


def _fallback(entry: dict[str, Any]) -> tuple[str, int]:
    model, limit = entry.get("model"), entry.get("max_tokens")
    if not isinstance(model, str) or not 0 < len(model) <= _MODEL_LENGTH:
        bad("a fallback's model is missing")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        bad("max_tokens of a fallback must be a whole number of at least 1")
    if entry.get("speed") not in (None, "standard"):
        raise unpriced("a fallback with a speed of its own", "set speed for the whole request")
    return model, limit or 0


def _compacts(fields: Fields) -> bool:
    """Whether the provider may summarise the conversation, which is billed beside the answer."""
    raw = given(fields, "context_management")
    edits = strict_object(fields, "context_management").get("edits") if raw is not None else None
    if edits is not None and not isinstance(edits, list):
        bad("context_management.edits must be a list")
    kinds = [edit.get("type") for edit in edits or [] if isinstance(edit, dict)]
    unknown = [kind for kind in kinds if not str(kind).startswith(("clear_", "compact_"))]
    if unknown:
        raise unpriced(f"the context edit {str(unknown[0])[:40]!a}")
    compacting = any(str(kind).startswith("compact_") for kind in kinds)
    return compacting or given(fields, "compaction") is not None


def _may_think(fields: Fields, model: str) -> bool:
    kind = strict_object(fields, "thinking").get("type")
    return kind != "disabled" and not (kind is None and _NEVER_THINKS.match(model))


def _thinking_within(fields: Fields, limit: int) -> dict[str, Any] | None:
    """The thinking that fits below an output limit that is put in; None: it is to stay as it is.

    A budget keeps its share of the limit. Where not even the least budget fits, nothing is
    thought. One that is above the client's own limit (interleaved thinking) stands for several
    calls, and is left alone.
    """
    thinking = strict_object(fields, "thinking")
    budget, asked = thinking.get("budget_tokens"), _limit(fields)
    if not isinstance(budget, int) or not 0 < budget < asked:
        return None
    if limit <= LEAST_THINKING:
        return {"type": "disabled"}
    share = max(LEAST_THINKING, budget * limit // asked)
    return {**thinking, "budget_tokens": min(budget, share, limit - 1)}


def _tier(fields: Fields) -> str | None:
    """The service tier; a speed is priced as one."""
    speed = text(fields, "speed")
    return text(fields, "service_tier") if speed in (None, "standard") else speed


def _uplift(fields: Fields) -> int:
    """What the place may add. Where none is named, the workspace's own settings decide."""
    place = text(fields, "inference_geo")
    if place not in (None, "us", "global"):
        raise unpriced(f"inference_geo {place[:40]!a}" if place else "an empty inference_geo")
    return 1000 if place == "global" else US_THOUSANDTHS


def _thread(fields: Fields, headers: Mapping[str, str]) -> str | None:
    """The lane that the client names; a name that is too long or odd is none."""
    for name in (*(headers.get(header) for header in _THREAD_HEADERS), _user(fields)):
        if name and len(name) <= _THREAD_LENGTH and name.isascii() and name.isprintable():
            return name
    return None


def _user(fields: Fields) -> str | None:
    """The session in metadata.user_id: Claude Code puts JSON there."""
    raw = given(fields, "metadata")
    metadata = read_json(raw) if raw is not None else None
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    if not isinstance(user, str):
        return None
    told = read_json(user.encode(errors="replace")) if user.startswith("{") else None
    session = told.get("session_id") if isinstance(told, dict) else user
    return session if isinstance(session, str) else None
