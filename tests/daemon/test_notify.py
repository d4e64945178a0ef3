"""Alerts through apprise: a real receiver gets title and line; an address is never shown."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from agentwatch.core.alert import Alert
from agentwatch.daemon.courier import Undelivered
from agentwatch.daemon.notify import Notify
from agentwatch.errors import SettingsError

ALERT = Alert(
    id="al1",
    at=1.0,
    session_id="ci-1",
    kind="cycle",
    severity="warning",
    message="A B A B",
    action="pause",
)


class _Handler(BaseHTTPRequestHandler):
    got: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        self.got.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


async def test_title_and_line_arrive() -> None:
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        await Notify([f"json://127.0.0.1:{server.server_port}/"]).deliver(ALERT, 1)
        thread.join()
    told = json.loads(_Handler.got[-1])
    assert told["title"] == "AgentWatch: cycle in ci-1"
    assert told["message"] == "A B A B (paused)"
    assert told["type"] == "warning"


async def test_nobody_there_is_told() -> None:
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        port = server.server_port
    with pytest.raises(Undelivered, match="not every address"):
        await Notify([f"json://127.0.0.1:{port}/"]).deliver(ALERT, 1)


def test_an_address_that_is_none_is_refused_by_its_number() -> None:
    with pytest.raises(SettingsError, match="number 2") as refused:
        Notify(["json://localhost/", "nonsense://s3cr3t"])
    assert "s3cr3t" not in str(refused.value)
