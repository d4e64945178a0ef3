"""The stand-in as a child process, for tests and the demo: start, script, read the bill, stop."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

_STOP_S = 5.0


class StandinProcess:
    """A running stand-in. Use as a context manager, or call `stop`.

    `url` is what OPENAI_BASE_URL is set to in front of it, `key` the key that it takes.
    """

    def __init__(
        self,
        *,
        key: str = "standin-key",
        script: str = "",
        tokens: int = 32,
        port: int = 0,
        keep: int = 100_000,
        canaries: tuple[str, ...] = (),
        bill: Path | None = None,
    ) -> None:
        """Start it and wait until it listens. Raises RuntimeError where it does not."""
        command = [sys.executable, "-m", "agentwatch.standin", "--until-eof", "--port", str(port)]
        command += ["--key", key, "--tokens", str(tokens), "--keep", str(keep)]
        command += [f"--script={script}", *(f"--canary={canary}" for canary in canaries)]
        command += ["--bill", str(bill)] if bill else []
        self.key = key
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, env=_environment()
        )
        assert self._process.stdout is not None
        told = self._process.stdout.readline()
        if not told:
            self.stop()
            raise RuntimeError(f"the stand-in did not start (exit code {self._process.returncode})")
        self.port = int(json.loads(told)["port"])

    @property
    def url(self) -> str:
        """The base URL as OpenAI's SDK takes it."""
        return f"http://127.0.0.1:{self.port}/v1"

    def of(self, provider: str) -> str:
        """The base URL of one of its providers, as that one's SDK takes it."""
        return self.url if provider == "openai" else f"http://127.0.0.1:{self.port}/{provider}"

    @property
    def pid(self) -> int:
        """The process that serves."""
        return self._process.pid

    def bill(self) -> dict[str, Any]:
        """The bill up to this moment: `requests`, `billed_nanos`, `by_request` …"""
        return self._call("GET", "bill")

    def requests(self) -> list[dict[str, Any]]:
        """Each request in full, refused ones too, in the order in which they came."""
        rows: list[dict[str, Any]] = self._call("GET", "requests")["requests"]
        return rows

    def script(self, script: str | dict[str, Any], **rule: Any) -> None:
        """Have the next call behave so; `count=N` the next N, `count=0` all, `model=`,
        `contains=` and `api=` only those. Raises ValueError for a script that can't be read."""
        self._call("POST", "script", {"script": script, **rule})

    def default(self, script: str | dict[str, Any]) -> None:
        """Have all calls behave so that no directive or rule says more about."""
        self._call("POST", "script", {"default": script})

    def reset(self) -> None:
        """Forget bill and rules."""
        self._call("POST", "reset", {})

    def stop(self) -> None:
        """End it; stopping twice changes nothing."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> StandinProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _call(self, method: str, verb: str, body: Any = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, f"/_standin/{verb}", body=sent)
            answer = connection.getresponse()
            told: dict[str, Any] = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(told.get("error"))
        return told


def _environment() -> dict[str, str]:
    """The environment without the keys of real providers: a stand-in has no use for them."""
    return {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
