"""A program that calls without a pause until its standard input ends; then it tells what it saw.

Arguments: port, token, model, threads. Errors are counted by kind, so that a test can tell a
connection that broke, as it must when the daemon is killed, from one that was refused. Of each
call that begins to be answered the hold and the provider's own id are noted.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
from collections import Counter
from itertools import count
from typing import Any

TIMEOUT_S = 60.0
LIMIT = 40


def body(model: str, number: int) -> dict[str, Any]:
    """Streamed and not, quick and slow, in turn; some go past their limit, which keeps holds
    small."""
    how = " delay=0.01" if number % 3 == 0 else ""
    tokens = 5 + number % 20
    if number % 4 == 0:
        how, tokens = how + " ignore_limit", LIMIT + 3
    said = f"hello [[standin: tokens={tokens}{how}]]"
    return {
        "model": model,
        "messages": [{"role": "user", "content": said}],
        "max_completion_tokens": LIMIT,
        "stream": number % 2 == 0,
    }


def call(port: int, token: str, sent: dict[str, Any], named: list[tuple[str, str]]) -> str:
    """One call on a connection of its own; what came of it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    headers = {"Authorization": f"Bearer {token}", "Connection": "close"}
    try:
        connection.request("POST", "/openai/v1/chat/completions", json.dumps(sent), headers)
        answer = connection.getresponse()
        if answer.status == 200:
            named.append(
                (answer.headers["x-agentwatch-request-id"], answer.headers["x-request-id"])
            )
        said = answer.read()
        if answer.status != 200:
            return f"{answer.status} {answer.headers['x-agentwatch-denied']}"
        whole = said.endswith(b"data: [DONE]\n\n") if sent["stream"] else bool(json.loads(said))
        return "served" if whole else "cut"
    except ConnectionRefusedError:
        return "refused"
    except (ConnectionError, http.client.HTTPException):
        return "broken"
    except TimeoutError:
        return "hung"
    finally:
        connection.close()


def main() -> None:
    port, token, model, threads = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    stop, seen = threading.Event(), Counter[str]()
    named: list[tuple[str, str]] = []

    def work(first: int) -> None:
        for number in count(first):
            if stop.is_set():
                return
            seen[call(port, token, body(model, number), named)] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    sys.stdin.read()
    stop.set()
    for worker in workers:
        worker.join()
    print(json.dumps({"seen": seen, "named": named}))


if __name__ == "__main__":
    main()
