"""The oracle and the meter in one process: what the stand-in does for a request costs what it
billed, within what was reckoned beforehand; and streams of each wire, cut and changed at any byte,
reach the client as they came."""

from __future__ import annotations

import io
import json
import wave
from functools import partial
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentwatch.daemon.quoting import charge, priced, quote_for
from agentwatch.pricing import load_book
from agentwatch.standin.bill import Entry
from agentwatch.standin.gemini import Gemini as GeminiProvider
from agentwatch.standin.groq import Groq as GroqProvider
from agentwatch.standin.mistral import Mistral as MistralProvider
from agentwatch.standin.openai import OpenAI as Provider
from agentwatch.standin.provider import plan_for
from agentwatch.standin.script import Script
from agentwatch.standin.xai import XAI as XAIProvider
from agentwatch.wire.dialect import Ask, Dialect, Meter, Request
from agentwatch.wire.gemini import Gemini
from agentwatch.wire.groq import Groq
from agentwatch.wire.mistral import Mistral
from agentwatch.wire.multipart import Form, Part
from agentwatch.wire.openai import OpenAI
from agentwatch.wire.xai import XAI

BOOK = load_book(None)
CHAT = "/chat/completions"
TOOL = {"type": "function", "function": {"name": "ls", "parameters": {"type": "object"}}}
#: by what a script calls them
HOSTED: dict[str, dict[str, Any]] = {
    "web_search": {"type": "web_search"},
    "file_search": {"type": "file_search", "vector_store_ids": ["vs_1"]},
    "code": {
        "type": "code_interpreter",
        "container": {"type": "auto", "memory_limit": "4g"},
    },
}
FLAT = {"type": "function", "name": "ls", "parameters": {"type": "object"}}


def wav(seconds: float) -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as writer:
        writer.setparams((1, 2, 8_000, 0, "NONE", ""))
        writer.writeframes(b"\0\0" * round(seconds * 8_000))
    return made.getvalue()


class Case(NamedTuple):
    """A request, and what is done for it."""

    path: str
    content_type: str
    body: bytes
    script: Script
    dialect: Dialect = OpenAI()
    provider: type[Provider] = Provider
    #: the output limit that the ledger has put in
    limit: int | None = None


def told(path: str, body: dict[str, Any], script: Script) -> Case:
    return Case(path, "application/json", json.dumps(body).encode(), script)


@st.composite
def chats(draw: st.DrawFn) -> Case:
    model = draw(st.sampled_from(["gpt-4o", "gpt-5", "gpt-5.4", "gpt-6-sol", "gpt-5.5", "o3"]))
    text = draw(st.text(max_size=200)) + "w" * draw(st.sampled_from([0, 0, 300_000]))
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "max_completion_tokens": draw(st.integers(1, 60)),
        "n": draw(st.integers(1, 3)),
        "stream": draw(st.booleans()),
    }
    if draw(st.booleans()):
        body["tools"] = [TOOL]
    tier = draw(st.sampled_from([None, "auto", "default", "flex", "priority", "fast"]))
    if tier is not None:
        body["service_tier"] = tier
    return told("/chat/completions", body, draw(scripts(tier)))


@st.composite
def responses(draw: st.DrawFn) -> Case:
    body: dict[str, Any] = {
        "model": draw(st.sampled_from(["gpt-5-mini", "gpt-5.6-sol"])),
        "input": draw(st.text(max_size=200)),
        "max_output_tokens": draw(st.integers(1, 60)),
        "stream": draw(st.booleans()),
        "tools": [FLAT],
    }
    most = draw(st.integers(0, 4))
    made = dict.fromkeys(("web_search", "file_search", "code"), 0)
    if most:
        body["max_tool_calls"] = most
        for name, tool in HOSTED.items():
            if draw(st.booleans()):
                body["tools"].append(tool)
                made[name] = draw(st.integers(0, most - sum(made.values())))
        made["tool_use"] = draw(st.integers(0, 9_000)) if any(made.values()) else 0
    return told("/responses", body, draw(scripts(None, **made)))


@st.composite
def scripts(draw: st.DrawFn, tier: str | None, **more: Any) -> Script:
    answered = {"flex": ["flex", "default"], "priority": ["priority", "default"]}
    tiers = answered.get(tier or "", [None])
    return Script(
        density=draw(st.integers(1, 4)),
        tokens=draw(st.integers(0, 80)),
        reasoning=draw(st.sampled_from([0, 0, 30])),
        cached=draw(st.integers(0, 300)),
        cache_write=draw(st.integers(0, 300)),
        tools=draw(st.sampled_from([None, "auto"])),
        answer_tier=draw(st.sampled_from(tiers)),
        **more,
    )


