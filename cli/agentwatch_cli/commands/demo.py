"""`agentwatch demo`: a runaway agent is stopped by its ceiling; no key, no network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentwatch.errors import AgentWatchError
from agentwatch_cli.output import say, usd

if TYPE_CHECKING:
    from agentwatch_cli.demo_scene import Scene
    from agentwatch_cli.demo_view import Story

_NEXT = (
    "For your own agent:",
    "  agentwatch keys set openai",
    "  agentwatch run --budget 2.00 -- python your_agent.py",
    "  agentwatch sessions top",
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    budget: Annotated[str, typer.Option(metavar="USD", help="The agent's ceiling.")] = "0.50",
) -> None:
    """Watch a runaway agent being stopped: offline, in some ten seconds."""
    from agentwatch.core.money import parse_usd, to_usd
    from agentwatch_cli.demo_scene import scene
    from agentwatch_cli.demo_view import Story

    story = Story(to_usd(parse_usd(budget, "--budget")))
    if story.ceiling_usd <= 0:
        raise AgentWatchError("the demo's agent needs a little money: --budget 0.50")
    say(f"$ agentwatch run --budget {budget} -- python runaway_agent.py")
    with scene(os.environ) as stage:
        closing = _play(stage, story, budget)
        billed = stage.provider_bill()
    _tell_end(story, closing, billed)


def _play(stage: Scene, story: Story, budget: str) -> str:
    """Run the agent, show its story as it comes; what `run` said at the end."""
    from agentwatch_cli.demo_view import view

    agent = [sys.executable, "-P", "-m", "agentwatch_cli.demo_agent", "--events"]
    command = stage.agentwatch("run", "--budget", budget, "--", *agent)
    words = stage.home / "run.stderr"
    with (
        words.open("w") as stderr,
        subprocess.Popen(
            command,
            env=stage.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as run,
    ):
        try:
            with view() as screen:
                for event in _events(run):
                    story.take(event)
                    screen.show(story)
        except BaseException:
            run.terminate()
            raise
    return words.read_text(encoding="utf-8", errors="replace").strip()


def _events(run: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert run.stdout is not None
    for line in run.stdout:
        if line.startswith("{"):
            yield json.loads(line)


def _tell_end(story: Story, closing: str, billed: int) -> None:
    from agentwatch.core.money import usd_text
    from agentwatch_cli.demo_view import PROJECTED_CALLS

    for line in closing.splitlines():
        say(line)
    if story.refusal is None or story.refusal["code"] != "agent_budget_exceeded":
        raise AgentWatchError("the demo did not end as it should: the ceiling stopped nothing")
    calls, led_to = len(story.calls), usd(story.projected_usd())
    say("")
    say(f"Stopped after {calls} calls, within {usd(story.ceiling_usd)}. The provider's own bill:")
    say(f"${usd_text(billed)}. Left alone, {PROJECTED_CALLS} calls would have cost {led_to}.")
    for line in ("", *_NEXT):
        say(line)
