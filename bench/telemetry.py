"""What calls notice of telemetry: `python bench/telemetry.py [ROUNDS]`.

Two daemons in one run, taking turns: one that keeps records alone, and looks at nothing; and one
that looks at all that is said, redacts and keeps it. On each, an agent sends prompts of 100 KB with
secrets in them all the time, while an innocent one calls. Prints p50 and p99 of the innocent's
calls, and the fate of the records. The exit code is 1 where a call failed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from beside import compare, post
from overload import Home, home

from agentwatch.standin.process import StandinProcess

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


PROMPT = prompt()


def talk(at: Home) -> None:
    """A long prompt."""
    token = at.control.request("POST", "/v1/sessions", {"budget_usd": 1_000})["token"]
    post(at, token, PROMPT)


def fates(at: Home) -> str:
    """What became of the records: written, dropped, without what was said."""
    told = at.control.lines("/metrics")
    lines = [line for line in told if line.startswith("agentwatch_telemetry_records_total")]
    return " ".join(line.split("{fate=")[1].replace("}", "") for line in lines)


def main() -> int:
    """Measure, and print a table; the exit code."""
    nothing = {"AGENTWATCH_TELEMETRY_PAYLOADS": "none", "AGENTWATCH_RISKS_ACTION": "off"}
    everything = {"AGENTWATCH_TELEMETRY_PAYLOADS": "full", "AGENTWATCH_RISKS_ACTION": "redact"}
    with (
        StandinProcess(keep=100) as standin,
        home(standin, settings=nothing) as without,
        home(standin, settings=everything) as with_all,
    ):
        return compare({"records alone": without, "all is kept": with_all}, talk, fates)


if __name__ == "__main__":
    sys.exit(main())
