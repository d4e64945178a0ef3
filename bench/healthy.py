"""Agents that do what they should: nothing is to be told of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from agents import SMALL, Agent, Call, Calls, prose, report, work

Family = Callable[[random.Random], Calls]


def coding(lots: random.Random) -> Calls:
    """Reads, searches, edits, tests, plans, and says that it is done."""
    agent = Agent(lots)
    agent.add("user", agent.words())
    yield from work(agent, lots.randrange(20, 70))
    yield agent.say(agent.words())


def compacting(lots: random.Random) -> Calls:
    """Works for so long that it must forget, several times."""
    agent = Agent(lots)
    for _ in range(lots.randrange(2, 5)):
        agent.add("user", agent.words())
        yield from work(agent, lots.randrange(15, 35))
        yield agent.say("\n".join(agent.words() for _ in range(4)))
        agent.compact()


def paging(lots: random.Random) -> Calls:
    """Reads one large file to its end, page by page."""
    agent = Agent(lots)
    agent.add("user", agent.words())
    path = agent.name()
    for page in range(lots.randrange(10, 40)):
        arguments = {"path": path, "from": page * 100 + 1}
        yield agent.tool("read", arguments, agent.text(lots.randrange(1_500, 4_000)))
    yield agent.say(agent.words())


def waiting(lots: random.Random) -> Calls:
    """Polls a build that gets on, then goes on working."""
    agent = Agent(lots)
    agent.add("user", agent.words())
    yield from work(agent, lots.randrange(3, 12))
    agent.rests = (15.0, 60.0)
    for step in range(lots.randrange(2, 9)):
        said = f"step {step + 1} of 9: compiling {agent.name()} ({lots.random():.1%})"
        yield agent.tool("run", {"command": "build status"}, said)
    agent.rests = (0.5, 4.0)
    yield from work(agent, lots.randrange(3, 15))
    yield agent.say(agent.words())


def patient(lots: random.Random) -> Calls:
    """Polls a job that says nothing new, a few times."""
    agent = Agent(lots)
    agent.add("user", agent.words())
    yield from work(agent, lots.randrange(3, 12))
    agent.rests = (15.0, 60.0)
    for _ in range(lots.randrange(2, 5)):
        yield agent.tool("run", {"command": "job status"}, "the job is still running")
    yield agent.tool("run", {"command": "job status"}, f"done: {agent.words()}")
    yield from work(agent, lots.randrange(3, 15))


def fixing(lots: random.Random) -> Calls:
    """Edits and runs the same tests again and again; now and then the same thing is wrong."""
    agent = Agent(lots)
    agent.add("user", agent.words())
    failing = lots.randrange(3, 10)
    said = report(agent, failing)
    while failing:
        yield agent.tool(
            "edit", {"path": agent.name(), "old": agent.text(60), "new": agent.text(70)}, "ok"
        )
        if lots.random() < 0.7:
            failing = max(0, failing - lots.randrange(0, 3))
            said = report(agent, failing)
        yield agent.tool("run", {"command": "pytest -q"}, said)
    yield agent.say(agent.words())


def chatting(lots: random.Random) -> Calls:
    """A person asks, the model answers; a title is made on a small model."""
    agent = Agent(lots)
    agent.rests = (10.0, 90.0)
    title = Agent(lots, thread="title", system="Give this conversation a title.")
    title.model = SMALL
    for number in range(lots.randrange(8, 40)):
        agent.add("user", agent.words())
        yield agent.say(" ".join(agent.words() for _ in range(lots.randrange(1, 4))))
        if number == 0:
            title.at = agent.at
            title.add("user", agent.words())
            yield title.say(agent.words()[:40])


def batch(lots: random.Random) -> Calls:
    """The same instruction for many documents, each in a conversation of its own."""
    rule = "If the document can't be read, answer with an error that says what failed. " * 3
    at = 0.0
    for _ in range(lots.randrange(20, 80)):
        agent = Agent(lots, at, system="You extract what matters from a document.")
        agent.takes, agent.rests = (0.8, 3.0), (0.0, 0.3)
        agent.add("user", f"{agent.text(lots.randrange(500, 6_000))}\n\n{rule}")
        yield agent.say(json.dumps({"title": agent.words()[:60], "about": agent.words()}))
        at = agent.at


def labelling(lots: random.Random) -> Calls:
    """Puts one of few labels on many texts, as text or by a tool; often the same label."""
    examples = "\n".join(f"{lots.choice(prose())[:200]} -> positive" for _ in range(12))
    rule = f"Say positive, negative or neutral.\n{examples}"[: lots.randrange(100, 2_500)]
    by_tool, at = lots.random() < 0.5, 0.0
    for _ in range(lots.randrange(40, 120)):
        agent = Agent(lots, at, system=rule)
        agent.takes, agent.rests = (0.4, 1.2), (0.0, 0.3)
        agent.add("user", agent.words())
        label = lots.choices(["positive", "negative", "neutral"], [20, 1, 1])[0]
        yield agent.tool("plan", {"label": label}, "ok") if by_tool else agent.say(label)
        at = agent.at


def subagents(lots: random.Random) -> Calls:
    """Starts some that work beside it, and waits for them."""
    main = Agent(lots)
    main.add("user", main.words())
    yield from work(main, lots.randrange(3, 10))
    calls: list[Call] = []
    ends = []
    for number in range(lots.randrange(3, 9)):
        part = Agent(lots, main.at + number * 0.1, thread=f"part-{number}")
        part.add("user", part.words())
        calls += [*work(part, lots.randrange(5, 20)), part.say(part.words())]
        ends.append(part.at)
    yield from sorted(calls, key=lambda call: call.at)
    main.at = max(ends)
    yield from work(main, lots.randrange(3, 10))


def unlucky(lots: random.Random) -> Calls:
    """The provider fails now and then; the client asks again, at most three times."""
    agent = Agent(lots)
    agent.add("user", agent.words())
    for call in work(agent, lots.randrange(20, 50)):
        if lots.random() < 0.15:
            for _ in range(lots.randrange(1, 4)):
                yield Call(call.at - 0.5, 0.2, call.model, None, call.body, None, 0, 0, 0)
        yield call


def sampling(lots: random.Random) -> Calls:
    """Asks for the same thing several times at once, and takes the best."""
    at = 0.0
    for _ in range(lots.randrange(5, 15)):
        agent = Agent(lots, at, system="Solve this.")
        agent.add("user", agent.words())
        asked = agent.say("").body
        ends = []
        for _ in range(8):
            agent.at = at + lots.random() * 0.2
            one = agent.say(agent.words())
            ends.append(one.at + one.took)
            yield Call(
                one.at, one.took, one.model, None, asked, one.answer, one.prompt, 0, one.made
            )
        at = max(ends) + 1.0


def shape_keeping(lots: random.Random) -> Calls:
    """Answers have a form to keep; one that has not is asked for again, twice at most."""
    agent = Agent(lots)
    for _ in range(lots.randrange(10, 30)):
        agent.add("user", agent.words())
        for _ in range(lots.choice([0, 0, 0, 1, 2])):
            yield agent.say(agent.words())
            agent.add("user", "Error: this is no valid JSON. Answer again, in JSON only.")
        yield agent.say(json.dumps({"answer": agent.words()}))


FAMILIES: dict[str, Family] = {
    made.__name__: made
    for made in (
        coding, compacting, paging, waiting, patient, fixing, chatting, batch, labelling, subagents,
        unlucky, sampling, shape_keeping,
    )
}  # fmt: skip
