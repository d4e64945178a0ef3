"""The runaway agent of `agentwatch demo`: it works at a test that never passes, and sends all that
it has seen so far with every call. Standard library only; it knows nothing of AgentWatch.

Reads OPENAI_BASE_URL and OPENAI_API_KEY. Prints a line a call, as JSON with `--events`. Ends with
1 when a call is refused, and with 0 after MOST_CALLS.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

MODEL = "gpt-4o"
MOST_CALLS = 80
TASK = "Make the test suite pass. Run the tests after every change, and do not give up."
_TRACE = (
    "tests/test_basket.py::test_total_with_discount FAILED [{n:02d}]\n"
    '  File "shop/basket.py", line {line}, in total\n'
    "    return sum(item.price * item.count for item in self.items) - self.discount\n"
    "AssertionError: expected 94.05, got {got}: the discount was taken off twice, or not at all\n"
)


def main() -> int:
    """Loop until the money is gone. Returns the exit code."""
    tell = _tell_event if "--events" in sys.argv[1:] else _tell_line
    messages = [{"role": "user", "content": TASK}]
    for number in range(1, MOST_CALLS + 1):
        try:
            answer, headers = ask(messages)
        except urllib.error.HTTPError as error:
            tell({"call": number, "status": error.code, **_refusal(error.read())})
            return 1
        tell({"call": number, **_figures(answer, headers)})
        text = answer["choices"][0]["message"]["content"]
        messages.append({"role": "assistant", "content": text or ""})
        messages.append({"role": "user", "content": output_of_the_tests(number)})
    return 0


def ask(messages: list[dict[str, str]]) -> tuple[dict[str, Any], Mapping[str, str]]:
    """One chat completion: its JSON and its headers. Raises urllib.error.HTTPError."""
    base_url, key = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
    body = json.dumps({"model": MODEL, "messages": messages, "max_tokens": 200}).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{base_url}/chat/completions", body, headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        return json.load(response), response.headers


def output_of_the_tests(number: int) -> str:
    """What its tool shows after change `number`: some 1,500 tokens that it will carry along."""
    lines = (_TRACE.format(n=n, line=40 + n, got=94.05 + number + n / 100) for n in range(20))
    return f"$ pytest -x  # try {number}\n" + "".join(lines) + "20 failed\n"


def _figures(answer: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    usage = answer["usage"]
    return {
        "prompt_tokens": usage["prompt_tokens"],
        "completion_tokens": usage["completion_tokens"],
        "cost_usd": float(headers.get("x-agentwatch-cost-usd") or 0),
    }


def _refusal(raw: bytes) -> dict[str, str]:
    try:
        error = json.loads(raw)["error"]
        return {"refused": str(error["message"]), "code": str(error.get("code"))}
    except (ValueError, KeyError, TypeError):
        return {"refused": raw[:500].decode("utf-8", "replace"), "code": "unknown"}


def _tell_event(event: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def _tell_line(event: Mapping[str, Any]) -> None:
    if "refused" in event:
        line = f"call {event['call']}: refused ({event['status']}): {event['refused']}"
    else:
        line = f"call {event['call']}: {event['prompt_tokens']:,} tokens in"
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