@st.composite
def sounds(draw: st.DrawFn) -> Case:
    model = draw(st.sampled_from(["whisper-1", "gpt-transcribe", "gpt-4o-mini-transcribe"]))
    parts = [
        Part("file", wav(draw(st.floats(0.05, 20))), b"a.wav"),
        Part("model", model.encode()),
        Part("prompt", draw(st.text(max_size=40)).encode(errors="replace")),
        Part("stream", b"true" if draw(st.booleans()) else b"false"),
    ]
    form = Form("b--b", parts)
    script = Script(tokens=draw(st.integers(0, 90)), density=draw(st.integers(1, 4)))
    return Case("/audio/transcriptions", form.content_type, form.written(), script)


@st.composite
def pictures(draw: st.DrawFn) -> Case:
    quality = draw(st.sampled_from(["low", "medium", "high"]))
    body = {
        "model": "gpt-image-1.5",
        "prompt": draw(st.text(min_size=1, max_size=100)),
        "n": draw(st.integers(1, 10)),
        "size": "1024x1536",
        "quality": quality,
        "stream": draw(st.booleans()),
    }
    most = {"low": 408, "medium": 1_584, "high": 6_240}[quality]
    drawn = draw(st.integers(1, most))
    thought = 0 if body["stream"] else draw(st.integers(0, 50))
    script = Script(tokens=drawn + thought, reasoning=thought, density=draw(st.integers(1, 4)))
    return told("/images/generations", body, script)


@st.composite
def speeches(draw: st.DrawFn) -> Case:
    model = draw(st.sampled_from(["tts-1", "tts-1-hd", "gpt-4o-mini-tts"]))
    body = {"model": model, "input": draw(st.text(min_size=1, max_size=200)), "voice": "alloy"}
    if model == "gpt-4o-mini-tts":
        body["stream_format"] = "sse"
    return told("/audio/speech", body, Script(tokens=draw(st.integers(1, 900))))


@st.composite
def of_mistral(draw: st.DrawFn) -> Case:
    text = draw(st.text(max_size=200)) + "w" * draw(st.sampled_from([0, 0, 300_000]))
    body: dict[str, Any] = {
        "model": draw(st.sampled_from(sorted(MistralProvider.models))),
        "messages": [{"role": "user", "content": text}],
        "n": draw(st.integers(1, 3)),
        "stream": draw(st.booleans()),
    }
    limit = draw(st.sampled_from([None, None, 256, 5_000]))
    if limit is None:
        body["max_tokens"] = draw(st.integers(1, 60))
    if draw(st.booleans()):
        body["tools"] = [TOOL]
    case = told(CHAT, body, draw(scripts(None)))
    return case._replace(dialect=Mistral("mistral"), provider=MistralProvider, limit=limit)


def play(provider: Any, path: str, sent: bytes, script: Script) -> tuple[list[bytes], int]:
    """What a provider makes of a request: the pieces of its answer, and its bill in nanos."""
    call = provider.read("POST", path, sent)
    entry = Entry(id="r", method="POST", path=path, started_at=0.0, api=call.api, model=call.model)
    entry.tier = provider.tier(call.model, script.answer_tier or call.tier)
    entry.prompt_tokens = provider.weigh(call, script.density)
    sellable = call.api in ("chat", "responses")
    entry.cached = min(script.cached, entry.prompt_tokens) if sellable else 0
    entry.written = min(script.cache_write, entry.prompt_tokens - entry.cached) if sellable else 0
    provider.note(entry, call, script)
    plan = plan_for(call, script, 9, provider.most_output(call.model))
    entry.completion_tokens = plan.made * call.made_choices
    entry.reasoning = plan.reasoning * call.made_choices
    voice = provider.voice(call, plan, entry)
    if not call.stream:
        return [voice.whole()], provider.cost(entry)
    said = [
        voice.token(plan.piece(at), choice)
        for at in range(plan.shown)
        for choice in range(call.choices)
    ]
    return [voice.opening(), *said, voice.closing()], provider.cost(entry)


def read(case: Case) -> tuple[Ask, Request]:
    headers = {"content-type": case.content_type}
    return case.dialect.read("POST", case.path, "", headers, case.body)


def feed(meter: Meter, pieces: list[bytes]) -> bytes:
    return b"".join(meter.feed(piece) for piece in pieces) + meter.close()


@settings(max_examples=250, deadline=None)
@given(st.one_of(chats(), responses(), sounds(), pictures(), speeches()))
def test_what_is_done_costs_what_was_billed_and_never_more_than_was_reckoned(case: Case) -> None:
    reckon(case)


@settings(max_examples=100, deadline=None)
@given(of_mistral())
def test_what_a_provider_of_one_s_own_does_costs_so_too(case: Case) -> None:
    """Mistral's wire, and its prices, by configuration alone."""
    reckon(case)


