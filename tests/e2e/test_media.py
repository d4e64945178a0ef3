"""Sound and images through OpenAI's own client: what is settled is what was billed."""

from __future__ import annotations

import base64
import io
import warnings
import wave
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import openai
import pytest
from harness import Agent, Daemon, nanos

from agentwatch.standin.process import StandinProcess

Do = Callable[[openai.OpenAI], Any]


def wav(seconds: float = 3.4) -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as writer:
        writer.setparams((1, 2, 16_000, 0, "NONE", ""))
        writer.writeframes(b"\0\1" * round(seconds * 16_000))
    return made.getvalue()


def png() -> tuple[str, bytes, str]:
    return ('../../a;".png', b"\x89PNG\r\n\x1a\n" + b"\0" * 5_000, "image/png")


def heard(sdk: openai.OpenAI, **fields: Any) -> Any:
    told = {"model": "whisper-1", "file": ("speech.wav", wav()), **fields}
    return sdk.audio.transcriptions.create(**told)


def translated(sdk: openai.OpenAI) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return sdk.audio.translations.create(model="whisper-1", file=("a.wav", wav()))


def said(sdk: openai.OpenAI, **fields: Any) -> Any:
    told = {"model": "tts-1", "input": "hello, you there", "voice": "alloy", **fields}
    return sdk.audio.speech.create(**told).read()


def events(sdk: openai.OpenAI, **fields: Any) -> str:
    told = {"model": "gpt-4o-mini-tts", "input": "hello [[standin: tokens=40]]", "voice": "alloy"}
    with sdk.audio.speech.with_streaming_response.create(
        **told, stream_format="sse", **fields
    ) as answer:
        return answer.read().decode()


def spoken(
    sdk: openai.OpenAI, stream: bool = False, model: str = "gpt-audio", **fields: Any
) -> Any:
    sound = {"data": base64.b64encode(wav()).decode(), "format": "wav"}
    parts = [
        {"type": "text", "text": "what is said? [[standin: tokens=20]]"},
        {"type": "input_audio", "input_audio": sound},
    ]
    told: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": parts}]}
    told |= {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "pcm16"}}
    answer = sdk.chat.completions.create(**told, stream=stream, **fields)
    return list(answer) if stream else answer.choices[0].message.audio.data


TOKENS = "[[standin: tokens=30]]"
DRAWN = "a cat [[standin: tokens=1056 reasoning=0]]"

CALLS: dict[str, Do] = {
    "whisper": heard,
    "whisper, verbose": lambda sdk: heard(sdk, response_format="verbose_json"),
    "gpt-transcribe": lambda sdk: heard(sdk, model="gpt-transcribe"),
    "transcript": lambda sdk: heard(sdk, model="gpt-4o-transcribe", prompt=TOKENS),
    "transcript, streamed": lambda sdk: list(
        heard(sdk, model="gpt-4o-mini-transcribe", prompt=TOKENS, stream=True)
    ),
    "speech": said,
    "speech, hd": lambda sdk: said(sdk, model="tts-1-hd", input="é" * 500),
    "speech, events": events,
    "a chat that hears and speaks": spoken,
    "a chat that hears and speaks, streamed": lambda sdk: spoken(sdk, stream=True),
    "a chat that hears": lambda sdk: spoken(sdk, model="gpt-audio-mini", n=2),
    "images": lambda sdk: sdk.images.generate(model="gpt-image-1.5", prompt=DRAWN, n=2).data,
    "images, with text": lambda sdk: (
        sdk.images.generate(
            model="gpt-image-1.5",
            prompt="a cat [[standin: tokens=500 reasoning=40]]",
            quality="low",
        ).data
    ),
    "images, streamed": lambda sdk: list(
        sdk.images.generate(
            model="gpt-image-2", prompt=DRAWN, stream=True, partial_images=2, n=2, quality="high"
        )
    ),
    "edit": lambda sdk: (
        sdk.images.edit(
            model="gpt-image-2", image=[png(), png()], mask=png(), prompt=DRAWN, size="1024x1024"
        ).data
    ),
    "edit, streamed": lambda sdk: list(
        sdk.images.edit(model="gpt-image-2.5-flare", image=png(), prompt=DRAWN, stream=True)
    ),
}


