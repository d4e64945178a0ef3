"""Fixtures of the end-to-end tests: `home`, `standin`, `daemon`, `start_daemon` (see harness.py).

Starting a daemon takes a second: `standin` and `daemon` are made once for a module, and what each
test left behind in the stand-in's books is gone before the next. A test that wants its daemon set
up otherwise, or kills it, starts one of its own with `start_daemon`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest
from harness import Daemon, environment, new_home, running

from agentwatch.standin.process import StandinProcess

# hundreds of processes of ours are started: without bytecode each compiles all that it loads
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# how fast an example is says nothing on a machine that others use as well
hypothesis.settings.register_profile(
    "house", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("house")

#: rooms whose tests run real processes, against real clocks
_REAL = ("cli", "daemon", "e2e", "sdk")
_TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In CI a test that waits for real processes, and starved among its neighbours, is run once
    more, and the summary counts it. What fails twice has failed; pure tests have one try."""
    if os.environ.get("CI"):
        for item in items:
            if item.path.relative_to(_TESTS).parts[0] in _REAL:
                item.add_marker(pytest.mark.flaky(reruns=1))


def _start(stack: ExitStack, standin: StandinProcess, **settings: str) -> Daemon:
    home = stack.enter_context(new_home())
    return stack.enter_context(running(Daemon(home, environment(home, standin, **settings))))


@pytest.fixture
def home() -> Iterator[Path]:
    """A new home with a short path."""
    with new_home() as made:
        yield made


@pytest.fixture(scope="module")
def module_standin() -> Iterator[StandinProcess]:
    """The stand-in of a module's tests."""
    with StandinProcess(canaries=("sk-real-canary",)) as process:
        yield process


@pytest.fixture(scope="module")
def module_start(module_standin: StandinProcess) -> Iterator[Callable[..., Daemon]]:
    """Start a daemon that stays for the module: `module_start(enforcement_drain_s="0.5")`."""
    with ExitStack() as stack:
        yield lambda **settings: _start(stack, module_standin, **settings)


@pytest.fixture(scope="module")
def module_daemon(module_start: Callable[..., Daemon]) -> Daemon:
    """The daemon of a module's tests, with the defaults of its settings."""
    return module_start()


@pytest.fixture
def standin(module_standin: StandinProcess) -> StandinProcess:
    """A stand-in with empty books."""
    module_standin.reset()
    return module_standin


@pytest.fixture
def daemon(module_daemon: Daemon, standin: StandinProcess) -> Daemon:
    """A running daemon whose upstream is `standin`."""
    return module_daemon


@pytest.fixture
def start_daemon(standin: StandinProcess) -> Iterator[Callable[..., Daemon]]:
    """Start a daemon of the test's own: `start_daemon(enforcement_hold_wait_s="1")`."""
    with ExitStack() as stack:
        yield lambda **settings: _start(stack, standin, **settings)
