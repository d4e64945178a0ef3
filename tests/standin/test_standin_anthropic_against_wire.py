"""Anthropic's oracle meets our meter: whatever the stand-in does for a request costs what it
billed, and no more than was reckoned before the request was sent; and its streams, cut and changed
anywhere, go through the meter as they are.

Both were written apart from each other; where they differ, one of them is wrong.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from agentwatch.daemon.quoting import charge, priced, quote_for
from agentwatch.pricing import load_book
from agentwatch.standin.anthropic import Anthropic as Provider
from agentwatch.standin.anthropic_prices import MODELS
from agentwatch.standin.bill import Entry
from agentwatch.standin.provider import plan_for
from agentwatch.standin.script import Script
from agentwatch.wire.anthropic import Anthropic
from agentwatch.wire.dialect import Meter

BOOK = load_book(None)
PATH = "/v1/messages"
WINDOW = 200_000
#: no model from before places were sold: where one is named, those refuse the call
OTHERS = ("claude-opus-5", "claude-sonnet-4-6", "claude-haiku-5-5")
PRICED = sorted({model.name for model in MODELS.values()} - {"claude-3-5-haiku-latest"})


class Case(NamedTuple):
    """A request, and what the provider does for it within what it promises."""

    body: dict[str, Any]
    script: Script


@st.composite
def cases(draw: st.DrawFn) -> Case:
    model = draw(st.sampled_from(PRICED))
    limit = draw(st.integers(1, 5_000))
    text = draw(st.sampled_from(["hello", "日本語 😀", "w" * 3_000, "w" * 210_000]))
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": limit,
        "messages": [{"role": "user", "content": text}],
        "stream": draw(st.booleans()),
    }
    if draw(st.booleans()):
        body["inference_geo"] = draw(st.sampled_from(["us", "global"]))
    if MODELS[model].fast and draw(st.booleans()):
        body["speed"] = "fast"
    iterations: list[str] = []
    searches = _tools(draw, body, limit, iterations)
    _others(draw, body, limit, iterations)
    long = draw(st.integers(0, 300_000))
    if long:
        body["cache_control"] = {"type": "ephemeral", "ttl": "1h"}
    script = Script(
        density=draw(st.integers(1, 5)),
        tokens=draw(st.integers(0, 300)),
        reasoning=draw(st.integers(0, 300)),
        cached=draw(st.integers(0, 300_000)),
        cache_write=draw(st.integers(0, 300_000)),
        write_long=long,
        web_search=searches,
        geo=None if "inference_geo" in body else draw(st.sampled_from([None, "us"])),
        answer_tier=draw(st.sampled_from([None, "standard", "priority"])),
        iterations="+".join(iterations) or None,
    )
    return Case(body, script)


def _tools(draw: st.DrawFn, body: dict[str, Any], limit: int, iterations: list[str]) -> int:
    """Server tools, and what they make the server do. Returns the searches that are made."""
    tools: list[dict[str, Any]] = []
    uses = draw(st.integers(0, 12))
    if uses:
        tools.append({"type": "web_search_20250305", "name": "web_search", "max_uses": uses})
        turns = range(draw(st.integers(0, min(uses, 9))))
        iterations += [_turn(draw, "message", WINDOW, limit) for _ in turns]
    advice = draw(st.integers(0, 3))
    if advice:
        most = draw(st.integers(1, 3_000))
        advisor = {"type": "advisor_20260301", "name": "advisor", "model": OTHERS[0]}
        tools.append({**advisor, "max_uses": advice, "max_tokens": most})
        consulted = ("advisor_message", WINDOW, most, OTHERS[0])
        iterations += [_turn(draw, *consulted) for _ in range(advice)]
    if tools:
        body["tools"] = tools
    return draw(st.integers(0, uses))


def _others(draw: st.DrawFn, body: dict[str, Any], limit: int, iterations: list[str]) -> None:
    """Fallbacks, and compaction, which read what was sent."""
    sent = len(json.dumps(body))
    if "speed" not in body and draw(st.booleans()):
        body["fallbacks"] = [{"model": OTHERS[1], "max_tokens": 400}, {"model": OTHERS[2]}]
        iterations.append(_turn(draw, "fallback_message", sent, 400, OTHERS[1]))
        iterations.append(_turn(draw, "fallback_message", sent, limit, OTHERS[2]))
    if draw(st.booleans()):
        body["context_management"] = {"edits": [{"type": "compact_20260112"}]}
        iterations.append(_turn(draw, "compaction", sent, 100_000))


def _turn(draw: st.DrawFn, kind: str, given: int, made: int, model: str = "") -> str:
    end = f":{model}" if model else ""
    return f"{kind}:{draw(st.integers(1, given))}:{draw(st.integers(0, made))}{end}"


class Played(NamedTuple):
    """An answer as the stand-in gave it, and what it billed."""

    pieces: list[bytes]
    nanos: int


def play(sent: bytes, script: Script) -> Played:
    """What the stand-in makes of a request, in this process."""
    provider = Provider()
    call = provider.read("POST", PATH, sent)
    entry = Entry(id="r", method="POST", path=PATH, started_at=0.0, model=call.model)
    entry.tier = provider.tier(call.model, script.answer_tier or call.tier)
    entry.prompt_tokens = provider.weigh(call, script.density)
    entry.cached = min(script.cached, entry.prompt_tokens)
    entry.written = min(script.cache_write, entry.prompt_tokens - entry.cached)
    provider.note(entry, call, script)
    plan = plan_for(call, script, 9, provider.most_output(call.model))
    entry.completion_tokens, entry.reasoning = plan.made, plan.reasoning
    voice = provider.voice(call, plan, entry)
    if not call.stream:
        return Played([voice.whole()], provider.cost(entry))
    said = [voice.token(plan.piece(at), 0) for at in range(plan.shown)]
    return Played([voice.opening(), *said, voice.closing()], provider.cost(entry))


def feed(meter: Meter, pieces: list[bytes]) -> bytes:
    return b"".join(meter.feed(piece) for piece in pieces) + meter.close()


@settings(max_examples=150, deadline=None)
@given(cases())
def test_what_is_done_costs_what_was_billed_and_never_more_than_was_reckoned(case: Case) -> None:
    ask, request = Anthropic().read("POST", PATH, "", {}, json.dumps(case.body).encode())
    quoted = quote_for(ask, priced(ask, BOOK), None)
    played = play(request.body(), case.script)
    meter = request.meter(ask.stream)
    assert feed(meter, played.pieces) == b"".join(played.pieces)
    assert quoted.whole is not None
    charged = charge(ask, quoted, quoted.whole, meter, BOOK)
    assert (charged.basis, charged.nanos) == ("usage", played.nanos)
    assert played.nanos <= quoted.whole


@settings(max_examples=60, deadline=None)
@given(cases(), st.data())
def test_an_answer_that_breaks_off_costs_no_less_than_was_made(
    case: Case, data: st.DataObject
) -> None:
    """By then the provider has billed what it read and what it said; what it would have done
    for the call afterwards, it has not."""
    script = Script(
        **{
            name: getattr(case.script, name)
            for name in ("density", "tokens", "cached", "cache_write", "write_long", "geo")
        }
    )
    body = json.dumps({**case.body, "stream": True}).encode()
    ask, request = Anthropic().read("POST", PATH, "", {}, body)
    quoted = quote_for(ask, priced(ask, BOOK), None)
    pieces, nanos = play(request.body(), script)
    meter = request.meter(True)
    stop = data.draw(st.integers(1, len(pieces) - 1))
    feed(meter, pieces[:stop])
    made = stop - 1
    whole = quoted.whole or 0
    charged = charge(ask, quoted, whole, meter, BOOK)
    assert charged.basis == "estimate"
    rest = play(request.body(), Script(**{**_fields(script), "tokens": made})).nanos
    assert min(rest, nanos) <= charged.nanos <= whole


def _fields(script: Script) -> dict[str, Any]:
    return {name: getattr(script, name) for name in script.__struct_fields__}


RECORDED = [
    b"".join(play(json.dumps({**body, "stream": True}).encode(), script).pieces)
    for body, script in [
        (
            {"model": "claude-sonnet-5", "max_tokens": 99, "messages": [{"role": "user"}]},
            Script(tokens=12, utf8=True),
        ),
        (
            {
                "model": "claude-sonnet-5",
                "max_tokens": 99,
                "messages": [{"role": "user", "content": "x"}],
                "tools": [{"name": "ls", "input_schema": {"properties": {"p": {"enum": ["é"]}}}}],
            },
            Script(tools="auto", parallel=2, reasoning=20, web_search=1),
        ),
        (
            {"model": "claude-opus-5", "max_tokens": 9, "messages": [{"role": "user"}]},
            Script(iterations="compaction:5:5+advisor_message:9:9:claude-opus-5", write_long=2),
        ),
    ]
]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(RECORDED), st.data())
def test_a_recorded_stream_cut_and_changed_at_any_byte_goes_through_as_it_is(
    stream: bytes, data: st.DataObject
) -> None:
    changed = bytearray(stream)
    places = st.integers(0, len(stream) - 1)
    for at, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        changed[at] = byte
    sent = bytes(changed[: data.draw(st.integers(0, len(stream)))])
    step = data.draw(st.integers(1, 200))
    body = {"model": "claude-sonnet-5", "max_tokens": 9, "messages": [], "stream": True}
    ask, request = Anthropic().read("POST", PATH, "", {}, json.dumps(body).encode())
    meter = request.meter(True)
    out = feed(meter, [sent[at : at + step] for at in range(0, len(sent), step)])
    assert out == sent
    assert 0 <= meter.output_floor <= meter.output_ceiling
    quoted = quote_for(ask, priced(ask, BOOK), None)
    assert charge(ask, quoted, quoted.whole or 0, meter, BOOK).nanos >= 0
