"""Agents that ran away, stopped one after the other before your eyes: offline, in half a minute.

    make runaways                            # all of them
    python examples/runaways.py same_error   # one

Each is a program of its own under `agentwatch run --budget 2 --on-anomaly kill`, against a
simulated provider; none of them knows AgentWatch. What it had spent is the provider's own bill.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import string
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

Messages = list[dict[str, Any]]

BUDGET_USD = 2.00
LINES = "".join(f"  File shop/basket.py, line {n}, in total: price * count\n" for n in range(40))


# ---- the agents


def ask(messages: Messages, model: str = "gpt-4o") -> dict[str, Any]:
    """One call: the answer's message."""
    body = json.dumps({"model": model, "messages": messages, "max_tokens": 300}).encode()
    headers = {
        "Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}",
        "Content-Type": "application/json",
    }
    url = f"{os.environ['OPENAI_BASE_URL']}/chat/completions"
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        message: dict[str, Any] = json.load(answer)["choices"][0]["message"]
        return message


def task(script: str) -> Messages:
    """A conversation whose answers the simulated provider makes as the script says."""
    said = f"Make the tests pass. [[standin: head_delay=0.03 {script}]]"
    return [{"role": "system", "content": LINES * 4}, {"role": "user", "content": said}]


def tool(script: Callable[[int], str], result: Callable[[int], str]) -> None:
    """A loop: the model calls a tool, the tool has a result, the model is asked again."""
    messages = task("")
    for number in itertools.count():
        messages[1] = task(script(number))[1]
        said = ask(messages)
        call_id = said["tool_calls"][0]["id"]
        messages += [said, {"role": "tool", "tool_call_id": call_id, "content": result(number)}]


def calling(name: str, **arguments: object) -> str:
    """A script: the answer is this tool call."""
    return f"tools={name}:{json.dumps(arguments)} times=0"


def constant_append() -> None:
    """The same tests, the same failure, all of it carried along."""
    tool(lambda n: calling("run", command="pytest"), lambda n: f"{LINES}1 failed in {n}.3 s")


def exponential_append() -> None:
    """Its own history, quoted in its own history."""
    messages = task("tokens=20")
    while True:
        messages.append({"role": "assistant", "content": ask(messages)["content"]})
        messages.append({"role": "user", "content": json.dumps(messages)})


def same_error() -> None:
    """Whatever it tries, the same error."""
    error = "Error: the connection to the database on localhost was refused"
    tool(lambda n: calling("run", command=f"try {n}"), lambda n: f"{n} s: {error}")


def ping_pong() -> None:
    """Two agents that thank each other."""
    pair = [task("say=Thank-you-for-this-review"), task("say=You-are-welcome-as-ever")]
    for number in itertools.count():
        said = ask(pair[number % 2])["content"]
        pair[number % 2].append({"role": "assistant", "content": said})
        pair[1 - number % 2].append({"role": "user", "content": f"{said} (round {number})"})


def retry_storm() -> None:
    """The provider is overloaded, and is asked again at once."""
    messages = task("status=529")
    while True:
        try:
            ask(messages)
        except urllib.error.HTTPError:
            messages.append({"role": "user", "content": "again"})


def empty_answers() -> None:
    """Nothing comes back, and it is asked to go on."""
    messages = task("tokens=0")
    while True:
        messages += [{"role": "assistant", "content": ask(messages)["content"] or ""}]
        messages += [{"role": "user", "content": f"go on, {len(messages)}"}]


def growing_output() -> None:
    """A log that gets longer each time it is looked at."""
    tool(lambda n: calling("run", command="cat app.log"), lambda n: LINES * (n + 1))


def slow_drip() -> None:
    """Is there something to do? There is not. (The minutes in between are left out here.)"""
    messages = task("say=nothing-to-do-yet")
    for minute in itertools.count():
        messages += [{"role": "assistant", "content": ask(messages)["content"]}]
        messages += [{"role": "user", "content": f"It is 09:{minute:02d}. Something to do?"}]


def tool_cycle() -> None:
    """Look, edit, test, look, edit, test …"""
    steps = ("look", "edit", "test")
    tool(lambda n: calling(steps[n % 3], of="basket"), lambda n: f"{steps[n % 3]}: {LINES}")


def wandering() -> None:
    """Four files, read again and again in no order."""
    tool(lambda n: calling("read", path=n * n * 7 % 11 % 4), lambda n: LINES[: n * n * 7 % 11])


def fan_out() -> None:
    """Each agent starts two more."""

    def one(depth: int) -> None:
        started = [threading.Thread(target=one, args=(depth + 1,)) for _ in range(2)]
        words = "-".join("".join(random.choices(string.ascii_lowercase, k=6)) for _ in range(9))
        ask(task(f"head_delay={0.6 + depth / 5} say={words}"))
        for each in started:
            each.start()

    one(0)


AGENTS = {
    made.__name__: made
    for made in (
        constant_append, exponential_append, same_error, ping_pong, retry_storm, empty_answers,
        growing_output, slow_drip, tool_cycle, wandering, fan_out,
    )
}  # fmt: skip


# ---- the show


def main() -> int:
    """Run all that are asked for; 1 where one was not stopped."""
    from agentwatch_cli.demo_scene import scene

    names = sys.argv[1:] or list(AGENTS)
    with scene(os.environ) as stage:
        stopped = [_show(stage, name) for name in names]
    print(f"\n{sum(stopped)} of {len(stopped)} stopped")
    return 0 if all(stopped) else 1


def _show(stage: Any, name: str) -> bool:
    """One runaway under a ceiling: whether it was stopped for what it did."""
    print(f"\n{name}: {AGENTS[name].__doc__}", flush=True)
    report = stage.home / f"{name}.json"
    before = stage.provider_bill()
    command = stage.agentwatch(
        "run", "--budget", str(BUDGET_USD), "--on-anomaly", "kill", "--report", str(report), "--",
        sys.executable, "-P", __file__, "--agent", name,
    )  # fmt: skip
    subprocess.run(command, env=stage.environment, capture_output=True, timeout=120, check=False)
    told = json.loads(report.read_text())
    billed = (stage.provider_bill() - before) / 1e9
    for alert in told["alerts"]:
        print(f"  {alert['kind']}: {alert['message']}")
    share = billed / BUDGET_USD
    print(f"  {told['state']} after {told['calls']} calls, ${billed:.4f} ({share:.1%} of $2)")
    return told["state"] == "killed" and bool(told["alerts"])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--agent"]:
        AGENTS[sys.argv[2]]()
    else:
        sys.exit(main())