def reckon(case: Case) -> None:
    """Play a call; its cost is the bill, and within what was held for it."""
    ask, request = read(case)
    quoted = quote_for(ask, priced(ask, BOOK), None)
    held = quoted.whole if case.limit is None else quoted.worst(case.limit)
    pieces, nanos = play(case.provider(), case.path, request.body(case.limit), case.script)
    streamed = len(pieces) > 1
    meter = request.meter(streamed)
    feed(meter, pieces)
    assert held is not None and nanos <= held
    charged = charge(ask, quoted, held, meter, BOOK)
    assert (charged.basis, charged.nanos) == ("usage", nanos)


# ---- streams that are harmed

MESSAGES = [{"role": "user", "content": "hello"}]
ASKED = {"stream": True, "stream_options": {"include_usage": True}}
GEMINI = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"


class Wire(NamedTuple):
    """A wire, and a request on it whose answer nothing is taken out of."""

    dialect: Any
    provider: Any
    path: str
    sent_to: str
    body: dict[str, Any]
    script: Script
    query: str = ""


WIRES = {
    "chat": Wire(
        OpenAI,
        Provider,
        CHAT,
        CHAT,
        {"model": "gpt-4o", "messages": MESSAGES, "tools": [TOOL], **ASKED},
        Script(tools="auto", parallel=2, utf8=True),
    ),
    "responses": Wire(
        OpenAI,
        Provider,
        "/responses",
        "/responses",
        {"model": "gpt-5-mini", "input": "x", "stream": True},
        Script(tokens=9, reasoning=3, utf8=True),
    ),
    "images": Wire(
        OpenAI,
        Provider,
        "/images/generations",
        "/images/generations",
        {"model": "gpt-image-2", "prompt": "x", "stream": True, "n": 2, "partial_images": 2},
        Script(tokens=9),
    ),
    "speech": Wire(
        OpenAI,
        Provider,
        "/audio/speech",
        "/audio/speech",
        {"model": "gpt-4o-mini-tts", "input": "x", "stream_format": "sse"},
        Script(tokens=9),
    ),
    "groq": Wire(
        Groq,
        GroqProvider,
        CHAT,
        CHAT,
        {"model": "openai/gpt-oss-120b", "messages": MESSAGES, "stream": True},
        Script(tokens=9, utf8=True),
    ),
    "mistral": Wire(
        partial(Mistral, "mistral"),
        MistralProvider,
        CHAT,
        CHAT,
        {"model": "mistral-small-2603", "messages": MESSAGES, "stream": True},
        Script(tokens=9, utf8=True),
    ),
    "xai": Wire(
        XAI,
        XAIProvider,
        CHAT,
        CHAT,
        {"model": "grok-4.7", "messages": MESSAGES, "max_tokens": 99, **ASKED},
        Script(tokens=9, utf8=True),
    ),
    "gemini": Wire(
        Gemini,
        GeminiProvider,
        GEMINI,
        GEMINI.removeprefix("/v1beta"),
        {"contents": [{"role": "user", "parts": [{"text": "x"}]}]},
        Script(tokens=9, utf8=True),
        "alt=sse",
    ),
}


def recorded(wire: Wire) -> bytes:
    provider = wire.provider()
    call = provider.read("POST", wire.sent_to, json.dumps(wire.body).encode())
    call.query = {"alt": "sse"}
    provider.read = lambda *_: call
    return b"".join(play(provider, wire.sent_to, b"", wire.script)[0])


STREAMS = {name: recorded(wire) for name, wire in WIRES.items()}


@pytest.mark.parametrize("name", WIRES)
def test_a_stream_that_was_recorded_is_one(name: str) -> None:
    assert STREAMS[name].count(b"data: ") > 2


@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("name", WIRES)
@given(data=st.data())
def test_a_recorded_stream_cut_and_changed_at_any_byte_goes_through_as_it_is(
    name: str, data: st.DataObject
) -> None:
    wire, stream = WIRES[name], STREAMS[name]
    changed = bytearray(stream)
    places = st.integers(0, len(stream) - 1)
    for at, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        changed[at] = byte
    sent = bytes(changed[: data.draw(st.integers(0, len(stream)))])
    step = data.draw(st.integers(1, 200))
    body = json.dumps(wire.body).encode()
    ask, request = wire.dialect().read("POST", wire.path, wire.query, {}, body)
    meter = request.meter(True)
    out = feed(meter, [sent[at : at + step] for at in range(0, len(sent), step)])
    assert out == sent
    assert 0 <= meter.output_floor <= meter.output_ceiling
    quoted = quote_for(ask, priced(ask, BOOK), None)
    assert charge(ask, quoted, quoted.whole or 0, meter, BOOK).nanos >= 0
