"""The usage that OpenAI reports, read with mistrust.

A count that is negative, a fraction, text or above 2^53 makes the whole report worth nothing: it
is then as if none had come, and the call is settled by what was seen. An explicit 0 is a report.
Chat calls its counts prompt and completion, responses input and output.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from agentwatch.core.usage import Usage
from agentwatch.wire.json_object import LARGEST


def read_usage(raw: Raw | bytes, *, has_output: bool = True) -> Usage | None:
    """A usage object; None where it is null, no object, or can't be believed."""
    try:
        fields = msgspec.json.decode(raw)
        return _usage(fields, has_output) if isinstance(fields, dict) else None
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def any_usage(raw: Raw | bytes) -> Usage | None:
    """The same, where it is not known of which API: an embedding's total is its input."""
    usage = read_usage(raw)
    if usage is None and (embedded := read_usage(raw, has_output=False)):
        total = msgspec.json.decode(raw).get("total_tokens")
        return embedded if total == embedded.input_tokens else None
    return usage


def _usage(fields: dict[str, Any], has_output: bool) -> Usage | None:
    given = count_in(fields, "prompt_tokens", "input_tokens")
    made = count_in(fields, "completion_tokens", "output_tokens")
    if given is None or (made is None and has_output):
        return None
    # transcriptions spell it in the singular
    before = _details(
        fields, "prompt_tokens_details", "input_tokens_details", "input_token_details"
    )
    after = _details(fields, "completion_tokens_details", "output_tokens_details")
    kept = _details(before, "cache_write_tokens_details")
    written = min(_part(before, "cache_write_tokens"), given)
    return Usage(
        input_tokens=given,
        # what is both cached and written is taken at the dearer of the two
        cached_input_tokens=min(_part(before, "cached_tokens"), given - written),
        cache_write_tokens=written,
        cache_write_long_tokens=min(_part(kept, "ttl_12h_tokens"), written),
        input_audio_tokens=min(_part(before, "audio_tokens"), given),
        output_tokens=made or 0,
        reasoning_tokens=min(_part(after, "reasoning_tokens"), made or 0),
        output_audio_tokens=min(_part(after, "audio_tokens"), made or 0),
    )


def count_in(fields: dict[str, Any], *names: str) -> int | None:
    """The first of these counts that is there. Raises ValueError for one that is no count."""
    for name in names:
        value = fields.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
            raise ValueError(name)
        return value
    return None


def _part(fields: dict[str, Any], name: str) -> int:
    return count_in(fields, name) or 0


def _details(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    """The first of these objects that is there; empty where none is."""
    for name in names:
        value = fields.get(name)
        if value is not None:
            if not isinstance(value, dict):
                raise ValueError(name)
            return value
    return {}