def _settled(agent: Agent, standin: StandinProcess) -> dict[str, Any]:
    shown = agent.at_rest()
    bill = standin.bill()
    assert nanos(shown["settled_usd"]) == bill["billed_nanos"] > 0
    assert (shown["overdraft_usd"], bill["leaks"], bill["wrong_key"]) == (0, [], 0)
    return shown


@pytest.mark.parametrize("name", CALLS)
def test_it_is_not_counted(daemon: Daemon, standin: StandinProcess, name: str) -> None:
    agent = daemon.open(200.0)
    with agent.sdk(max_retries=0) as sdk:
        assert CALLS[name](sdk)
    assert _settled(agent, standin)["estimated"] == 0


UNTOLD: dict[str, Do] = {
    "a translation": translated,
    "a transcript as text": lambda sdk: heard(sdk, response_format="text"),
    "speech by the token": lambda sdk: said(sdk, model="gpt-4o-mini-tts"),
    "a transcript that breaks off": lambda sdk: list(
        heard(sdk, model="gpt-4o-transcribe", prompt="[[standin: cut=5]]", stream=True)
    ),
    "images that break off": lambda sdk: list(
        sdk.images.generate(model="gpt-image-2", prompt="[[standin: cut=9]]", stream=True)
    ),
    "images without a usage": lambda sdk: sdk.images.generate(
        model="gpt-image-2", prompt="[[standin: usage=missing]]"
    ),
    "images with a usage that is absurd": lambda sdk: sdk.images.generate(
        model="gpt-image-2", prompt="[[standin: usage=negative]]"
    ),
}


@pytest.mark.parametrize("name", UNTOLD)
def test_what_tells_no_usage_is_free(daemon: Daemon, standin: StandinProcess, name: str) -> None:
    agent = daemon.open(200.0)
    with agent.sdk(max_retries=0) as sdk, suppress(openai.APIConnectionError):
        UNTOLD[name](sdk)
    shown = agent.at_rest()
    assert nanos(shown["settled_usd"]) >= standin.bill()["billed_nanos"] > 0
    assert (shown["estimated"], shown["overdraft_usd"]) == (1, 0)


def test_a_file_is_changed_on_its_way(daemon: Daemon, standin: StandinProcess) -> None:
    """The stand-in measures the sound that it got: a byte less, and the bills would differ."""
    agent = daemon.open(10.0)
    with agent.sdk() as sdk:
        heard(sdk, file=("a.wav", wav(59.6)))
    assert standin.requests()[-1]["extra"]["seconds"] == 60
    assert _settled(agent, standin)["settled_usd"] == 0.006


def test_a_form_without_money_is_sent(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(0.0000001)
    with agent.sdk() as sdk, pytest.raises(openai.BadRequestError) as raised:
        heard(sdk)
    assert raised.value.code == "agent_budget_exceeded"
    assert standin.bill()["requests"] == 0


def test_a_form_goes_past_the_limit_of_the_doors(
    start_daemon: Callable[..., Daemon], standin: StandinProcess
) -> None:
    daemon = start_daemon(doors_max_body_mb="1")
    agent = daemon.open(10.0)
    with agent.sdk() as sdk:
        with pytest.raises(openai.APIStatusError) as raised:
            heard(sdk, file=("a.wav", wav(60)))
        assert raised.value.status_code == 413
        heard(sdk)
    assert standin.bill()["requests"] == 1


def test_a_chat_model_draws_at_the_price_of_text(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(10.0)
    with agent.sdk() as sdk:
        for call in (
            lambda: sdk.chat.completions.create(model="whisper-1", messages=[]),
            lambda: sdk.images.generate(model="tts-1", prompt="x"),
            lambda: said(sdk, model="whisper-1"),
            lambda: sdk.images.generate(model="gpt-image-2", prompt="x", output_format="svg"),
        ):
            with pytest.raises(openai.BadRequestError) as raised:
                call()
            assert raised.value.code == "model_not_priced"
    assert standin.bill()["requests"] == 0


def test_sound_is_kept_back_until_it_is_whole(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(10.0)
    body = {"model": "tts-1", "input": "hello", "voice": "alloy"}
    reply = agent.post("/audio/speech", body)
    assert reply.headers["Content-Type"] == "audio/mpeg"
    assert reply.headers["x-agentwatch-cost-usd"] is None
    assert len(reply.body) == 32 * 32
    assert _settled(agent, standin)["estimated"] == 0
