"""What the SDK brings into other people's programs: little, late, and types."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from harness import Daemon

ROOT = Path(__file__).parents[2]
HEAVY = ("aiohttp", "msgspec", "platformdirs", "redis", "rich", "sqlite3", "sqlite_utils", "typer")


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_it_loads_a_library() -> None:
    code = "import sys; before = set(sys.modules); import agentwatch;"
    assert run(code + "print(*sorted(set(sys.modules) - before))") == "__future__ agentwatch"


@pytest.mark.parametrize(
    ("client", "module", "package"),
    [
        ("WatchedGemini", "google", "google-genai"),
        ("AsyncWatchedGroq", "groq", "groq"),
        ("WatchedXAI", "openai", "openai"),
    ],
)
def test_a_client_whose_sdk_is_not_there_comes_without_a_word(
    client: str, module: str, package: str
) -> None:
    code = f"""
import sys
sys.modules[{module!r}] = None
try:
    from agentwatch import {client}
except ModuleNotFoundError as error:
    print(error)
"""
    assert run(code) == f"{client} is the provider's own client, governed: pip install {package}"


#: all that a client of ours can be told, so that all of it is loaded that a client loads
WATCHED = """WatchedOpenAI(
    api_key="x",
    agentwatch_session_id="a",
    agentwatch_project="p",
    agentwatch_session_budget_usd=2.0,
)"""
NOWHERE = "import os; os.environ['AGENTWATCH_SOCKET'] = '/nowhere.sock'\n"


def test_a_watched_client_loads_the_daemon_s_libraries() -> None:
    # what openai itself loads is openai's
    code = f"""
import sys, openai
openai.OpenAI(api_key="x")
before = set(sys.modules)
from agentwatch import WatchedOpenAI
{WATCHED}
print(*{{name.partition(".")[0] for name in set(sys.modules) - before}})
"""
    assert run(NOWHERE + code) == "agentwatch"


def _least_ms(code: str) -> float:
    """What a program says that it took of its core, in a new process each time. A busy machine
    makes it longer and never shorter, so the least of some runs is what it takes."""
    return min(float(run(NOWHERE + code)) for _ in range(5)) * 1000


def test_importing_it_takes_longer_than_a_blink() -> None:
    code = "import time; t = time.process_time(); import agentwatch"
    assert _least_ms(code + "; print(time.process_time() - t)") < 30


def test_a_watched_client_costs_much_more_than_openai_s_own() -> None:
    """What is timed is what comes on top: openai is loaded, and makes a client of its own as
    well."""
    code = f"""
import time, openai
def took(make):
    began = time.process_time()
    make()
    return time.process_time() - began
def ours():
    from agentwatch import WatchedOpenAI
    {WATCHED}
plain = lambda: openai.OpenAI(api_key="x")
plain()
first = took(ours)
print(first - min(took(plain) for _ in range(3)))
"""
    assert _least_ms(code) < 30


def test_the_sdk_needs_the_daemon_s_libraries(beside: Daemon) -> None:
    code = f"""
import sys
for name in {HEAVY!r}:
    if name not in ("msgspec", "platformdirs"):
        sys.modules[name] = None
import agentwatch, os
client = agentwatch.WatchedOpenAI(agentwatch_session_id="light")
client.embeddings.create(model="text-embedding-3-small", input="x")
"""
    environ = {**beside.environ, "OPENAI_API_KEY": ""}
    subprocess.run([sys.executable, "-c", code], env=environ, check=True, timeout=60)
    assert beside.get("/v1/sessions/light")["iterations"] == 1


TYPED = """
import anthropic, google.genai, groq, openai
import agentwatch

def plain(client: openai.OpenAI) -> str | None:
    made = client.with_options(timeout=3).chat.completions.create(model="m", messages=[])
    return made.choices[0].message.content

client = agentwatch.WatchedOpenAI(agentwatch_session_budget_usd=2.0, api_key="x")
plain(client)
number: int = client.chat.completions.create(model="m", messages=[]).created
kinds: list[openai.AsyncOpenAI] = [agentwatch.AsyncWatchedOpenAI(), agentwatch.AsyncWatchedXAI()]
claude: anthropic.Anthropic = agentwatch.WatchedAnthropic()
fast: groq.Groq = agentwatch.WatchedGroq()
gemini: google.genai.Client = agentwatch.WatchedGemini()
wrapped: openai.OpenAI = agentwatch.wrap(openai.OpenAI(), agentwatch_session_budget_usd=1.0)
wrong: str = client.chat.completions.create(model="m", messages=[]).created  # this line is wrong
"""


def test_the_watched_classes_have_their_parents_types(tmp_path: Path) -> None:
    program = tmp_path / "typed.py"
    program.write_text(TYPED)
    line = TYPED[: TYPED.index("wrong:")].count("\n") + 1
    mypy = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(program)]
    told = subprocess.run(
        mypy, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    ).stdout
    assert [each.split(":")[1] for each in told.splitlines() if ": error:" in each] == [str(line)]
    pyright = [sys.executable, "-m", "basedpyright", "--level", "error"]
    pyright += ["--pythonpath", sys.executable, str(program)]
    told = subprocess.run(
        pyright, cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False
    ).stdout
    found = {each.split(":")[1] for each in told.splitlines() if " - error: " in each}
    assert found == {str(line)}, told


def test_the_example_of_the_readme_is_stopped(beside: Daemon) -> None:
    environ = {**beside.environ, "OPENAI_API_KEY": ""}
    example = [sys.executable, str(ROOT / "examples" / "watched.py")]
    done = subprocess.run(
        example, env=environ, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "stopped after" in done.stdout
