"""OpenAI's clients of the previous major version, watched: each kind of call, and each refusal."""

import asyncio
import sys

import openai

from agentwatch import AgentBudgetExceeded, AsyncWatchedOpenAI, WatchedOpenAI, wrap

HELLO = [{"role": "user", "content": "hello"}]
ASKED = {"model": "gpt-4o-mini", "messages": HELLO, "max_tokens": 20}
NAMED = {"agentwatch_session_id": "before"}
TINY = {"agentwatch_session_budget_usd": 0.000000001}


def at_once(client):
    assert client.chat.completions.create(**ASKED).usage.total_tokens
    assert all(chunk.choices for chunk in client.chat.completions.create(**ASKED, stream=True))
    assert client.responses.create(model="gpt-4o-mini", input="hello").output_text
    copy = client.with_options(timeout=9).copy()
    assert copy.embeddings.create(model="text-embedding-3-small", input="hi").data
    assert client.chat.completions.with_raw_response.create(**ASKED).parse().usage


async def later():
    async with AsyncWatchedOpenAI(**NAMED) as client:
        await client.chat.completions.create(**ASKED)
        async for chunk in await client.chat.completions.create(**ASKED, stream=True):
            assert chunk.choices


def refused(client, error):
    try:
        client.chat.completions.create(**ASKED)
    except error as found:
        return found
    raise SystemExit("it was let through")


at_once(WatchedOpenAI(agentwatch_session_budget_usd=1, **NAMED))
asyncio.run(later())
wrap(openai.OpenAI(api_key="x"), **NAMED).chat.completions.create(**ASKED)
refused(WatchedOpenAI(**TINY), AgentBudgetExceeded)
refused(wrap(openai.OpenAI(api_key="x"), **TINY), AgentBudgetExceeded)
private = refused(WatchedOpenAI(base_url="http://127.0.0.1:9/v1"), openai.BadRequestError)
assert private.code == "path_not_governed"
assert "httpx2" not in sys.modules
print(openai.__version__)
