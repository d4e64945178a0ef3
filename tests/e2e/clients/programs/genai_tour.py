"""A program on Google's own SDK, as its users write them: each kind of call once, and a tool loop
that the SDK runs by itself."""

import asyncio

from google import genai
from google.genai import types
from pydantic import BaseModel

MODEL = "gemini-2.5-flash"
HELLO = "hello [[standin: tokens=9 reasoning=40]]"
ASKED = "what is 2 + 3? [[standin: tools=add times=1 tokens=7]]"


class Answer(BaseModel):
    text: str
    number: int


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def generations(client):
    print(client.models.generate_content(model=MODEL, contents=HELLO).text)
    for chunk in client.models.generate_content_stream(model=MODEL, contents=HELLO):
        print(chunk.text, end="")
    config = types.GenerateContentConfig(
        max_output_tokens=300,
        thinking_config=types.ThinkingConfig(thinking_budget=0),
        response_mime_type="application/json",
        response_schema=Answer,
    )
    print(client.models.generate_content(model=MODEL, contents="hello", config=config).parsed)


def chat(client):
    talk = client.chats.create(model="gemini-3.5-flash")
    print(talk.send_message("hello").text)
    for chunk in talk.send_message_stream("and on"):
        print(chunk.text, end="")


def tool_loop(client):
    config = types.GenerateContentConfig(tools=[add])
    print(client.models.generate_content(model=MODEL, contents=ASKED, config=config).text)


async def at_once(client):
    calls = [client.aio.models.generate_content(model=MODEL, contents=HELLO) for _ in range(3)]
    await asyncio.gather(*calls)
    stream = await client.aio.models.generate_content_stream(model=MODEL, contents=HELLO)
    async for chunk in stream:
        print(chunk.text, end="")
    await client.aio.aclose()


client = genai.Client()
generations(client)
chat(client)
tool_loop(client)
client.models.embed_content(model="gemini-embedding-001", contents=["one", "two"])
asyncio.run(at_once(client))
client.close()
print("done with google-genai", genai.__version__)
