"""The stage of `agentwatch demo`: a home, a stand-in provider and a daemon of its own, all of them
gone at the end."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from agentwatch.errors import AgentWatchError
from agentwatch_cli.run_environment import TAKEN_OUT, WAYS_ROUND, no_proxy

STANDIN_KEY = "standin-key"
#: what the stand-in answers with, and how fast: slow enough to be watched
_ANSWERS = "tokens=60 head_delay=0.3"
_PATIENCE_S = 20.0


class Scene:
    """Programs run in this environment see the demo's daemon, and nothing of the user's."""

    def __init__(self, home: Path, environment: Mapping[str, str], provider_port: int) -> None:
        self.home = home
        self.environment = dict(environment)
        self._provider_port = provider_port

    def provider_bill(self) -> int:
        """What the provider has billed, by its own books: nano-USD. Raises AgentWatchError."""
        line = http.client.HTTPConnection("127.0.0.1", self._provider_port, timeout=_PATIENCE_S)
        try:
            line.request("GET", "/_standin/bill")
            return int(json.loads(line.getresponse().read())["billed_nanos"])
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise AgentWatchError(f"the stand-in provider shows no bill: {error}") from None
        finally:
            line.close()

    def agentwatch(self, *args: str) -> list[str]:
        """The command line of an agentwatch command."""
        return [sys.executable, "-P", "-m", "agentwatch_cli", *args]

    def do(self, *args: str) -> None:
        """Run one to its end. Raises AgentWatchError with what it said where it fails."""
        done = subprocess.run(
            self.agentwatch(*args),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            start_new_session=True,
        )
        if done.returncode != 0:
            words = done.stderr.strip().removeprefix("agentwatch: ")
            raise AgentWatchError(words or f"`agentwatch {args[0]}` failed")


@contextmanager
def scene(environ: Mapping[str, str]) -> Iterator[Scene]:
    """Set it up; take it down whatever happens, Ctrl-C and SIGTERM included."""
    before = signal.signal(signal.SIGTERM, _end)
    home = Path(tempfile.mkdtemp(prefix="agentwatch-demo-"))
    try:
        with _standin(home) as port:
            stage = Scene(home, _environment(environ, home, port), port)
            try:
                stage.do("up")
                yield stage
            finally:
                _unhurried(lambda: stage.do("down"))
    finally:
        shutil.rmtree(home, ignore_errors=True)
        signal.signal(signal.SIGTERM, before)


def _end(_signum: int, _frame: object) -> None:
    sys.exit(128 + signal.SIGTERM)


def _unhurried(step: Callable[[], None]) -> None:
    """Take one step down; a second Ctrl-C does not keep the rest from it."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        step()
    except (AgentWatchError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"agentwatch: while tidying up: {error}\n")
    finally:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def _standin(home: Path) -> Iterator[int]:
    """The provider's process; gives its port."""
    process = _start_standin(home)
    try:
        yield _port(process)
    finally:
        _unhurried(lambda: _end_standin(process))


def _start_standin(home: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "agentwatch.standin", "--until-eof"]
    with (home / "standin.log").open("w") as log:
        return subprocess.Popen(
            [*command, "--key", STANDIN_KEY, "--script", _ANSWERS],
            # the stand-in ends with us: our end of this pipe closes whatever we die of
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )


def _port(standin: subprocess.Popen[str]) -> int:
    assert standin.stdout is not None
    line = standin.stdout.readline()
    if not line:
        raise AgentWatchError("the stand-in provider did not start")
    return int(json.loads(line)["port"])


def _end_standin(standin: subprocess.Popen[str]) -> None:
    standin.terminate()
    try:
        standin.wait(timeout=3)
    except subprocess.TimeoutExpired:
        standin.kill()
        standin.wait()
    for pipe in (standin.stdin, standin.stdout):
        if pipe is not None:
            pipe.close()


def _environment(environ: Mapping[str, str], home: Path, port: int) -> dict[str, str]:
    kept = {
        name: value
        for name, value in environ.items()
        if name not in TAKEN_OUT and name not in WAYS_ROUND and not name.startswith("AGENTWATCH_")
    }
    return {
        **kept,
        **no_proxy(kept),
        "AGENTWATCH_HOME": os.fspath(home),
        "AGENTWATCH_PORT": "0",
        "AGENTWATCH_OPENAI_UPSTREAM": f"http://127.0.0.1:{port}/v1",
        "OPENAI_API_KEY": STANDIN_KEY,
    }
