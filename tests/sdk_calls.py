"""The calls of the SDKs that docs/sdk.md promises are governed: one row each, for every column.

A row knows how its SDK makes one call and reads the answer to its end. It is given a client and
what to say to the model, and answers nothing: what happened is in three books, the session's, the
daemon's and the stand-in's.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import BaseModel

import agentwatch

#: far below the price of any call, and still with a price
MODEL = {"openai": "gpt-4o-mini"}
CLASSES = {"openai": ("WatchedOpenAI", "AsyncWatchedOpenAI")}
#: tokens that a call may answer with: holds stay small
LIMIT = 50
DIMENSIONS = 8


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
        return getattr(agentwatch, CLASSES[self.provider][self.is_async])(**arguments)

    def run(self, client: Any, said: str = "hello") -> None:
        """Make the call with this client."""
        if self.is_async:
            asyncio.run(_closing(client, self.make(client, said)))
        else:
            self.make(client, said)


async def _closing(client: Any, call: Any) -> None:
    try:
        if inspect.isasyncgen(call):
            async for _ in call:
                pass
        else:
            await call
    finally:
        await client.close()


class Answer(BaseModel):
    """What `parse` is asked for."""

    text: str


def _messages(said: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": said}]


def _chat(said: str, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": _messages(said), "max_tokens": LIMIT, **more}


def _responses(said: str, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "input": said, "max_output_tokens": LIMIT, **more}


def chat(client: Any, said: str) -> None:
    assert client.chat.completions.create(**_chat(said)).choices[0].message.content


def chat_stream(client: Any, said: str) -> None:
    # a chunk without choices is what a program that asked for no usage must never get
    for chunk in client.chat.completions.create(**_chat(said, max_tokens=None), stream=True):
        assert chunk.choices


def chat_usage(client: Any, said: str) -> None:
    more = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": None}
    *_, last = client.chat.completions.create(**_chat(said, **more))
    assert last.usage.total_tokens


def chat_raw(client: Any, said: str) -> None:
    raw = client.chat.completions.with_raw_response.create(**_chat(said))
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
    made = await client.chat.completions.create(**_chat(said))
    assert made.choices[0].message.content


async def async_chat_stream(client: Any, said: str) -> None:
    asked = _chat(said, max_tokens=None)
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
]
