"""What the SDK's tests stand on: the environment of a program that a daemon runs beside."""

from __future__ import annotations

import gc
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Daemon
from listener import OK_HTTP, Listener

from agentwatch.sdk import door

#: variables by which an SDK would find another server, key or proxy
_OTHERS = ("OPENAI_", "ANTHROPIC_", "GROQ_", "XAI_", "GEMINI_", "GOOGLE_", "AGENTWATCH_")


@pytest.fixture(scope="module", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Clients that were dropped are collected here, and not in the middle of another test, in which
    the warning of a socket that nobody closed would be an error."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment that names no provider, key, home or session."""
    import os

    for name in os.environ:
        if name.startswith(_OTHERS):
            monkeypatch.delenv(name)
    door.door.cache_clear()
    yield monkeypatch
    door.door.cache_clear()


@pytest.fixture
def beside(program: pytest.MonkeyPatch, daemon: Daemon) -> Daemon:
    """A daemon that this process, a program without a key, runs beside."""
    program.setenv("AGENTWATCH_HOME", str(daemon.home))
    return daemon


@pytest.fixture
def alone(program: pytest.MonkeyPatch, home: Path) -> Path:
    """A home in which no daemon runs."""
    program.setenv("AGENTWATCH_HOME", str(home))
    return home


@pytest.fixture
def listener() -> Iterator[Listener]:
    with tempfile.TemporaryDirectory(prefix="aw-") as folder:
        made = Listener(Path(folder) / "s")
        yield made
        made.close()


@pytest.fixture
def port() -> Iterator[Listener]:
    made = Listener(None, OK_HTTP)
    yield made
    made.close()


@pytest.fixture(params=["listener", "port"])
def either(request: pytest.FixtureRequest) -> Listener:
    """Frames on a Unix socket, HTTP at a port."""
    made: Listener = request.getfixturevalue(request.param)
    return made
