"""The matrix of what is proved: providers and SDKs, whole and streamed, by what is asked of them.

test_matrix.py (and its twin among the clients) runs each cell; docs/providers.md shows it. The
page's table is written by `python tests/matrix.py` and compared by test_documents.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from harness import Agent, Daemon, nanos
from matrix_cell import COLUMNS

from agentwatch.standin.process import StandinProcess

PAGE = Path(__file__).parent.parent / "docs" / "providers.md"
BEGIN, END = "<!-- matrix: python tests/matrix.py -->", "<!-- end of matrix -->"


class Row(NamedTuple):
    """One SDK. `environment`: where its version is installed (None: among what tests need)."""

    provider: str
    title: str
    sdk: str
    base: str
    environment: str | None = None


ROWS = (
    Row("openai", "OpenAI", "openai 3", "/openai/v1"),
    Row("openai", "OpenAI", "openai 2", "/openai/v1", "openai2"),
    Row("anthropic", "Anthropic", "anthropic 2", "/anthropic"),
    Row("anthropic", "Anthropic", "anthropic 1", "/anthropic", "anthropic1"),
    Row("gemini", "Gemini", "google-genai 3", "/gemini"),
    Row("gemini", "Gemini", "google-genai 2", "/gemini", "genai2"),
    Row("groq", "Groq", "groq 1", "/groq"),
    Row("groq", "Groq", "groq 0", "/groq", "groq0"),
    Row("xai", "xAI", "openai 3", "/xai/v1"),
    Row("xai", "xAI", "openai 2", "/xai/v1", "openai2"),
)
FORMS = ("whole", "streamed")
CURRENT = tuple(row for row in ROWS if row.environment is None)
PREVIOUS = tuple(row for row in ROWS if row.environment is not None)


def is_exact(column: str) -> bool:
    """Whether settled equals the bill. What is cut in the middle tells no usage: it is settled at
    an estimate that is never less than the bill, and flagged."""
    return column != "cut"


def check_cell(
    daemon: Daemon,
    standin: StandinProcess,
    row: Row,
    column: str,
    do: Callable[[str, Agent], None],
) -> None:
    """Run one cell by `do`, which is given the base URL and the agent, and compare the books."""
    agent = daemon.open(50.0)
    if column == "errors":
        standin.script({"status": 503}, count=1)
    do(f"http://127.0.0.1:{daemon.port}{row.base}", agent)
    shown, bill = agent.at_rest(), standin.bill()
    settled = nanos(shown["settled_usd"])
    assert bill["leaks"] == [] and bill["wrong_key"] == 0
    assert shown["overdraft_usd"] == 0
    # each of the SDK's tries is a call of its own
    assert shown["iterations"] == bill["requests"]
    assert bill["refused"] == (1 if column == "errors" else 0)
    if is_exact(column):
        assert settled == bill["billed_nanos"] > 0, bill["by_request"]
        assert shown["estimated"] == 0
    else:
        assert settled >= bill["billed_nanos"] > 0, bill["by_request"]
        assert shown["estimated"] == bill["requests"]


def table() -> str:
    """The table in Markdown."""
    head = ["provider", "SDK", "answer", *COLUMNS]
    lines = [head, ["---"] * len(head)]
    cells = ["=" if is_exact(column) else "≥" for column in COLUMNS]
    lines += [[row.title, row.sdk, form, *cells] for row in ROWS for form in FORMS]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def written(page: str) -> str:
    """The page with the table in its place."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
