"""What calls notice of telemetry: `python bench/telemetry.py [ROUNDS]`.

Two daemons in one run, taking turns: one that keeps records alone, and looks at nothing; and one
that looks at all that is said, redacts and keeps it. On each, an agent sends prompts of 100 KB with
secrets in them all the time, while an innocent one calls. Prints p50 and p99 of the innocent's
calls, and the fate of the records. The exit code is 1 where a call failed.
"""

from __future__ import annotations

import json
import sys
import threading
import urllib.request
from pathlib import Path

from overload import Home, Seen, home, innocent

from agentwatch.standin.process import StandinProcess

ROUNDS = 4
CALLS = 300
PROMPT_BYTES = 100_000


def prompt() -> bytes:
    """A request with a long text, a mail address and a key in it."""
    pages = sorted((Path(__file__).parent.parent / "docs").glob("*.md"))
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    text = (text * (PROMPT_BYTES // len(text) + 1))[:PROMPT_BYTES]
    text += "\nalice@example.com gh" + "p_aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5"
    said = {"role": "user", "content": text + " [[standin: tokens=3]]"}
    return json.dumps(
        {"model": "gpt-4o-mini", "messages": [said], "max_completion_tokens": 8}
    ).encode()


def talk(at: Home, over: threading.Event) -> None:
    """One long prompt after the other."""
    token = at.control.request("POST", "/v1/sessions", {"budget_usd": 1_000})["token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    url, body = f"http://127.0.0.1:{at.port}/openai/v1/chat/completions", prompt()
    while not over.is_set():
        request = urllib.request.Request(url, body, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()


def disturbed(at: Home) -> Seen:
    """An innocent's calls while another talks."""
    over = threading.Event()
    thread = threading.Thread(target=talk, args=(at, over))
    thread.start()
    try:
        return innocent(at, CALLS)
    finally:
        over.set()
        thread.join()


def fates(at: Home) -> str:
    """What became of the records: written, dropped, without what was said."""
    told = at.control.lines("/metrics")
    lines = [line for line in told if line.startswith("agentwatch_telemetry_records_total")]
    return " ".join(line.split("{fate=")[1].replace("}", "") for line in lines)


def main() -> int:
    """Measure, and print a table; the exit code."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    nothing = {"AGENTWATCH_TELEMETRY_PAYLOADS": "none", "AGENTWATCH_RISKS_ACTION": "off"}
    everything = {"AGENTWATCH_TELEMETRY_PAYLOADS": "full", "AGENTWATCH_RISKS_ACTION": "redact"}
    with (
        StandinProcess(keep=100) as standin,
        home(standin, settings=nothing) as without,
        home(standin, settings=everything) as with_all,
    ):
        sides = {"records alone": without, "all is kept": with_all}
        seen = {name: Seen() for name in sides}
        for _ in range(rounds):
            for name, at in sides.items():
                seen[name].add(disturbed(at))
        print(Seen.heading())
        for name, at in sides.items():
            print(f"{seen[name].row(name)}   {fates(at)}")
    return int(any(each.failed or each.refused for each in seen.values()))


if __name__ == "__main__":
    sys.exit(main())
