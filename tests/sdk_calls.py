"""The calls of the SDKs that docs/sdk.md promises are governed: one row each, for every column.

A row knows how its SDK makes one call and reads the answer to its end. It is given a client and
what to say to the model, and answers nothing: what happened is in three books, the session's, the
daemon's and the stand-in's.
"""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import BaseModel

import agentwatch

CLASSES = {
    "openai": ("WatchedOpenAI", "AsyncWatchedOpenAI"),
    "anthropic": ("WatchedAnthropic", "AsyncWatchedAnthropic"),
    "groq": ("WatchedGroq", "AsyncWatchedGroq"),
    "xai": ("WatchedXAI", "AsyncWatchedXAI"),
    "gemini": ("WatchedGemini", "WatchedGemini"),
}
#: a model of each that OpenAI's way of calling is asked for
CHAT_MODELS = {"openai": "gpt-4o-mini", "groq": "llama-3.1-8b-instant", "xai": "grok-3-mini"}
CLAUDE = "claude-haiku-4-5"
GEMINI = "gemini-2.5-flash"
GEMINI_IMAGE = "gemini-2.5-flash-image"
#: tokens that a call may answer with: holds stay small
LIMIT = 50


class Row(NamedTuple):
    """One way to call. `make(client, said)` makes the call and reads the answer."""

    provider: str
    name: str
    make: Callable[[Any, str], Any]
    is_async: bool = False
    streams: bool = False

    @property
    def id(self) -> str:
        """What the row is called in the page."""
        return f"{self.provider} {self.name}"

    def client(self, **arguments: Any) -> Any:
        """A watched client for this row."""
        if self.provider == "gemini" and "base_url" in arguments:
            arguments["http_options"] = {"base_url": arguments.pop("base_url")}
        return getattr(agentwatch, CLASSES[self.provider][self.is_async])(**arguments)

    def run(self, client: Any, said: str = "hello") -> None:
        """Make the call with this client."""
        if self.is_async:
            asyncio.run(closing(client, self.make(client, said)))
        else:
            self.make(client, said)


async def closing(client: Any, call: Any) -> None:
    """Await a call of this client's, and close the client."""
    try:
        await call
    finally:
        # google's has both kinds in one
        await (client.aio.aclose() if hasattr(client, "aio") else client.close())


class Answer(BaseModel):
    """What `parse` is asked for."""

    text: str


