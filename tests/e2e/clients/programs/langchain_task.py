"""A program on langchain-openai: invoke, stream, structured output, responses, a tool loop."""

import sys

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Answer(BaseModel):
    text: str


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def loop(model, prompt):
    messages = [HumanMessage(prompt)]
    while True:
        said = model.bind_tools([add]).invoke(messages)
        messages.append(said)
        if not said.tool_calls:
            return said.text
        for call in said.tool_calls:
            result = str(add.invoke(call["args"]))
            messages.append(ToolMessage(result, tool_call_id=call["id"]))


chat = ChatOpenAI(model="gpt-4o")
if len(sys.argv) == 1:
    print(chat.invoke("hello").text)
    print("".join(piece.text for piece in chat.stream("hello")))
    print(chat.with_structured_output(Answer).invoke("hello"))
    print(ChatOpenAI(model="gpt-5-mini", use_responses_api=True).invoke("hello").text)
print(loop(chat, (sys.argv[1:] or ["2 + 3? [[standin: tools=add times=2 tokens=7]]"])[0]))
