"""What calls notice of a webhook that hangs: `python bench/webhooks.py [ROUNDS]`.

Two daemons in one run, taking turns: one that delivers its alerts to a receiver that never answers,
and one that delivers none. On each, sessions go in circles so that alerts are raised all the time,
while an innocent agent calls. Prints p50 and p99 of the innocent's calls, and how many alerts there
were. The exit code is 1 where a call failed.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from overload import Home, Seen, home, innocent

from agentwatch.standin.process import StandinProcess

ROUNDS = 4
CALLS = 300
#: calls of a session until it has its alert
UNTIL_ALERT = 6


@contextmanager
def hanging() -> Iterator[str]:
    """The address of a receiver that takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


def go_in_circles(at: Home, over: threading.Event) -> None:
    """One session after the other repeats itself."""
    body = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "again [[standin: tokens=3]]"}],
        "max_completion_tokens": 8,
    }
    while not over.is_set():
        token = at.control.request("POST", "/v1/sessions", {"budget_usd": 1})["token"]
        for _ in range(UNTIL_ALERT):
            request = urllib.request.Request(
                f"http://127.0.0.1:{at.port}/openai/v1/chat/completions",
                json.dumps(body).encode(),
                {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.read()


def disturbed(at: Home) -> Seen:
    """An innocent's calls while alerts are raised."""
    over = threading.Event()
    thread = threading.Thread(target=go_in_circles, args=(at, over))
    thread.start()
    try:
        return innocent(at, CALLS)
    finally:
        over.set()
        thread.join()


def main() -> int:
    """Measure, and print a table; the exit code."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with StandinProcess(keep=100) as standin, hanging() as url:
        settings = {
            "AGENTWATCH_ALERTS_WEBHOOK_URL": url,
            "AGENTWATCH_ALERTS_WEBHOOK_ALLOW_PRIVATE": "true",
        }
        with home(standin) as without, home(standin, settings=settings) as with_hook:
            sides = {"no webhook": without, "it hangs": with_hook}
            seen = {name: Seen() for name in sides}
            for _ in range(rounds):
                for name, at in sides.items():
                    seen[name].add(disturbed(at))
            print(Seen.heading())
            for name, at in sides.items():
                alerts = at.control.request("GET", "/v1/alerts?limit=10000")["alerts"]
                print(f"{seen[name].row(name)}   {len(alerts)} alerts")
    return int(any(each.failed or each.refused for each in seen.values()))


if __name__ == "__main__":
    sys.exit(main())
