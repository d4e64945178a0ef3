"""A provider that misbehaves: the client gets what it sent, the charge follows the rules, and the
daemon serves the next call as if nothing had been."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import openai
import pytest
from harness import Agent, Daemon, Reply, chat, hold_of, nanos, wait_until

from agentwatch.standin.process import StandinProcess

#: one price, and no tokenizer that would sharpen its hold: a refusal tells what others hold
MODEL = "gpt-4"
LIMIT = 2_000
HALF_A_HOLD = LIMIT * 60_000 // 2


def _body(directive: str, *, stream: bool = True, **fields: Any) -> dict[str, Any]:
    return chat(directive, model=MODEL, max_tokens=LIMIT, stream=stream, **fields)


def _charged(agent: Agent, standin: StandinProcess) -> tuple[int, int]:
    shown = agent.at_rest()
    wait_until(lambda: standin.bill()["in_flight"] == 0, what="the upstream's call ended")
    return nanos(shown["settled_usd"]), standin.bill()["billed_nanos"]


def _serves_on(daemon: Daemon, pid: int) -> None:
    assert daemon.pid == pid
    assert daemon.open(1.0).post(body=chat("tokens=3")).status == 200
    assert "Traceback" not in daemon.log


# ---- refused before any output: void, and passed on as it came


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503, 529])
def test_a_refusal_of_the_providers_costs_something(
    daemon: Daemon, standin: StandinProcess, status: int, stream: bool
) -> None:
    agent = daemon.open(1.0)
    reply = agent.post(body=_body(f"status={status} retry_after=7", stream=stream))
    assert reply.status == status
    assert reply.headers["retry-after"] == "7"
    assert reply.denied is None and reply.headers["x-should-retry"] is None
    assert reply.json["error"]["type"]
    assert _charged(agent, standin) == (0, 0)
    assert agent.show()["state"] == "active"


def test_the_sdk_asks_again_on_a_429_of_the_providers(
    daemon: Daemon, standin: StandinProcess
) -> None:
    agent = daemon.open(1.0)
    standin.script("status=429 retry_after=0", count=2)
    with agent.sdk(max_retries=3) as sdk:
        sdk.chat.completions.create(**chat("tokens=3"))
    assert standin.bill()["requests"] == 3
    settled, billed = _charged(agent, standin)
    assert settled == billed > 0


def test_a_redirect_takes_the_key_elsewhere(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(1.0)
    with StandinProcess(key=standin.key) as stranger:
        for status in (301, 302, 307, 308):
            where = f"{stranger.url}/chat/completions"
            reply = agent.post(body=_body(f"status={status} redirect={where}"))
            assert (reply.status, reply.headers["location"]) == (status, where)
        assert stranger.bill()["requests"] == 0
    assert _charged(agent, standin) == (0, 0)


def test_a_provider_that_is_not_there(start_daemon: Callable[..., Daemon]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    daemon = start_daemon(openai_upstream=f"http://127.0.0.1:{port}/v1")
    agent = daemon.open(1.0)
    reply = agent.post(body=_body(""))
    assert reply.status == 502 and "can't be reached" in reply.json["error"]["message"]
    shown = agent.at_rest()
    assert (shown["settled_usd"], shown["iterations"]) == (0, 1)


# ---- in doubt


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_line_breaks_before_the_head(
    daemon: Daemon, standin: StandinProcess, stream: bool
) -> None:
    agent, pid = daemon.open(1.0), daemon.pid
    body = _body("reset=before_head", stream=stream)
    hold = hold_of(daemon, body)
    reply = agent.post(body=body)
    assert reply.status == 502
    settled, billed = _charged(agent, standin)
    assert settled == hold >= billed > 0
    _serves_on(daemon, pid)


def test_in_doubt_can_be_set_to_the_input_alone(
    start_daemon: Callable[..., Daemon], standin: StandinProcess
) -> None:
    daemon = start_daemon(enforcement_in_doubt="input")
    agent = daemon.open(1.0)
    body = _body("reset=before_head", stream=False)
    hold = hold_of(daemon, body)
    agent.post(body=body)
    settled, billed = _charged(agent, standin)
    assert hold // 10 > settled >= billed > 0


# ---- broken off in the middle


@pytest.mark.parametrize("fault", ["reset=20", "cut=20", "reset=after_head"])
def test_a_stream_is_cut_and_nothing_is_charged(
    daemon: Daemon, standin: StandinProcess, fault: str
) -> None:
    """The upstream cuts a stream: $0 is charged, for ever (LiteLLM, measured)."""
    agent, pid = daemon.open(1.0), daemon.pid
    reply = agent.post(body=_body(f"tokens=100 {fault} delay=0.001"))
    assert reply.status == 200 and reply.broken
    if fault != "reset=after_head":
        assert reply.body.count(b'"content":"') > 15
    settled, billed = _charged(agent, standin)
    assert 0 < billed <= settled < HALF_A_HOLD
    _serves_on(daemon, pid)


def test_a_stream_ends_without_a_word_of_its_end(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(1.0)
    reply = agent.post(body=_body("tokens=100 end=20"))
    assert not reply.broken and b"[DONE]" not in reply.body
    settled, billed = _charged(agent, standin)
    assert 0 < billed <= settled < HALF_A_HOLD
    assert agent.show()["estimated"] == 1


@pytest.mark.parametrize("fault", ["cut=0", "reset=after_head", "end=20", "gzip=truncated"])
def test_half_a_body_is_charged_as_if_it_were_all(
    daemon: Daemon, standin: StandinProcess, fault: str
) -> None:
    agent, pid = daemon.open(1.0), daemon.pid
    body = _body(f"tokens=900 size=1 {fault}", stream=False)
    hold = hold_of(daemon, body)
    agent.post(body=body)
    settled, billed = _charged(agent, standin)
    assert settled == hold >= billed > 0
    _serves_on(daemon, pid)


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("how", ["own", "event"])
def test_an_error_inside_a_200(daemon: Daemon, standin: StandinProcess, api: str, how: str) -> None:
    agent = daemon.open(1.0)
    directive = f"tokens=50 error=10 error_as={how}"
    if api == "chat":
        reply = agent.post(body=_body(directive))
    else:
        said = {"model": MODEL, "input": f"hello [[standin: {directive}]]", "stream": True}
        reply = agent.post("/responses", {**said, "max_output_tokens": LIMIT})
    assert reply.status == 200 and b"error" in reply.body
    settled, billed = _charged(agent, standin)
    assert 0 < billed <= settled < HALF_A_HOLD


def test_an_error_inside_a_whole_200(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(1.0)
    reply = agent.post(body=_body("tokens=50 error=10", stream=False))
    assert reply.status == 200 and reply.json["error"]
    settled, billed = _charged(agent, standin)
    assert settled >= billed > 0


# ---- usage that can't be meant


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize(
    "usage", ["missing", "null", "zero", "negative", "huge", "text", "small", "every"]
)
def test_a_report_that_can_not_be_meant(
    daemon: Daemon, standin: StandinProcess, usage: str, api: str, stream: bool
) -> None:
    """Never less than was billed, and never more than the hold."""
    agent, pid = daemon.open(1.0), daemon.pid
    directive = f"tokens=200 usage={usage}"
    if api == "chat":
        reply = agent.post(body=_body(directive, stream=stream))
    else:
        said = {"model": MODEL, "input": f"hello [[standin: {directive}]]", "stream": stream}
        reply = agent.post("/responses", {**said, "max_output_tokens": LIMIT})
    assert reply.status == 200
    settled, billed = _charged(agent, standin)
    assert 0 < settled <= hold_of(daemon, _body(directive))
    if stream or usage != "small":
        # that a whole answer was of more tokens than it says can't be seen
        assert settled >= billed
    if usage == "every":
        assert settled == billed
    assert daemon.pid == pid


def test_embeddings_that_claim_no_input_are_free(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(1.0)
    for usage in ("zero", "missing", "huge"):
        said = {"model": "text-embedding-3-large", "input": f"hello [[standin: usage={usage}]]"}
        assert agent.post("/embeddings", said).status == 200
    settled, billed = _charged(agent, standin)
    assert settled >= billed > 0


# ---- bytes that are hard to take


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_gzip_though_it_was_not_asked_for(
    daemon: Daemon, standin: StandinProcess, stream: bool
) -> None:
    agent = daemon.open(1.0)
    with agent.sdk(max_retries=0) as sdk:
        answer: Any = sdk.chat.completions.create(**_body("say=packed gzip=on", stream=stream))
        if stream:
            said = "".join(c.choices[0].delta.content or "" for c in answer if c.choices)
        else:
            said = answer.choices[0].message.content
    assert said == "packed"
    settled, billed = _charged(agent, standin)
    assert settled == billed > 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("gzip", ["truncated", "bomb"])
def test_a_bomb_goes_off(daemon: Daemon, standin: StandinProcess, gzip: str, stream: bool) -> None:
    agent, pid = daemon.open(1.0), daemon.pid
    before = _memory(pid)
    reply = agent.post(body=_body(f"tokens=300 gzip={gzip}", stream=stream))
    assert reply.status == 200
    settled, billed = _charged(agent, standin)
    assert billed <= settled
    assert _memory(pid) - before < 150 << 20
    _serves_on(daemon, pid)


def test_a_line_of_64_mb(daemon: Daemon, standin: StandinProcess) -> None:
    agent, pid = daemon.open(5.0), daemon.pid
    before = _memory(pid)
    body = _body(f"tokens=3 line={64 << 20}", stream_options={"include_usage": True})
    reply = agent.post(body=body)
    assert len(reply.body) > 64 << 20 and b"[DONE]" in reply.body
    settled, billed = _charged(agent, standin)
    assert settled == billed > 0
    assert _memory(pid) - before < 60 << 20
    _serves_on(daemon, pid)


def test_comments_without_end_end_with_the_client(daemon: Daemon, standin: StandinProcess) -> None:
    agent, pid = daemon.open(5.0), daemon.pid
    sent = agent.begin(body=_body("comments=-1 delay=0.0005"))
    answer, seen = sent.head(), 0
    while seen < 5_000:
        seen += len(answer.read1(4096))
    sent.hang_up()
    settled, billed = _charged(agent, standin)
    assert 0 < billed <= settled < HALF_A_HOLD
    _serves_on(daemon, pid)


def test_one_hanging_call_holds_up_others(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(5.0)
    slow = _body("hang=before_head", stream=False)
    with agent.begin(body=slow), agent.begin(body=_body("hang=5")):
        for _ in range(5):
            assert agent.post(body=chat("tokens=2")).status == 200
    agent.at_rest()


# ---- a provider that speaks no HTTP we know


class _RawProvider:
    """Answers every connection with the bytes of `answer`, then closes it."""

    def __init__(self, server: socket.socket) -> None:
        self.answer = b""
        self._server = server
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.getsockname()[1]}/v1"

    def stop(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                with connection:
                    connection.settimeout(10)
                    data = b""
                    while b"[[end]]" not in data:
                        data += connection.recv(65_536)
                    connection.sendall(self.answer)


@pytest.fixture(scope="module")
def raw() -> Iterator[_RawProvider]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        provider = _RawProvider(server)
        yield provider
        provider.stop()


@pytest.fixture(scope="module")
def raw_daemon(raw: _RawProvider, module_start: Callable[..., Daemon]) -> Daemon:
    return module_start(openai_upstream=raw.url)


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: "
_EVENTS = _HEAD + b"text/event-stream\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("answer", "whole_hold"),
    [
        (b"", True),
        (b"SSH-2.0-OpenSSH\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", True),
        (_HEAD + b"application/json\r\nContent-Length: 5\r\n\r\n<htm>", True),
        (_HEAD + b"application/json\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}", True),
        (_EVENTS + b"Content-Encoding: br\r\n\r\nxyz", True),
        (_EVENTS + b"Content-Encoding: gzip\r\n\r\nno gzip at all", True),
        (_EVENTS + b"\r\n\xff\xfe\x00data: \xc3\x28\n\n", False),
        (_EVENTS + b'\r\ndata: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DO', False),
        (_EVENTS + b"X-Odd: a\r\nX-Odd: b\r\n\r\ndata: [DONE]\n\n", False),
    ],
)
def test_what_is_no_answer_is_charged_as_the_rules_say(
    raw: _RawProvider, raw_daemon: Daemon, answer: bytes, whole_hold: bool
) -> None:
    raw.answer, daemon = answer, raw_daemon
    pid = daemon.pid
    agent = daemon.open(1.0)
    body = _body("", stream=True, user="[[end]]")
    hold = hold_of(daemon, body)
    reply = agent.post(body=body)
    settled = nanos(agent.at_rest()["settled_usd"])
    assert 0 < settled <= hold
    assert (settled == hold) is whole_hold
    assert reply.status in (200, 502)
    _passed(reply, answer)
    assert daemon.pid == pid
    assert "Traceback" not in daemon.log


def _passed(reply: Reply, answer: bytes) -> None:
    """What could be passed on was, byte for byte."""
    head, _, sent = answer.partition(b"\r\n\r\n")
    decoded = b"event-stream" in head and b"Content-Encoding" in head
    if reply.status == 200 and not decoded:
        assert reply.body == sent
    if b"X-Odd" in head:
        assert reply.headers.get_all("X-Odd") == ["a", "b"]


def _memory(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_an_sdk_sees_what_it_would_see_without_us(daemon: Daemon, standin: StandinProcess) -> None:
    agent = daemon.open(1.0)
    for status, kind in (
        (401, openai.AuthenticationError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ):
        with agent.sdk(max_retries=0) as sdk, pytest.raises(kind) as raised:
            sdk.chat.completions.create(**chat(f"status={status}"))
        assert json.loads(raised.value.response.text)["error"]["message"]
    standin.reset()
