"""What a watched client adds to a call: `python bench/sdk.py`.

One provider (canned.py), one daemon before it, and OpenAI's own client in four ways:

    plain              openai.OpenAI, straight to the provider
    plain + aw-sdk     the same, and before each call the question that aw-sdk 1.0.1 asks: a new
                       connection to the port each time
    watched            WatchedOpenAI: held, forwarded, metered and settled, over the socket
    plain, daemon's    openai.OpenAI at the daemon's port with a session's token: what of it is the
                       daemon's, and what the SDK's own

They take turns, call by call, so that what else the machine does meets all of them. `added` is
beside `plain`, of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import httpx
import openai
from sides import KEY, Provider, Side, agentwatch, canned, control

from agentwatch import WatchedOpenAI

AWK = "awk_of-the-benchmark-only"
#: calls that are not counted: connections and caches are made by them
WARM = 20
CHAT: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "hello"}],
    "max_tokens": 16,
}


def _ways(provider: Provider, side: Side) -> dict[str, Callable[[], Any]]:
    plain = openai.OpenAI(base_url=f"http://127.0.0.1:{provider.port}/v1", api_key=KEY)
    through = openai.OpenAI(base_url=f"http://127.0.0.1:{side.port}/openai/v1", api_key=side.key)
    watched = WatchedOpenAI(agentwatch_session_id="watched", agentwatch_session_budget_usd=1e6)
    check = f"http://127.0.0.1:{side.port}/v1/budget-check?session_id=checked&limit_usd=2"

    def checked() -> None:
        httpx.get(check, headers={"Authorization": f"Bearer {AWK}"}, timeout=2.0).raise_for_status()
        plain.chat.completions.create(**CHAT)

    control(side.socket_path or "", "POST", "/v1/sessions", {"session_id": "checked"})
    return {
        "plain": lambda: plain.chat.completions.create(**CHAT),
        "plain + aw-sdk": checked,
        "watched": lambda: watched.chat.completions.create(**CHAT),
        "plain, daemon's": lambda: through.chat.completions.create(**CHAT),
    }


def _measure(ways: dict[str, Callable[[], Any]], calls: int) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(calls + WARM):
        for name, ask in ways.items():
            began = time.perf_counter_ns()
            ask()
            if number >= WARM:
                took[name].append((time.perf_counter_ns() - began) / 1e6)
    return took


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ["AGENTWATCH_API_KEY"] = AWK
    with canned() as provider, agentwatch(provider, AGENTWATCH_API_KEY=AWK) as side:
        assert side.socket_path is not None
        os.environ["AGENTWATCH_SOCKET"] = side.socket_path
        took = _measure(_ways(provider, side), options.calls)
    plain = statistics.median(took["plain"])
    rows = {
        name: {
            "p50_ms": round(statistics.median(each), 2),
            "p99_ms": round(statistics.quantiles(each, n=100)[98], 2),
            "added_ms": round(statistics.median(each) - plain, 2),
        }
        for name, each in took.items()
    }
    if options.json:
        print(json.dumps({"calls": options.calls, "rows": rows}))
        return
    print(f"{'way':<18}{'p50 ms':>9}{'p99 ms':>9}{'added ms':>10}   ({options.calls} calls each)")
    for name, row in rows.items():
        print(f"{name:<18}{row['p50_ms']:>9}{row['p99_ms']:>9}{row['added_ms']:>10}")


if __name__ == "__main__":
    main()
