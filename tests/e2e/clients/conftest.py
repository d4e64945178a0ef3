"""Real programs under `agentwatch run`: each client installed in an environment of its own, and
what a run of it did by three accounts (its own screen, the session's books, the stand-in's bill).

The environments are kept in AGENTWATCH_CLIENTS_DIR (default: `.clients` beside the sources), so
that a second run starts at once. A client that can't be installed fails its tests, and says why.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from harness import Daemon, nanos

from agentwatch.standin.process import StandinProcess

#: what is installed, by the name of its environment; npm's begin with "npm:", blanks
#: part packages
WANTED = {
    "openai3": "openai==3.54.0",
    # it has our import name, so it is alone in its environment
    "awsdk": "aw-sdk==1.0.1",
    "openai2": "openai==2.54.0",
    "llm": "llm==0.36 llm-anthropic==0.30",
    "agents": "openai-agents==0.24.0",
    "langchain": "langchain-openai==1.7.3",
    "aider": "aider-chat==0.86.2",
    "codex": "npm:@openai/codex@0.169.0",
    "anthropic2": "anthropic==2.14.0",
    "anthropic1": "anthropic==1.17.0",
    "claude": "npm:@anthropic-ai/claude-code@2.1.197",
    "genai3": "google-genai==3.6.1",
    "genai2": "google-genai==2.34.0",
    "groq0": "groq==0.37.1",
    "gemini": "npm:@google/gemini-cli@0.61.0",
    "opencode": "npm:opencode-ai@1.18.33",
}
INSTALL_LIMIT_S = 420.0
#: no client that is refused takes so long to say so: what does hangs, or asks again and again
RUN_LIMIT_S = 90.0

sys.path.append(str(Path(__file__).parent))  # transcripts.py
_ROOT = Path(__file__).resolve().parents[3]
_DEFAULT_DIR = _ROOT / ".clients"


@pytest.fixture(scope="session")
def client() -> Callable[[str], Path]:
    """`client("llm")`: the folder with that client's programs, installed if it isn't yet."""
    folder = Path(os.environ.get("AGENTWATCH_CLIENTS_DIR") or _DEFAULT_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    return lambda name: installed(folder, name)


def installed(folder: Path, name: str) -> Path:
    """The programs' folder of a client below `folder`. One process at a time installs it."""
    wanted, place, ready = WANTED[name], folder / name, folder / f"{name}.ready"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists() or ready.read_text() != wanted:
            ready.unlink(missing_ok=True)
            shutil.rmtree(place, ignore_errors=True)
            install = _install_npm if wanted.startswith("npm:") else _install_pip
            install(place, wanted.removeprefix("npm:"))
            ready.write_text(wanted)
    return place / ("node_modules/.bin" if wanted.startswith("npm:") else "bin")


def _install_pip(place: Path, wanted: str) -> None:
    _must([sys.executable, "-m", "venv", str(place)])
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    _must([*pip, "--disable-pip-version-check", *wanted.split()])


def _install_npm(place: Path, wanted: str) -> None:
    place.mkdir()
    _must(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(place), wanted])


def _must(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.fail(f"a client can't be installed: {error}")
    if done.returncode != 0:
        pytest.fail(f"a client can't be installed: {' '.join(command)}\n{done.stderr[-3000:]}")


class Run(NamedTuple):
    """What one run did."""

    #: as it was typed
    argv: tuple[str, ...]
    #: its home, and where it worked
    folder: Path
    code: int
    #: both of its outputs, and ours
    screen: str
    report: dict[str, Any]
    #: the stand-in's
    bill: dict[str, Any]

    @property
    def settled(self) -> int:
        """Nanos that the session was charged."""
        return nanos(self.report["settled_usd"])


class Bench:
    """Where a client is put to work: a daemon, a stand-in, a folder of its own as its home."""

    def __init__(self, daemon: Daemon, standin: StandinProcess, folder: Path) -> None:
        self._daemon = daemon
        self.standin = standin
        self.folder = folder

    def run(
        self,
        *command: str,
        budget: str = "5",
        said: str = "",
        options: Sequence[str] = (),
        more: Mapping[str, str] | None = None,
    ) -> Run:
        """Run a command under a ceiling; `said` is its standard input."""
        report = self.folder / "report.json"
        done = subprocess.run(
            self.argv(*command, budget=budget, options=[*options, "--report", str(report)]),
            input=said,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_LIMIT_S,
            cwd=self.folder,
            env=self.environ(more or {}),
            check=False,
        )
        assert report.exists(), done.stdout
        told = json.loads(report.read_text())
        typed = ("agentwatch", "run", "--budget", budget, *options, "--", *command)
        return Run(typed, self.folder, done.returncode, done.stdout, told, self.standin.bill())

    def argv(self, *command: str, budget: str, options: Sequence[str] = ()) -> list[str]:
        """The command line of a run."""
        run = [sys.executable, "-m", "agentwatch_cli", "run", "--budget", budget]
        return [*run, *options, "--", *command]

    def environ(self, more: Mapping[str, str]) -> dict[str, str]:
        """The environment in which `run` is started."""
        return {**self._daemon.environ, **self._own_places(), **more}

    def _own_places(self) -> dict[str, str]:
        """Nothing of the user's own configuration is read, and no client calls home."""
        return {
            "HOME": str(self.folder),
            # opencode takes it for the folder to work in
            "PWD": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "CODEX_HOME": str(self.folder),
            "CLAUDE_CONFIG_DIR": str(self.folder / "claude"),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            # without a terminal it can't ask whether it may work here
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
            "LLM_USER_PATH": str(self.folder),
            "XDG_DATA_HOME": str(self.folder / "data"),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "COLUMNS": "2000",
        }


@pytest.fixture
def bench(daemon: Daemon, standin: StandinProcess, tmp_path: Path) -> Bench:
    """A Bench with empty books."""
    return Bench(daemon, standin, tmp_path)
