"""What end-to-end tests stand on: the real daemon in a home of its own, and a stand-in beside it.

The fixtures that hand these out are in conftest.py. Nothing here sleeps to be in step with
something: whoever waits polls with a deadline (`wait_until`).
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import openai

from agentwatch.core.money import parse_usd
from agentwatch.daemon.hygiene import KEY_VARIABLES
from agentwatch.standin.process import StandinProcess
from agentwatch.upstreams import PROVIDERS

T = TypeVar("T")

#: this machine may be busy: nothing that is waited for is late before this
PATIENCE_S = 30.0
#: far below the price of any call: what a call is asked to be worth in tests that count calls
CHEAP = "gpt-4o-mini"


def wait_until(look: Callable[[], T], timeout: float = PATIENCE_S, what: str = "") -> T:
    """Poll `look` until it is true, and return what it said. Raises AssertionError."""
    deadline = time.monotonic() + timeout
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or look}")
        time.sleep(0.01)


def nanos(usd: object) -> int:
    """Integer nano-USD of what a JSON answer says in USD."""
    return parse_usd(repr(usd), "an answer")


def hold_of(daemon: Daemon, body: dict[str, Any]) -> int:
    """Nanos that this chat is held at with the limit that it asks for.

    A refusal names the least that would be let through. With small limits that is all of the
    call, so two of them tell what its input is held at and what one more token is.
    """
    *before, last = body["messages"]
    # the input's bound counts the bytes of the limit, too
    padding = "x" * (len(str(body["max_tokens"])) - len("100"))
    padded = {**body, "messages": [*before, {**last, "content": last["content"] + padding}]}
    small, more = (_asked(daemon, {**padded, "max_tokens": limit}) for limit in (100, 200))
    return small + (body["max_tokens"] - 100) * (more - small) // 100


def _asked(daemon: Daemon, body: dict[str, Any]) -> int:
    told = daemon.open(0.0000001).post(body=body).json["error"]["message"]
    return nanos(float(told.split("asked $")[1].split(" ")[0]))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Agent:
    """A session and the ways to call on its money."""

    def __init__(self, daemon: Daemon, opened: dict[str, Any]) -> None:
        self._daemon = daemon
        self.id: str = opened["session_id"]
        self.token: str = opened["token"]

    @property
    def base_url(self) -> str:
        """What OpenAI's SDK is given."""
        return f"http://127.0.0.1:{self._daemon.port}/openai/v1"

    def sdk(self, **options: Any) -> openai.OpenAI:
        """OpenAI's own client, with its own retries unless told otherwise. Close it."""
        return openai.OpenAI(
            base_url=self.base_url, api_key=self.token, **{"timeout": PATIENCE_S, **options}
        )

    def async_sdk(self, **options: Any) -> openai.AsyncOpenAI:
        """The same for asyncio."""
        return openai.AsyncOpenAI(
            base_url=self.base_url, api_key=self.token, **{"timeout": PATIENCE_S, **options}
        )

    def post(
        self,
        path: str = "/chat/completions",
        body: Mapping[str, Any] | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        base: str = "/openai/v1",
    ) -> Reply:
        """One request by plain HTTP; `path` is below `base`, a provider's prefix here."""
        sent = self.begin(path, body, headers, base)
        with sent:
            return sent.reply()

    def begin(
        self,
        path: str = "/chat/completions",
        body: Mapping[str, Any] | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        base: str = "/openai/v1",
    ) -> Sent:
        """Send a request over a socket of its own, and leave the answer unread."""
        raw = body if isinstance(body, bytes) else json.dumps(body or chat()).encode()
        told = {
            "Host": f"127.0.0.1:{self._daemon.port}",
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Content-Length": str(len(raw)),
            "Connection": "close",
            **(headers or {}),
        }
        head = f"POST {base}{path} HTTP/1.1\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in told.items())
        return Sent(self._daemon.port, head.encode() + b"\r\n" + raw)

    def show(self) -> dict[str, Any]:
        """The session as the control path shows it."""
        return self._daemon.get(f"/v1/sessions/{self.id}")

    @property
    def settled(self) -> int:
        """Nanos."""
        return nanos(self.show()["settled_usd"])

    @property
    def held(self) -> int:
        """Nanos."""
        return nanos(self.show()["held_usd"])

    def at_rest(self, timeout: float = PATIENCE_S) -> dict[str, Any]:
        """The session once nothing is held, out or waiting any more."""

        def rest() -> dict[str, Any] | None:
            status = self._daemon.get("/v1/status")
            shown = self.show()
            still = not shown["held_usd"] and not status["calls"] and not status["waiting"]
            return shown if still else None

        found = wait_until(rest, timeout, "a hold is left, or a call")
        assert found is not None
        return found

    def set_budget(self, usd: float | None) -> None:
        """Move the ceiling."""
        self._daemon.call("PUT", f"/v1/sessions/{self.id}/budget", {"budget_usd": usd})

    def do(self, verb: str) -> None:
        """kill, pause, resume or close."""
        self._daemon.call("POST", f"/v1/sessions/{self.id}/{verb}")