def _messages(said: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": said}]


def _chat(said: str, client: Any = None, **more: Any) -> dict[str, Any]:
    model = CHAT_MODELS[getattr(client, "_agentwatch_provider", "openai")]
    return {"model": model, "messages": _messages(said), "max_tokens": LIMIT, **more}


def _responses(said: str, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "input": said, "max_output_tokens": LIMIT, **more}


def chat(client: Any, said: str) -> None:
    assert client.chat.completions.create(**_chat(said, client)).choices[0].message.content


def chat_stream(client: Any, said: str) -> None:
    # a chunk without choices is what a program that asked for no usage must never get
    for chunk in client.chat.completions.create(
        **_chat(said, client, max_tokens=None), stream=True
    ):
        assert chunk.choices


def chat_usage(client: Any, said: str) -> None:
    more = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": None}
    *_, last = client.chat.completions.create(**_chat(said, **more))
    assert last.usage.total_tokens


def chat_raw(client: Any, said: str) -> None:
    raw = client.chat.completions.with_raw_response.create(**_chat(said, client))
    assert raw.parse().usage.total_tokens


def chat_bytes(client: Any, said: str) -> None:
    asked = _chat(said, max_tokens=None, stream=True)
    with client.chat.completions.with_streaming_response.create(**asked) as answer:
        assert b"".join(answer.iter_bytes())


def chat_helper(client: Any, said: str) -> None:
    with client.chat.completions.stream(**_chat(said, max_tokens=None)) as stream:
        stream.until_done()


def chat_parse(client: Any, said: str) -> None:
    asked = {"model": "gpt-4o-mini", "messages": _messages(said)}
    made = client.chat.completions.parse(response_format=Answer, **asked)
    assert made.choices[0].message.parsed


def chat_options(client: Any, said: str) -> None:
    chat(client.with_options(timeout=60, max_retries=0).copy(), said)


def responses(client: Any, said: str) -> None:
    assert client.responses.create(**_responses(said)).output_text


def responses_stream(client: Any, said: str) -> None:
    for _ in client.responses.create(**_responses(said, max_output_tokens=None), stream=True):
        pass


def responses_helper(client: Any, said: str) -> None:
    with client.responses.stream(**_responses(said, max_output_tokens=None)) as stream:
        stream.until_done()


def responses_parse(client: Any, said: str) -> None:
    made = client.responses.parse(model="gpt-4o-mini", input=said, text_format=Answer)
    assert made.output_parsed


def completions(client: Any, said: str) -> None:
    asked = {"model": "gpt-3.5-turbo-instruct", "prompt": said, "max_tokens": LIMIT}
    assert client.completions.create(**asked).choices[0].text


def embeddings(client: Any, said: str) -> None:
    assert client.embeddings.create(model="text-embedding-3-small", input=said).data


def post(client: Any, said: str) -> None:
    made = client.post("/chat/completions", body=_chat(said), cast_to=object)
    assert made["usage"]["total_tokens"]


async def async_chat(client: Any, said: str) -> None:
    made = await client.chat.completions.create(**_chat(said, client))
    assert made.choices[0].message.content


async def async_chat_stream(client: Any, said: str) -> None:
    asked = _chat(said, client, max_tokens=None)
    async for chunk in await client.chat.completions.create(**asked, stream=True):
        assert chunk.choices


async def async_responses(client: Any, said: str) -> None:
    assert (await client.responses.create(**_responses(said))).output_text


async def async_parse(client: Any, said: str) -> None:
    asked = {"model": "gpt-4o-mini", "messages": _messages(said)}
    made = await client.chat.completions.parse(response_format=Answer, **asked)
    assert made.choices[0].message.parsed


async def async_raw(client: Any, said: str) -> None:
    raw = await client.chat.completions.with_raw_response.create(**_chat(said))
    assert raw.parse().usage.total_tokens


async def async_embeddings(client: Any, said: str) -> None:
    assert (await client.embeddings.create(model="text-embedding-3-small", input=said)).data


# ---- sound and images


def _sound() -> tuple[str, bytes]:
    """Two seconds of it."""
    made = io.BytesIO()
    with wave.open(made, "wb") as writer:
        writer.setparams((1, 2, 8_000, 0, "NONE", ""))
        writer.writeframes(b"\0\1" * 16_000)
    return "speech.wav", made.getvalue()


def _picture() -> tuple[str, bytes, str]:
    return "a.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 500, "image/png"


def _image(said: str, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-image-2", "prompt": said, "quality": "low", **more}


def _speech(said: str, **more: Any) -> dict[str, Any]:
    return {"model": "tts-1", "input": said, "voice": "alloy", **more}


def _heard(**more: Any) -> dict[str, Any]:
    return {"model": "whisper-1", "file": _sound(), **more}


def image(client: Any, said: str) -> None:
    assert client.images.generate(**_image(said)).data


def image_stream(client: Any, said: str) -> None:
    *_, last = client.images.generate(**_image(said), stream=True)
    assert last.usage.total_tokens


def image_edit(client: Any, said: str) -> None:
    assert client.images.edit(**_image(said), image=_picture()).data


def speech(client: Any, said: str) -> None:
    assert client.audio.speech.create(**_speech(said)).read()


def speech_bytes(client: Any, said: str) -> None:
    asked = _speech(said)
    with client.audio.speech.with_streaming_response.create(**asked) as answer:
        assert b"".join(answer.iter_bytes())


def transcription(client: Any, said: str) -> None:
    assert client.audio.transcriptions.create(**_heard()).text


def transcription_stream(client: Any, said: str) -> None:
    asked = _heard(model="gpt-4o-mini-transcribe", prompt=said)
    assert list(client.audio.transcriptions.create(**asked, stream=True))


async def async_image(client: Any, said: str) -> None:
    assert (await client.images.generate(**_image(said))).data


async def async_speech(client: Any, said: str) -> None:
    assert (await client.audio.speech.create(**_speech(said))).content


async def async_transcription(client: Any, said: str) -> None:
    assert (await client.audio.transcriptions.create(**_heard())).text


# ---- Anthropic


def _message(said: str, **more: Any) -> dict[str, Any]:
    return {"model": CLAUDE, "messages": _messages(said), "max_tokens": LIMIT, **more}


def message(client: Any, said: str) -> None:
    assert client.messages.create(**_message(said)).content


def message_stream(client: Any, said: str) -> None:
    for _ in client.messages.create(**_message(said, max_tokens=4000), stream=True):
        pass


def message_helper(client: Any, said: str) -> None:
    with client.messages.stream(**_message(said, max_tokens=4000)) as stream:
        assert "".join(stream.text_stream)


def message_raw(client: Any, said: str) -> None:
    assert client.messages.with_raw_response.create(**_message(said)).parse().usage


def message_options(client: Any, said: str) -> None:
    message(client.with_options(timeout=60, max_retries=0).copy(), said)


def message_beta(client: Any, said: str) -> None:
    assert client.beta.messages.create(**_message(said)).content


async def async_message(client: Any, said: str) -> None:
    assert (await client.messages.create(**_message(said))).content


async def async_message_stream(client: Any, said: str) -> None:
    asked = _message(said, max_tokens=4000)
    async for _ in await client.messages.create(**asked, stream=True):
        pass


# ---- Gemini


def _generate(said: str, limit: int = LIMIT) -> dict[str, Any]:
    config = {"max_output_tokens": limit, "thinking_config": {"thinking_budget": 0}}
    return {"model": GEMINI, "contents": said, "config": config}


def generate(client: Any, said: str) -> None:
    assert client.models.generate_content(**_generate(said)).text


def generate_stream(client: Any, said: str) -> None:
    for _ in client.models.generate_content_stream(**_generate(said, 4000)):
        pass


def generate_image(client: Any, said: str) -> None:
    config = {"response_modalities": ["TEXT", "IMAGE"], "max_output_tokens": 3000}
    made = client.models.generate_content(model=GEMINI_IMAGE, contents=said, config=config)
    assert any(part.inline_data for part in made.parts)


def gemini_chat(client: Any, said: str) -> None:
    asked = _generate(said)
    talk = client.chats.create(model=asked["model"], config=asked["config"])
    assert talk.send_message(said).text


def gemini_embed(client: Any, said: str) -> None:
    assert client.models.embed_content(model="gemini-embedding-001", contents=said).embeddings


async def async_generate(client: Any, said: str) -> None:
    assert (await client.aio.models.generate_content(**_generate(said))).text


async def async_generate_stream(client: Any, said: str) -> None:
    async for _ in await client.aio.models.generate_content_stream(**_generate(said, 4000)):
        pass


ROWS = [
    Row("openai", "chat", chat),
    Row("openai", "chat, streamed", chat_stream, streams=True),
    Row("openai", "chat, streamed with usage", chat_usage, streams=True),
    Row("openai", "chat, `with_raw_response`", chat_raw),
    Row("openai", "chat, `with_streaming_response`", chat_bytes, streams=True),
    Row("openai", "chat, `stream` helper", chat_helper, streams=True),
    Row("openai", "chat, `parse`", chat_parse),
    Row("openai", "chat, `with_options` and `copy`", chat_options),
    Row("openai", "responses", responses),
    Row("openai", "responses, streamed", responses_stream, streams=True),
    Row("openai", "responses, `stream` helper", responses_helper, streams=True),
    Row("openai", "responses, `parse`", responses_parse),
    Row("openai", "completions", completions),
    Row("openai", "embeddings", embeddings),
    Row("openai", "`client.post`", post),
    Row("openai", "async chat", async_chat, is_async=True),
    Row("openai", "async chat, streamed", async_chat_stream, is_async=True, streams=True),
    Row("openai", "async chat, `parse`", async_parse, is_async=True),
    Row("openai", "async chat, `with_raw_response`", async_raw, is_async=True),
    Row("openai", "async responses", async_responses, is_async=True),
    Row("openai", "async embeddings", async_embeddings, is_async=True),
    Row("openai", "images.generate", image),
    Row("openai", "images.generate, streamed", image_stream, streams=True),
    Row("openai", "images.edit", image_edit),
    Row("openai", "audio.speech", speech),
    Row("openai", "audio.speech, `with_streaming_response`", speech_bytes),
    Row("openai", "audio.transcriptions", transcription),
    Row("openai", "audio.transcriptions, streamed", transcription_stream, streams=True),
    Row("openai", "async images.generate", async_image, is_async=True),
    Row("openai", "async audio.speech", async_speech, is_async=True),
    Row("openai", "async audio.transcriptions", async_transcription, is_async=True),
    Row("anthropic", "messages", message),
    Row("anthropic", "messages, streamed", message_stream, streams=True),
    Row("anthropic", "messages, `stream` helper", message_helper, streams=True),
    Row("anthropic", "messages, `with_raw_response`", message_raw),
    Row("anthropic", "messages, `with_options` and `copy`", message_options),
    Row("anthropic", "beta messages", message_beta),
    Row("anthropic", "async messages", async_message, is_async=True),
    Row("anthropic", "async messages, streamed", async_message_stream, is_async=True, streams=True),
    Row("groq", "chat", chat),
    Row("groq", "chat, streamed", chat_stream, streams=True),
    Row("groq", "chat, `with_raw_response`", chat_raw),
    Row("groq", "chat, `with_options` and `copy`", chat_options),
    Row("groq", "async chat", async_chat, is_async=True),
    Row("groq", "async chat, streamed", async_chat_stream, is_async=True, streams=True),
    Row("xai", "chat", chat),
    Row("xai", "chat, streamed", chat_stream, streams=True),
    Row("xai", "async chat", async_chat, is_async=True),
    Row("xai", "async chat, streamed", async_chat_stream, is_async=True, streams=True),
    Row("gemini", "generate_content", generate),
    Row("gemini", "generate_content_stream", generate_stream, streams=True),
    Row("gemini", "generate_content, an image", generate_image),
    Row("gemini", "chats", gemini_chat),
    Row("gemini", "embed_content", gemini_embed),
    Row("gemini", "async generate_content", async_generate, is_async=True),
    Row(
        "gemini",
        "async generate_content_stream",
        async_generate_stream,
        is_async=True,
        streams=True,
    ),
]
