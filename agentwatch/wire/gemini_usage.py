"""The usage that Gemini reports, read with mistrust.

Counts are cumulative, so that the last report is the whole. Thoughts are billed as output beside
the candidates, tools' results as input beside the prompt; what was cached is part of the prompt.
Where the total is more than its parts, the rest was made. A count that can't be meant makes the
whole report worth nothing.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct

from agentwatch.core.usage import Usage
from agentwatch.wire.json_object import LARGEST, read_json

_MEDIA = ("IMAGE", "VIDEO")


class Expected(Struct, frozen=True):
    """What a meter must know of the request."""

    has_output: bool = True
    #: candidates that end one by one
    choices: int = 1
    #: nothing but text was sent
    text_in: bool = False
    #: sound was sent: where nothing tells it apart, all input may be
    audio_in: bool = False
    audio_out: bool = False
    #: images may come: where nothing tells them apart, all output may be
    media_out: bool = False
    #: a search is billed, once, where any was made
    searches: bool = False


def read_usage(raw: Raw | bytes, expected: Expected) -> Usage | None:
    """A usageMetadata object; None where it is null, no object, or can't be believed."""
    fields = read_json(raw)
    try:
        return _usage(fields, expected) if isinstance(fields, dict) else None
    except ValueError:
        return None


def _usage(fields: dict[str, Any], expected: Expected) -> Usage | None:
    prompt = _count(fields, "promptTokenCount")
    if prompt is None:
        return None
    tools = _count(fields, "toolUsePromptTokenCount") or 0
    shown = _count(fields, "candidatesTokenCount") or 0
    thought = _count(fields, "thoughtsTokenCount") or 0
    hidden = max(0, (_count(fields, "totalTokenCount") or 0) - prompt - tools - shown - thought)
    read = _kinds(fields, "promptTokensDetails", "toolUsePromptTokensDetails")
    made = _kinds(fields, "candidatesTokensDetails")
    cached = _kinds(fields, "cacheTokensDetails")
    heard = read["AUDIO"] if read or not expected.audio_in else prompt
    said = made["AUDIO"] if made or not expected.audio_out else shown
    output = shown + thought + hidden if expected.has_output else 0
    return Usage(
        input_tokens=prompt + tools,
        cached_input_tokens=min(_count(fields, "cachedContentTokenCount") or 0, prompt),
        input_audio_tokens=min(heard, prompt + tools),
        input_media_tokens=min(_media(read), prompt + tools),
        cached_audio_tokens=cached["AUDIO"],
        cached_media_tokens=_media(cached),
        output_tokens=output,
        reasoning_tokens=min(thought + hidden, output),
        output_audio_tokens=min(said, output),
        output_media_tokens=min(_media(made), output),
        by_kind=(bool(read) or expected.text_in) and (bool(made) or not expected.media_out),
    )


class _Kinds(dict[str, int]):
    """Tokens by modality; 0 for one that is not named."""

    def __missing__(self, kind: str) -> int:
        return 0


def _kinds(fields: dict[str, Any], *names: str) -> _Kinds:
    found = _Kinds()
    for name in names:
        details = fields.get(name)
        for detail in details if isinstance(details, list) else []:
            if isinstance(detail, dict):
                kind = str(detail.get("modality"))
                found[kind] += _count(detail, "tokenCount") or 0
    return found


def _media(kinds: _Kinds) -> int:
    return sum(kinds[kind] for kind in _MEDIA)


def _count(fields: dict[str, Any], name: str) -> int | None:
    """A count; None where it is not there. Raises ValueError for what is none."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise ValueError(name)
    return value