class Reply:
    """An answer that was read to its end."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = answer.headers
        #: whether the connection broke before the answer was complete
        self.broken = False
        pieces = []
        try:
            while piece := answer.read1(65_536):
                pieces.append(piece)
        except (http.client.IncompleteRead, ConnectionError):
            self.broken = True
        self.body = b"".join(pieces)
        #: a body whose length was told must have it
        self.broken = self.broken or bool(answer.length)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def denied(self) -> str | None:
        """The reason of a refusal."""
        return self.headers["x-agentwatch-denied"]


class Sent:
    """A request that is on its way. A context manager that closes the connection."""

    def __init__(self, port: int, data: bytes) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.sock.sendall(data)
        self._answer: http.client.HTTPResponse | None = None

    def head(self) -> http.client.HTTPResponse:
        """Wait for status and headers."""
        if self._answer is None:
            self._answer = http.client.HTTPResponse(self.sock)
            self._answer.begin()
        return self._answer

    def reply(self) -> Reply:
        """Wait for the whole answer."""
        return Reply(self.head())

    def hang_up(self, *, rst: bool = False) -> None:
        """Go away, politely (FIN) or not (RST)."""
        if rst:
            linger = (1).to_bytes(4, sys.byteorder) + (0).to_bytes(4, sys.byteorder)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if self._answer is not None:
            self._answer.close()
        self.sock.close()

    def __enter__(self) -> Sent:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()


class Daemon:
    """A daemon in a home: `up` starts it, `down` ends it and may be called twice."""

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        self.home = home
        self.environ = dict(environ)
        self.port = 0

    def up(self) -> None:
        """Start it, and wait until it serves."""
        told = self.command("up")
        assert told.returncode == 0, told.stderr
        self.port = self.get("/v1/status")["port"]

    def down(self) -> subprocess.CompletedProcess[str]:
        """End it and wait until it has."""
        return self.command("down")

    def command(self, *arguments: str, timeout: float = 90.0) -> subprocess.CompletedProcess[str]:
        """Run `agentwatch …` in this home."""
        return subprocess.run(
            [sys.executable, "-m", "agentwatch_cli", *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @property
    def pid(self) -> int:
        """The process that serves."""
        return int(self.get("/v1/status")["pid"])

    @property
    def log(self) -> str:
        """All that it wrote into its log."""
        return (self.home / "daemon.log").read_text()

    def call(self, method: str, path: str, body: Any = None, *, check: bool = True) -> Any:
        """One control call over the socket. With check, an error is an AssertionError."""
        connection = _UnixConnection(self.home / "agentwatch.sock")
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, body=sent)
            answer = connection.getresponse()
            told = json.loads(answer.read())
        finally:
            connection.close()
        assert not check or answer.status < 300, told
        return told

    def get(self, path: str) -> Any:
        """One control call that changes nothing."""
        return self.call("GET", path)

    def open(self, budget_usd: float | None = None, **terms: Any) -> Agent:
        """Open a session."""
        return Agent(self, self.call("POST", "/v1/sessions", {"budget_usd": budget_usd, **terms}))


@contextmanager
def new_home() -> Iterator[Path]:
    """A home of one's own. pytest's own folders are too deep for a Unix socket's path."""
    home = Path(tempfile.mkdtemp(prefix="aw-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def running(daemon: Daemon) -> Iterator[Daemon]:
    """It is up, and ended afterwards; a start that fails half-way is ended as well."""
    try:
        daemon.up()
        yield daemon
    finally:
        daemon.down()


def environment(home: Path, standin: StandinProcess, **settings: str) -> dict[str, str]:
    """An environment in which a daemon knows this home and this stand-in, and nothing else of
    ours. `settings` are variables without their AGENTWATCH_."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AGENTWATCH_") and not name.endswith("_API_KEY")
    }
    ours = {
        "AGENTWATCH_HOME": str(home),
        "AGENTWATCH_PORT": "0",
        **{f"AGENTWATCH_{name.upper()}_UPSTREAM": standin.of(name) for name in PROVIDERS},
        **{
            variables[0]: standin.key
            for name, variables in KEY_VARIABLES.items()
            if name in PROVIDERS
        },
        **{f"AGENTWATCH_{name.upper()}": value for name, value in settings.items()},
    }
    return kept | ours


def chat(directive: str = "", model: str = CHEAP, **fields: Any) -> dict[str, Any]:
    """A chat request that the stand-in answers as the directive says."""
    said = f"hello [[standin: {directive}]]" if directive else "hello"
    return {"model": model, "messages": [{"role": "user", "content": said}], **fields}
