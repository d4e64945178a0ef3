"""Alerts reach a real receiver: signed, each once, after whatever happened to either side."""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness import Agent, Daemon, chat, wait_until
from standardwebhooks.webhooks import Webhook as Verifier

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


class Receiver(ThreadingHTTPServer):
    """Answers with the next of `statuses`, then with 204; 0: not at all."""

    daemon_threads = True

    def __init__(self, port: int = 0, statuses: tuple[int, ...] = ()) -> None:
        self.statuses = list(statuses)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.over = threading.Event()
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = self.server.statuses.pop(0) if self.server.statuses else 204
        if status == 0:
            self.server.over.wait(30)
            return
        self.server.got.append((headers, body))
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiving(port: int = 0, *statuses: int) -> Iterator[Receiver]:
    with Receiver(port, statuses) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


def start(start_daemon: Callable[..., Daemon], url: str) -> Daemon:
    return start_daemon(
        alerts_webhook_url=url, alerts_webhook_secret=SECRET, alerts_webhook_allow_private="true"
    )


def runaway(daemon: Daemon) -> Agent:
    """A session with exactly one alert."""
    agent = daemon.open(1.0)
    for _ in range(5):
        assert agent.post(body=chat("tokens=3")).status == 200
    return agent


def test_an_alert_comes_unsigned_or_with_another_body(start_daemon: Callable[..., Daemon]) -> None:
    with receiving() as server:
        daemon = start(start_daemon, server.url)
        agent = runaway(daemon)
        wait_until(lambda: server.got)
        ((headers, body),) = server.got
        told = Verifier(SECRET).verify(body, headers)
        assert told["session_id"] == agent.id
        assert set(told) >= {"id", "at", "kind", "severity", "message", "evidence", "action"}
        assert told["id"] == headers["webhook-id"]
        assert b"hello" not in body


def test_a_receiver_that_refuses_hangs_or_redirects_never_gets_it(
    start_daemon: Callable[..., Daemon],
) -> None:
    with receiving() as server:
        daemon = start(start_daemon, server.url)
        for told, first in ((2, 500), (4, 302)):
            server.statuses.append(first)
            runaway(daemon)
            wait_until(lambda told=told: len(server.got) == told)
        time.sleep(0.5)
        assert len(server.got) == 4 and len(set(server.ids)) == 2
        assert server.ids[0] == server.ids[1] != server.ids[2] == server.ids[3]


def test_a_hanging_receiver_delays_calls(start_daemon: Callable[..., Daemon]) -> None:
    with receiving(0, 0, 0) as server:
        daemon = start(start_daemon, server.url)
        agent = runaway(daemon)
        began = time.monotonic()
        for _ in range(5):
            assert agent.post().status == 200
        # it would be 5 s for each
        assert time.monotonic() - began < 4
        assert server.got == []


def test_an_alert_is_lost_or_doubled_by_a_crash(start_daemon: Callable[..., Daemon]) -> None:
    """The receiver comes back after the daemon was killed and restarted."""
    with receiving() as gone:
        port = gone.server_port
    daemon = start(start_daemon, gone.url)
    runaway(daemon)
    wait_until(lambda: daemon.get("/v1/alerts")["alerts"])
    before = daemon.pid
    os.kill(before, signal.SIGKILL)
    with receiving(port) as server:
        wait_until(lambda: server.got)
        time.sleep(0.5)
        (alert,) = daemon.get("/v1/alerts")["alerts"]
        assert server.ids == [alert["id"]]


def test_a_receiver_that_wants_no_more_is_asked_again(start_daemon: Callable[..., Daemon]) -> None:
    with receiving(0, 410) as server:
        daemon = start(start_daemon, server.url)
        agent = runaway(daemon)
        wait_until(lambda: daemon.get("/v1/alerts/dead")["alerts"])
        told = json.loads(daemon.command("alerts", "ls", "--dead", "--json").stdout)
        (dead,) = told["alerts"]
        assert (dead["session_id"], dead["channel"], dead["attempts"]) == (agent.id, "webhook", 1)
        assert "410" in dead["why"]
        assert "410" in daemon.command("alerts", "ls", "--dead").stdout


def test_a_test_tells_how_each_channel_took_it(start_daemon: Callable[..., Daemon]) -> None:
    with receiving(0, 204, 404) as server:
        daemon = start(start_daemon, server.url)
        done = daemon.command("alerts", "test")
        assert (done.returncode, done.stdout) == (0, "webhook: delivered\n")
        Verifier(SECRET).verify(server.got[0][1], server.got[0][0])
        refused = daemon.command("alerts", "test", "--json")
        assert refused.returncode == 1
        assert json.loads(refused.stdout)["channels"][0]["delivered"] is False
        assert daemon.get("/v1/alerts")["alerts"] == []


def test_without_a_channel_a_test_says_what_to_set(daemon: Daemon) -> None:
    done = daemon.command("alerts", "test")
    assert done.returncode == 1
    assert "[alerts] webhook_url" in done.stderr


def test_a_private_address_gets_something_unless_it_is_allowed(
    start_daemon: Callable[..., Daemon],
) -> None:
    with receiving() as server:
        # as a name, since plain http would be refused before
        daemon = start_daemon(alerts_webhook_url=f"https://localhost:{server.server_port}/")
        told = daemon.call("POST", "/v1/alerts/test", {})["channels"]
        assert "webhook_allow_private" in told[0]["why"]
        assert server.got == []
