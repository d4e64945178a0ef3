"""A program on the anthropic SDK, as its users write them: each kind of call once, a tool loop."""

import asyncio

import anthropic

MODEL = "claude-haiku-4-5"
SYSTEM = [{"type": "text", "text": "be brief " * 50, "cache_control": {"type": "ephemeral"}}]
ADD = {
    "name": "add",
    "input_schema": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}


def asked(text="hello [[standin: tokens=9]]", **fields):
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "max_tokens": 500, "messages": messages, **fields}


def messages(client):
    print(client.messages.create(**asked()).content[0].text)
    with client.messages.stream(**asked()) as stream:
        print("".join(stream.text_stream))
    for _ in client.messages.create(**asked(), stream=True):
        pass
    thinking = {"type": "enabled", "budget_tokens": 1024}
    thought = asked("hello [[standin: tokens=9 reasoning=90]]", thinking=thinking)
    client.messages.create(**{**thought, "max_tokens": 2000})


def caches(client):
    client.messages.create(**asked("hello [[standin: cache_write=80 tokens=3]]", system=SYSTEM))
    client.messages.create(**asked("hello [[standin: cached=80 tokens=3]]", system=SYSTEM))


def tool_loop(client):
    said = [{"role": "user", "content": "what is 2 + 3? [[standin: tools=add times=1 tokens=7]]"}]
    while True:
        answer = client.messages.create(**{**asked(), "messages": said}, tools=[ADD])
        results = [
            {
                "type": "tool_result",
                "tool_use_id": block.id,
                "content": str(block.input["a"] + block.input["b"]),
            }
            for block in answer.content
            if block.type == "tool_use"
        ]
        if not results:
            return
        said += [
            {"role": "assistant", "content": answer.content},
            {"role": "user", "content": results},
        ]


async def at_once():
    async with anthropic.AsyncAnthropic() as client:
        await asyncio.gather(*[client.messages.create(**asked()) for _ in range(3)])


with anthropic.Anthropic() as client:
    messages(client)
    caches(client)
    tool_loop(client)
    client.beta.messages.create(**asked())
asyncio.run(at_once())
print("done with anthropic", anthropic.__version__)
