"""What an innocent agent's calls notice of what somebody else does beside them, on two sides that
take turns in one run. For telemetry.py and webhooks.py."""

from __future__ import annotations

import sys
import threading
import urllib.request
from collections.abc import Callable, Mapping

from overload import Home, Seen, innocent

ROUNDS = 4
CALLS = 300

#: is called again and again, until the innocent has made its calls
Doing = Callable[[Home], None]


def post(at: Home, token: str, body: bytes) -> None:
    """One chat call, to its end."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    url = f"http://127.0.0.1:{at.port}/openai/v1/chat/completions"
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()


def compare(sides: Mapping[str, Home], doing: Doing, told: Callable[[Home], str]) -> int:
    """Measure as many rounds as the command line says, and print a row for each side with what is
    `told` of it; the exit code is 1 where an innocent call failed."""
    seen = {name: Seen() for name in sides}
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS):
        for name, at in sides.items():
            seen[name].add(_disturbed(at, doing))
    print(Seen.heading())
    for name, at in sides.items():
        print(f"{seen[name].row(name)}   {told(at)}")
    return int(any(each.failed or each.refused for each in seen.values()))


def _disturbed(at: Home, doing: Doing) -> Seen:
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            doing(at)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        return innocent(at, CALLS)
    finally:
        over.set()
        thread.join()
