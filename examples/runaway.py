"""A runaway agent on the plain `openai` SDK: it retries a test that never passes, and each call
carries all that went before. Nothing in it knows AgentWatch.

    agentwatch run --budget 0.50 -- python examples/runaway.py
"""

from openai import BadRequestError, OpenAI

client = OpenAI()
messages = [{"role": "user", "content": "Make the test suite pass. Do not give up."}]

for attempt in range(1, 1000):
    try:
        answer = client.chat.completions.create(model="gpt-4o", messages=messages, max_tokens=200)
    except BadRequestError as error:
        print(f"call {attempt} was refused: {error.message}")
        raise SystemExit(1) from None
    print(f"call {attempt}: {answer.usage.prompt_tokens:,} tokens in")
    messages.append({"role": "assistant", "content": answer.choices[0].message.content})
    messages.append(
        {"role": "user", "content": "20 failed. Try again.\n" + "E assert 1 == 2\n" * 400}
    )
