"""An agent of openai-agents with one tool; how often it uses it is the stand-in's script."""

import sys

from agents import Agent, Runner, function_tool


@function_tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


agent = Agent(name="adder", instructions="Add.", model="gpt-4o", tools=[add])
print(Runner.run_sync(agent, sys.argv[1], max_turns=60).final_output)
