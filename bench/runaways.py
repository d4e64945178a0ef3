"""Agents that ran away: each works for a while, and then does what it does until it is stopped.

A family yields first the calls of its work, then None, then those of its running away, without
end. BLIND are those of which nothing that is looked at tells them from work.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator

from agents import Agent, Call, work

Trace = Iterator[Call | None]
Family = Callable[[random.Random], Trace]


def _begun(lots: random.Random) -> Iterator[Call | Agent | None]:
    """Some work; the agent comes last."""
    agent = Agent(lots)
    agent.add("user", agent.words())
    yield from work(agent, lots.randrange(2, 14))
    yield None
    agent.rests = lots.choice([(0.0, 0.3), (0.5, 3.0), (2.0, 15.0)])
    yield agent


def _after_work(run: Callable[[Agent], Iterator[Call]]) -> Family:
    def family(lots: random.Random) -> Trace:
        for each in _begun(lots):
            if isinstance(each, Agent):
                yield from run(each)
            else:
                yield each

    family.__name__, family.__doc__ = run.__name__, run.__doc__
    return family


@_after_work
def constant_append(agent: Agent) -> Iterator[Call]:
    """The same tool call and the same result (its duration aside), carried along each time."""
    said = agent.text(agent.lots.randrange(20, 4_000))
    arguments = {"command": agent.text(30)}
    while True:
        yield agent.tool("run", arguments, f"{said}\nin {agent.lots.random():.2f}s")


@_after_work
def exponential_append(agent: Agent) -> Iterator[Call]:
    """Carries all that was said along in what it says next."""
    size = agent.lots.randrange(2_000, 8_000)
    while True:
        size = int(size * agent.lots.uniform(1.6, 2.2))
        yield agent.tool(
            "read", {"path": agent.name()}, (agent.text(4_000) * (size // 3_000))[:size]
        )


@_after_work
def same_error(agent: Agent) -> Iterator[Call]:
    """Tries something else each time, and is told of the same error."""
    error = f"Error: {agent.words()}"[:300]
    while True:
        line = agent.lots.randrange(1_000)
        yield agent.tool("run", {"command": agent.text(40)}, f"line {line}: {error}")


def ping_pong(lots: random.Random) -> Trace:
    """Two agents thank each other, in nearly the same words, in one thread or in two."""
    threads = lots.choice([(None, None), ("writer", "critic")])
    pair = [Agent(lots, thread=thread) for thread in threads]
    phrases = [_polite(lots), _polite(lots)]
    yield from work(pair[0], lots.randrange(2, 8))
    yield None
    pair[1].at = pair[0].at
    for number in itertools.count():
        me, other = pair[number % 2], pair[1 - number % 2]
        said = f"{phrases[number % 2]} Round {number}."
        yield me.say(said)
        other.add("user", said)
        other.at = me.at


def _polite(lots: random.Random) -> str:
    return lots.choice(
        [
            "Thank you for this review. I agree with all of your points and have nothing to add.",
            "You are welcome. The plan looks good to me; please go ahead whenever you are ready.",
            "Understood. I will wait for your confirmation before I start with the next step.",
            "Great work so far. Do you have any further suggestions for me on this draft?",
        ]
    )


@_after_work
def retry_storm(agent: Agent) -> Iterator[Call]:
    """The provider refuses, and is asked again at once; now and then with another request."""
    while True:
        if agent.lots.random() < 0.2:
            agent.add("user", agent.words())
        yield agent.fail()


@_after_work
def empty_answers(agent: Agent) -> Iterator[Call]:
    """Nothing comes, and it is asked to go on."""
    while True:
        yield agent.say("")
        agent.add("user", agent.lots.choice(["continue", "go on", "please continue"]))


@_after_work
def growing_output(agent: Agent) -> Iterator[Call]:
    """Looks at a log that gets longer."""
    log = agent.text(2_000)
    while True:
        log += agent.text(agent.lots.randrange(200, 3_000))
        yield agent.tool("run", {"command": "cat app.log"}, log)


def slow_drip(lots: random.Random) -> Trace:
    """Asks every minute whether there is something to do; there is not."""
    agent = Agent(lots, system="You watch a queue.")
    yield from work(agent, 2)
    yield None
    agent.rests = (30.0, 300.0)
    no = lots.choice(["There is nothing to do.", "No new items in the queue; I will check again."])
    for number in itertools.count():
        agent.add("user", f"It is {number // 60:02d}:{number % 60:02d}. Is there something to do?")
        yield agent.say(no)


@_after_work
def tool_cycle(agent: Agent) -> Iterator[Call]:
    """Two to five steps, again and again."""
    steps = [
        (agent.lots.choice(["read", "grep", "run"]), {"of": agent.text(20)}, agent.text(800))
        for _ in range(agent.lots.randrange(2, 6))
    ]
    for name, arguments, result in itertools.cycle(steps):
        yield agent.tool(name, arguments, f"{result} ({agent.lots.randrange(1_000)} ms)")


@_after_work
def wandering(agent: Agent) -> Iterator[Call]:
    """A few steps in no order, each seen before."""
    steps = [("read", {"path": agent.name()}, agent.text(900)) for _ in range(4)]
    while True:
        yield agent.tool(*agent.lots.choice(steps))


def fan_out(lots: random.Random) -> Trace:
    """Each agent starts two more, which do the same."""
    main = Agent(lots)
    yield from work(main, lots.randrange(2, 8))
    yield None
    at = main.at
    for generation in itertools.count(1):
        calls = []
        for number in range(min(2**generation, 200)):
            part = Agent(lots, at + number * 0.02, thread=f"{generation}-{number}")
            part.takes = (4.0, 9.0)
            part.add("user", part.words())
            calls.append(part.tool("run", {"command": part.words()[:40]}, "started"))
        yield from calls
        at += 6.0


def burst(lots: random.Random) -> Trace:
    """At its ease for minutes, and then a program of its own making calls without a pause."""
    agent = Agent(lots)
    agent.rests = (3.0, 15.0)
    yield from work(agent, lots.randrange(12, 30))
    yield None
    at = agent.at
    while True:
        one = Agent(lots, at, system="Classify this line.")
        one.takes, one.rests = (0.1, 0.3), (0.0, 0.02)
        one.add("user", one.words())
        yield one.say(one.words()[:80])
        at = one.at


@_after_work
def again_from_the_start(agent: Agent) -> Iterator[Call]:
    """A worker that dies and is started again with the same task, each time in a new thread."""
    task, system = agent.words(), agent.text(5_000)
    for number in itertools.count():
        worker = Agent(agent.lots, agent.at, thread=f"try-{number}", system=system)
        worker.add("user", task)
        yield worker.tool("read", {"path": "main.py"}, agent.text(2_000))
        agent.at = worker.at + 1.0


@_after_work
def counting(agent: Agent) -> Iterator[Call]:
    """Goes through pages without an end, each another."""
    for page in itertools.count():
        yield agent.tool("read", {"page": page}, agent.text(1_500))


@_after_work
def paraphrasing(agent: Agent) -> Iterator[Call]:
    """Says the same in other words each time."""
    while True:
        yield agent.say(agent.words())
        agent.add("user", agent.words())


FAMILIES: dict[str, Family] = {
    made.__name__: made
    for made in (
        constant_append, exponential_append, same_error, ping_pong, retry_storm, empty_answers,
        growing_output, slow_drip, tool_cycle, wandering, fan_out, burst, again_from_the_start,
    )
}  # fmt: skip
BLIND: dict[str, Family] = {made.__name__: made for made in (counting, paraphrasing)}
