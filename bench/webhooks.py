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
from collections.abc import Iterator
from contextlib import contextmanager

from beside import compare, post
from overload import Home, home

from agentwatch.standin.process import StandinProcess

#: calls of a session until it has its alert
UNTIL_ALERT = 6
AGAIN = json.dumps(
    {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "again [[standin: tokens=3]]"}],
        "max_completion_tokens": 8,
    }
).encode()


@contextmanager
def hanging() -> Iterator[str]:
    """The address of a receiver that takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


def go_in_circles(at: Home) -> None:
    """A session repeats itself."""
    token = at.control.request("POST", "/v1/sessions", {"budget_usd": 1})["token"]
    for _ in range(UNTIL_ALERT):
        post(at, token, AGAIN)


def alerts(at: Home) -> str:
    """How many were raised."""
    told = at.control.request("GET", "/v1/alerts?limit=10000")["alerts"]
    return f"{len(told)} alerts"


def main() -> int:
    """Measure, and print a table; the exit code."""
    with StandinProcess(keep=100) as standin, hanging() as url:
        settings = {
            "AGENTWATCH_ALERTS_WEBHOOK_URL": url,
            "AGENTWATCH_ALERTS_WEBHOOK_ALLOW_PRIVATE": "true",
        }
        with home(standin) as without, home(standin, settings=settings) as with_hook:
            return compare({"no webhook": without, "it hangs": with_hook}, go_in_circles, alerts)


if __name__ == "__main__":
    sys.exit(main())
