"""A ceiling in one line: a loop that would go on for ever is stopped by `AgentBudgetExceeded`.

Needs `pip install openai`, a running daemon (`agentwatch up`) and the provider's key in it
(`agentwatch keys set openai`).
"""

from agentwatch import AgentBudgetExceeded, WatchedOpenAI

client = WatchedOpenAI(agentwatch_session_budget_usd=0.01)
messages = [{"role": "user", "content": "Tell me a story."}]
calls = 0
try:
    while True:
        answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages)
        messages.append({"role": "assistant", "content": answer.choices[0].message.content})
        messages.append({"role": "user", "content": "Go on."})
        calls += 1
except AgentBudgetExceeded as error:
    print(f"stopped after {calls} calls: spent ${error.spent:.4f} of ${error.limit:.4f}")
