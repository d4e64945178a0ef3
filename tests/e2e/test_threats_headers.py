"""What crosses the daemon in either direction: which headers go to a provider, which come back.

The provider here is a bare socket, so that what it is sent is seen byte for byte, and what it
answers is as rude as it gets.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from harness import Agent, Daemon, chat, environment, new_home, running
from listener import Listener

from agentwatch.standin.process import StandinProcess

ANSWER = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}],
        "usage": {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10},
    }
).encode()


class Recorder(Listener):
    """A provider that keeps each request's bytes and answers with `head` and ANSWER."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.extra = b""
        self.raw: bytes | None = None
        super().__init__(None)
        self.port = self.address[1]

    def answer(self, connection: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65_536)
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            ),
            0,
        )
        while len(body) < length:
            body += connection.recv(65_536)
        self.requests.append(head + b"\r\n\r\n" + body)
        plain = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
        size = b"Content-Length: %d\r\n" % len(ANSWER)
        connection.sendall(self.raw or plain + self.extra + size + b"\r\n" + ANSWER)

    def headers(self) -> list[tuple[str, str]]:
        """Of the only request."""
        (request,) = self.requests
        lines = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]

    def body(self) -> bytes:
        (request,) = self.requests
        return request.partition(b"\r\n\r\n")[2]


@pytest.fixture(scope="module")
def provider() -> Iterator[Recorder]:
    made = Recorder()
    yield made
    made.close()


@pytest.fixture(scope="module")
def recorded_daemon(provider: Recorder, module_standin: StandinProcess) -> Iterator[Daemon]:
    upstream = f"http://127.0.0.1:{provider.port}/v1"
    with new_home() as home:
        environ = environment(home, module_standin, openai_upstream=upstream)
        with running(Daemon(home, environ)) as daemon:
            yield daemon


@pytest.fixture
def recorder(provider: Recorder) -> Recorder:
    provider.requests.clear()
    provider.extra, provider.raw = b"", None
    return provider


@pytest.fixture
def agent(recorded_daemon: Daemon) -> Agent:
    return recorded_daemon.open(1.0)


def test_what_goes_upstream_is_the_call_with_our_key_and_no_other(
    agent: Agent, recorder: Recorder
) -> None:
    sent = {
        "User-Agent": "OpenAI/Python 3",
        "X-Stainless-Lang": "python",
        "OpenAI-Organization": "org-1",
        "Idempotency-Key": "abc",
        "X-Custom": "kept",
        # credentials
        "x-api-key": "sk-other-1",
        "api-key": "sk-other-2",
        "x-goog-api-key": "sk-other-3",
        "Cookie": "sk-other-4",
        "Proxy-Authorization": "Basic sk-other-5",
        # ours
        "X-AgentWatch-Project": "p",
        "x-agentwatch-anything": "p",
        # of this hop
        "Connection": "close, X-Dropped",
        "X-Dropped": "1",
        "Keep-Alive": "timeout=5",
        "TE": "trailers",
        "Trailer": "X-T",
        "Accept-Encoding": "br, zstd",
        # ways to another host, method or path
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-For": "1.2.3.4",
        "Forwarded": "host=evil.example",
        "X-Original-URL": "/v1/files",
        "X-Rewrite-URL": "/v1/files",
        "X-HTTP-Method-Override": "DELETE",
        "Content-Type": "application/json; charset=utf-7",
    }
    assert agent.post(headers=sent).status == 200
    told = dict(recorder.headers())
    length = str(len(recorder.body()))
    assert told == {
        "Host": f"127.0.0.1:{recorder.port}",
        "User-Agent": "OpenAI/Python 3",
        "X-Stainless-Lang": "python",
        "OpenAI-Organization": "org-1",
        "Idempotency-Key": "abc",
        "X-Custom": "kept",
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "Authorization": "Bearer standin-key",
        "Content-Length": length,
    }
    assert len(recorder.headers()) == len(told)
    assert b"aws_" not in recorder.requests[0] and b"sk-other" not in recorder.requests[0]


