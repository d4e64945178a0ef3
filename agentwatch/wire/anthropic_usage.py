"""The usage that Anthropic reports, merged from its parts and read with mistrust.

A stream tells it twice: at its start, and, cumulative, at its end. The later report counts where
it says something, field by field; nothing is ever added up. `input_tokens` is without what was in
the cache, unlike ours. What other models did for the call (an advisor, a fallback) and what it
took to compact the context stands in `iterations` alone.

A count that is negative, a fraction, text or above 2^53 makes the whole report worth nothing.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from agentwatch.core.usage import Share, Usage
from agentwatch.wire.json_object import LARGEST

#: what tokens cost more where they were made in the United States, in thousandths
US_THOUSANDTHS = 1100
#: places without a surcharge; one that is not known is taken to have it
_PLAIN_GEOS = (None, "", "global", "not_available")
#: more iterations than this are no report
_MOST_ITERATIONS = 1000
#: iterations that the totals have in them
_IN_TOTALS = ("message", "fallback_message")

Report = dict[str, Any]


def merged(first: Report, second: object) -> Report:
    """Two reports of one call as one: the later one's fields where they say something."""
    if not isinstance(second, dict):
        return first
    return {**first, **{key: value for key, value in second.items() if value is not None}}


def read_usage(report: Report, model: str | None, keeps_long: bool) -> Usage | None:
    """The usage that a merged report tells; None where it tells none that can be believed.

    `model` is the one that answered. `keeps_long`: the request may have written to the cache for
    an hour, so a write whose lifetime is not told is taken for one of those.
    """
    try:
        return _usage(report, model, keeps_long)
    except ValueError:
        return None


def _usage(report: Report, model: str | None, keeps_long: bool) -> Usage | None:
    if report.get("input_tokens") is None or report.get("output_tokens") is None:
        return None
    totals = _tokens(report, keeps_long)
    uplift = 1000 if report.get("inference_geo") in _PLAIN_GEOS else US_THOUSANDTHS
    entries = _iterations(report)
    beside = [entry for entry in entries if entry.get("type") not in _IN_TOTALS]
    turns = [entry for entry in entries if entry.get("type") in _IN_TOTALS]
    split = _adds_up(turns, totals, keeps_long) and (len(turns) > 1 or _names_another(turns, model))
    if split:
        # each turn is priced by itself: by its own model, and by the size of its own prompt
        beside, totals = entries, Usage()
    elif turns:
        beside += [entry for entry in turns if _names_another([entry], model)]
    shares = tuple(_share(entry, model, uplift, keeps_long) for entry in beside)
    return replace(totals, uplift_thousandths=uplift, shares=shares, pieces=_pieces(report))


def _tokens(report: Report, keeps_long: bool) -> Usage:
    """The token counts of a report or of one iteration."""
    fresh = _count(report, "input_tokens")
    read = _count(report, "cache_read_input_tokens")
    written, long = _written(report, keeps_long)
    output = _count(report, "output_tokens")
    details = _object(report, "output_tokens_details")
    return Usage(
        input_tokens=fresh + read + written,
        cached_input_tokens=read,
        cache_write_tokens=written - long,
        cache_write_long_tokens=long,
        output_tokens=output,
        reasoning_tokens=min(_count(details, "thinking_tokens"), output),
    )


def _written(report: Report, keeps_long: bool) -> tuple[int, int]:
    """All tokens that were written to the cache, and those of them that are kept for an hour."""
    split = _object(report, "cache_creation")
    long = _count(split, "ephemeral_1h_input_tokens")
    told = long + _count(split, "ephemeral_5m_input_tokens")
    total = max(_count(report, "cache_creation_input_tokens"), told)
    return total, long + (total - told if keeps_long else 0)


def _iterations(report: Report) -> list[Report]:
    entries = report.get("iterations")
    if entries is None:
        return []
    if not isinstance(entries, list) or len(entries) > _MOST_ITERATIONS:
        raise ValueError("iterations")
    if not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("iterations")
    return entries


def _adds_up(turns: list[Report], totals: Usage, keeps_long: bool) -> bool:
    """Whether the totals are these turns' sum: then no token of them is told twice."""
    each = [_tokens(turn, keeps_long) for turn in turns]
    return (
        sum(one.input_tokens for one in each) == totals.input_tokens
        and sum(one.output_tokens for one in each) == totals.output_tokens
    )


def _names_another(turns: list[Report], model: str | None) -> bool:
    return any(turn.get("model") not in (None, model) for turn in turns)


def _share(entry: Report, model: str | None, uplift: int, keeps_long: bool) -> Share:
    named = entry.get("model") or model
    if not isinstance(named, str):
        raise ValueError("model")
    usage = replace(_tokens(entry, keeps_long), uplift_thousandths=uplift)
    return Share(model=named[:256], usage=usage)


def _pieces(report: Report) -> dict[str, int]:
    """Searches, which have a fee; fetches have none."""
    searches = _count(_object(report, "server_tool_use"), "web_search_requests")
    return {"web_search": searches} if searches else {}


def _count(fields: Report, name: str) -> int:
    value = fields.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise ValueError(name)
    return value


def _object(fields: Report, name: str) -> Report:
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(name)
    return value
