"""A program on the openai SDK, as its users write them: each kind of call once, and a tool loop."""

import asyncio
import json

import openai
from pydantic import BaseModel

MODEL = "gpt-4o-mini"
HELLO = [{"role": "user", "content": "hello [[standin: tokens=9]]"}]
ASKED = "what is 2 + 3? [[standin: tools=add times=1 tokens=7]]"


class Answer(BaseModel):
    text: str
    number: int


ADD = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}


def chats(client):
    print(client.chat.completions.create(model=MODEL, messages=HELLO).choices[0].message.content)
    for chunk in client.chat.completions.create(model=MODEL, messages=HELLO, stream=True):
        print(chunk.choices[0].delta.content or "", end="")
    parsed = client.chat.completions.parse(model=MODEL, messages=HELLO, response_format=Answer)
    print(parsed.choices[0].message.parsed)


def responses(client):
    print(client.responses.create(model="gpt-5-mini", input="hello").output_text)
    with client.responses.stream(model="gpt-5-mini", input="hello") as stream:
        print(stream.get_final_response().output_text)
    print(client.responses.parse(model=MODEL, input="hello", text_format=Answer).output_parsed)


def tool_loop(client):
    tools = [{"type": "function", "function": {"name": "add", "parameters": ADD}}]
    messages = [{"role": "user", "content": ASKED}]
    while True:
        said = client.chat.completions.create(model=MODEL, messages=messages, tools=tools)
        message = said.choices[0].message
        if not message.tool_calls:
            return
        messages.append(message)
        for call in message.tool_calls:
            numbers = json.loads(call.function.arguments)
            result = str(numbers["a"] + numbers["b"])
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


async def at_once():
    async with openai.AsyncOpenAI() as client:
        calls = [client.chat.completions.create(model=MODEL, messages=HELLO) for _ in range(3)]
        await asyncio.gather(*calls)


with openai.OpenAI() as client:
    chats(client)
    responses(client)
    tool_loop(client)
    client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
asyncio.run(at_once())
print("done with openai", openai.__version__)