def test_the_client_s_own_headers_keep_their_order(agent: Agent, recorder: Recorder) -> None:
    names = [f"X-H{n}" for n in (3, 1, 2, 5, 4)]
    agent.post(headers=dict.fromkeys(names, "1"))
    assert [name for name, _ in recorder.headers() if name.startswith("X-H")] == names


@pytest.mark.parametrize("slot", ["x-api-key", "api-key", "x-goog-api-key"])
def test_the_key_is_put_into_the_slot_where_the_token_was_and_into_no_other(
    slot: str, agent: Agent, recorder: Recorder
) -> None:
    agent.post(headers={"Authorization": "Bearer sk-other-1", slot: agent.token})
    told = {name.lower(): value for name, value in recorder.headers()}
    assert told[slot] == "standin-key"
    assert "authorization" not in told
    assert agent.token.encode() not in recorder.requests[0]


def test_a_key_given_twice_is_sent_once_and_as_it_was_priced(
    agent: Agent, recorder: Recorder
) -> None:
    body = b'{"model":"gpt-4o","max_tokens":9999999,"n":64,"messages":[],"model":"gpt-4o-mini",'
    body += b'"max_tokens":5,"n":1,"messages":[{"role":"user","content":"a\\u0062"}]}'
    assert agent.post(body=body).status == 200
    assert recorder.body().count(b'"model"') == recorder.body().count(b'"max_tokens"') == 1
    assert json.loads(recorder.body())["model"] == "gpt-4o-mini"
    assert b'[{"role":"user","content":"a\\u0062"}]' in recorder.body()


def test_an_answer_s_headers_are_the_provider_s_without_what_is_ours_to_say(
    agent: Agent, recorder: Recorder
) -> None:
    recorder.extra = (
        b"X-Request-Id: req-1\r\nopenai-processing-ms: 5\r\n"
        b"x-agentwatch-cost-usd: 0.00\r\nX-AGENTWATCH-Remaining-Usd: 99999\r\n"
        b"x-agentwatch-denied: nothing\r\nSet-Cookie: a=b\r\nAlt-Svc: h3=evil:443\r\n"
        b"Access-Control-Allow-Origin: *\r\nKeep-Alive: timeout=5\r\n"
    )
    reply = agent.post()
    assert reply.status == 200 and reply.body == ANSWER
    assert reply.headers["x-request-id"] == "req-1"
    assert reply.headers["openai-processing-ms"] == "5"
    assert reply.headers.get_all("x-agentwatch-cost-usd") == ["0.0000024"]
    assert reply.headers.get_all("x-agentwatch-remaining-usd") == ["0.9999976"]
    for name in ("set-cookie", "alt-svc", "access-control-allow-origin", "x-agentwatch-denied"):
        assert reply.headers[name] is None


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nX-A: b\nx-agentwatch-cost-usd: 0\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: a\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: b\r\n x-agentwatch-cost-usd: 0\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"not HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"",
    ],
)
def test_an_answer_that_is_no_http_harms_nobody(
    raw: bytes, agent: Agent, recorder: Recorder
) -> None:
    recorder.raw = raw or b"\r\n"
    reply = agent.post()
    assert reply.status in (200, 502) or reply.broken
    assert reply.headers["set-cookie"] is None
    assert "0" not in reply.headers.get_all("x-agentwatch-cost-usd", [])
    shown = agent.at_rest()
    assert shown["settled_usd"] > 0, "it was sent, and may have been billed"
    recorder.raw = None
    assert agent.post().status == 200


def test_a_redirect_is_not_followed(agent: Agent, recorder: Recorder) -> None:
    other = Recorder()
    recorder.raw = (
        b"HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\nConnection: close\r\n"
        b"Location: http://127.0.0.1:%d/v1/chat/completions\r\n\r\n" % other.port
    )
    assert agent.post(body=chat()).status == 307
    assert other.requests == []
    other.close()
