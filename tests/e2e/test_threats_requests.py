"""threats.md, "Requests" and "From a browser": raw sockets against the real daemon.

After each of them: 4xx or a closed connection, nothing at the provider, and the same process
serves the next call.
"""

from __future__ import annotations

import gzip
import json
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
import zstandard
from harness import Agent, Daemon, chat, environment, new_home, running

from agentwatch.standin.process import StandinProcess

BODY = json.dumps(chat()).encode()
LENGTH = f"Content-Length: {len(BODY)}\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"
POST = "POST /openai/v1/chat/completions HTTP/1.1\r\n"
#: a key that a client sends by mistake
SECRET = "sk-canary-0123456789abcdef"


class Target(NamedTuple):
    daemon: Daemon
    agent: Agent
    standin: StandinProcess
    pid: int

    @property
    def host(self) -> str:
        return f"Host: 127.0.0.1:{self.daemon.port}\r\n"

    @property
    def token(self) -> str:
        return f"Authorization: Bearer {self.agent.token}\r\nContent-Type: application/json\r\n"

    def filled(self, text: str) -> bytes:
        """HOST, TOKEN, PORT and KEY stand for this daemon's."""
        for name, value in (
            ("HOST\r\n", self.host),
            ("TOKEN\r\n", self.token),
            ("PORT", str(self.daemon.port)),
            ("KEY", self.agent.token),
        ):
            text = text.replace(name, value)
        return text.encode("latin-1")

    def send(self, data: bytes, patience_s: float = 20.0) -> bytes:
        """All that comes back until the daemon closes. TimeoutError where it does not."""
        with socket.create_connection(("127.0.0.1", self.daemon.port), patience_s) as sock:
            answer = b""
            try:
                sock.sendall(data)
                while piece := sock.recv(65_536):
                    answer += piece
            except ConnectionError:
                pass
            return answer

    def unharmed(self) -> None:
        """Nothing went out, nothing is held, and the same process serves."""
        assert self.standin.bill()["requests"] == 0
        assert self.agent.post().status == 200
        shown = self.agent.at_rest()
        assert shown["held_usd"] == 0
        assert self.daemon.pid == self.pid


@pytest.fixture(scope="module")
def strict_daemon(module_standin: StandinProcess) -> Iterator[Daemon]:
    """A daemon with short time-outs and small bodies."""
    settings = {"doors_head_timeout_s": "1", "doors_body_timeout_s": "1", "doors_max_body_mb": "2"}
    with (
        new_home() as home,
        running(Daemon(home, environment(home, module_standin, **settings))) as daemon,
    ):
        yield daemon


@pytest.fixture(scope="module")
def strict_agent(strict_daemon: Daemon) -> tuple[Agent, int]:
    return strict_daemon.open(5.0), strict_daemon.pid


@pytest.fixture
def target(
    strict_daemon: Daemon, strict_agent: tuple[Agent, int], standin: StandinProcess
) -> Target:
    return Target(strict_daemon, strict_agent[0], standin, strict_agent[1])


@pytest.mark.parametrize("how", ["head_delay=1.5 tokens=3", "tokens=20 delay=0.1"])
def test_a_large_body_s_answer_is_cut_off_when_the_head_s_time_is_up(
    how: str, target: Target
) -> None:
    body = chat(how, max_tokens=200, stream="delay=0.1" in how)
    body["messages"][0]["content"] += "x" * 300_000
    reply = target.agent.post(body=body)
    assert (reply.status, reply.broken) == (200, False)


def statuses(answer: bytes) -> list[int]:
    return [int(part[4:7]) for part in answer.split(b"HTTP/")[1:] if part[4:7].isdigit()]


def refused(answer: bytes) -> bool:
    """Only refusals, or nothing at all."""
    return all(400 <= status < 500 for status in statuses(answer))


def with_body(head: str) -> str:
    return head + "Connection: close\r\n" + LENGTH + "\r\n" + BODY.decode()


def with_chunks(head: str, chunks: bytes = CHUNKS) -> str:
    return head + "Connection: close\r\n" + CHUNKED + "\r\n" + chunks.decode("latin-1")


def on_path(path: str, method: str = "POST") -> str:
    return with_body(f"{method} {path} HTTP/1.1\r\nHOST\r\nTOKEN\r\n")


def with_header(*lines: str) -> str:
    return with_body(POST + "HOST\r\nTOKEN\r\n" + "".join(f"{line}\r\n" for line in lines))


FRAMING = {
    "length and chunks": POST + "HOST\r\nTOKEN\r\n" + LENGTH + CHUNKED + "\r\n" + CHUNKS.decode(),
    "chunks and length": POST + "HOST\r\nTOKEN\r\n" + CHUNKED + LENGTH + "\r\n" + CHUNKS.decode(),
    "chunked twice": POST + "HOST\r\nTOKEN\r\n" + CHUNKED * 2 + "\r\n" + CHUNKS.decode(),
    "gzip, chunked": with_chunks(POST + "HOST\r\nTOKEN\r\n").replace(
        ": chunked", ": gzip, chunked"
    ),
    "chunked, identity": with_chunks(POST + "HOST\r\nTOKEN\r\n").replace(
        ": chunked", ": chunked, identity"
    ),
    "xchunked": with_chunks(POST + "HOST\r\nTOKEN\r\n").replace(": chunked", ": xchunked"),
    "a blank before the colon": with_chunks(POST + "HOST\r\nTOKEN\r\n").replace(
        "Encoding:", "Encoding :"
    ),
    "two lengths, alike": with_header(LENGTH.strip()),
    "two lengths, unlike": with_header("Content-Length: 5"),
    "a list of lengths": with_header().replace(LENGTH, f"Content-Length: {len(BODY)}, 5\r\n"),
    "a length with a sign": with_header().replace(LENGTH, f"Content-Length: +{len(BODY)}\r\n"),
    "a negative length": with_header().replace(LENGTH, "Content-Length: -1\r\n"),
    "a length in hex": with_header().replace(LENGTH, "Content-Length: 0x40\r\n"),
    "a length beyond 64 bits": with_header().replace(LENGTH, f"Content-Length: {'9' * 30}\r\n"),
    "no digits": with_header().replace(LENGTH, "Content-Length: \r\n"),
    "a folded header": with_header("X-A: b", " c"),
    "bare LF": with_header().replace("\r\n", "\n"),
    "one bare LF": with_header("X-A: b\nX-B: c"),
    "a bare CR": with_header("X-A: b\rc"),
    "NUL in a header": with_header("X-A: b\0c"),
    "a header without a name": with_header(": b"),
    "a blank in a header's name": with_header("X A: b"),
    "a header without a colon": with_header("XA"),
    "a chunk of negative size": with_chunks(POST + "HOST\r\nTOKEN\r\n", b"-5\r\n" + BODY),
    "a chunk size with 0x": with_chunks(POST + "HOST\r\nTOKEN\r\n", b"0x" + CHUNKS),
    "a chunk size beyond 64 bits": with_chunks(POST + "HOST\r\nTOKEN\r\n", b"f" * 18 + CHUNKS),
    "a chunk without its end": with_chunks(
        POST + "HOST\r\nTOKEN\r\n", CHUNKS.replace(b"}\r\n0", b"}XX0")
    ),
    "chunks with bare LF": with_chunks(POST + "HOST\r\nTOKEN\r\n", CHUNKS.replace(b"\r", b"")),
    "an LF in a chunk's extension": with_chunks(
        POST + "HOST\r\nTOKEN\r\n", CHUNKS.replace(b"\r\n", b";a\nb\r\n", 1)
    ),
    "HTTP/0.9": "GET /openai/v1/models\r\n\r\n",
    "HTTP/0.9 that says so": "GET /openai/v1/models HTTP/0.9\r\nHOST\r\nTOKEN\r\n\r\n",
    "HTTP/1.2": "GET /openai/v1/models HTTP/1.2\r\nHOST\r\nTOKEN\r\n\r\n",
    "HTTP/2.0": "GET /openai/v1/models HTTP/2.0\r\nHOST\r\nTOKEN\r\n\r\n",
    "the preface of HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "a TLS hello": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\0" * 64,
    "tabs for blanks": with_header().replace(POST, POST.replace(" ", "\t")),
    "one header of 20 KB": with_header("X-A: " + "a" * 20_000),
    "4 MB of headers": with_header(*(f"X-{n}: " + "a" * 8_000 for n in range(500))),
    "50,000 headers": with_header(*(f"X-{n}: a" for n in range(50_000))),
    "a line without end": "A" * 3_000_000,
    "another expectation": with_header("Expect: 200-ok"),
}
PATHS = {
    "/openai/v1/../v1/chat/completions",
    "/openai/v1/%2e%2e/v1/chat/completions",
    "/openai/v1/..%2fv1/chat/completions",
    "/openai/..%5cv1/chat/completions",
    "/openai/v1//chat/completions",
    "//openai/v1/chat/completions",
    "//evil.example/openai/v1/chat/completions",
    "/openai/v1\\chat\\completions",
    "/openai/v1/%63hat/completions",
    "/openai/v1/chat/completions/",
    "/openai/v1/chat/completions;a=b",
    "/openai/v1/chat/completions?a=b",
    "/openai/v1/chat/completions#a",
    "/openai/v1/chat/completions%00",
    "/openai/v1/chat/completions\0",
    "/openai/v1/chat/compl\xe9tions",
    "/openai/v1@evil.example/chat/completions",
    "/openai/v1/chat/completions%20HTTP/1.1%0d%0aX-A:%20b",
    "http://evil.example/openai/v1/chat/completions",
    "http://127.0.0.1:PORT/openai/v1/chat/completions",
    "https://api.openai.com/v1/chat/completions",
    "/https://api.openai.com/v1/chat/completions",
    "*",
    "/openai",
    "/openai/",
    "/openai/v1/files",
    "/openai/v1/batches",
    "/openai/v1/realtime/sessions",
    "/openai/v1/responses/resp_1",
    "/openai/v1/chat/completions/../../files",
    "/anthropic/v1/messages",
    "/s/aws_short/openai/v1/chat/completions",
    "/s/KEY/../openai/v1/chat/completions",
    "/s/KEY//openai/v1/chat/completions",
    "/s/KEY/s/KEY/openai/v1/chat/completions",
    "/s/KEY/v1/sessions",
    "/v1/sessions",
    "/metrics",
}


def test_a_call_that_is_in_order_gets_through_or_nothing_here_means_anything(
    target: Target,
) -> None:
    assert statuses(target.send(target.filled(with_header()))) == [200]
    assert statuses(target.send(target.filled(with_chunks(POST + "HOST\r\nTOKEN\r\n")))) == [200]
    assert target.standin.bill()["requests"] == 2


@pytest.mark.parametrize("name", FRAMING)
def test_a_request_that_two_servers_could_read_in_two_ways_ends_here(
    name: str, target: Target
) -> None:
    answer = target.send(target.filled(FRAMING[name]))
    assert answer and refused(answer), answer[:500]
    target.unharmed()


@pytest.mark.parametrize("path", sorted(PATHS))
def test_a_path_that_means_something_else_elsewhere_ends_here(path: str, target: Target) -> None:
    answer = target.send(target.filled(on_path(path)))
    assert answer and refused(answer), answer[:500]
    assert target.agent.token.encode() not in answer
    target.unharmed()


@pytest.mark.parametrize("path", ["/openai/v1/models/..", "/openai/v1/models/a/../../files"])
def test_a_model_s_name_is_no_way_to_another_path(path: str, target: Target) -> None:
    assert refused(target.send(target.filled(on_path(path, "GET"))))
    target.unharmed()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH"])
def test_a_paid_path_takes_post_alone_and_says_nothing_to_other_origins(
    method: str, target: Target
) -> None:
    answer = target.send(target.filled(on_path("/openai/v1/chat/completions", method)))
    assert answer and refused(answer)
    assert b"access-control" not in answer.lower()
    target.unharmed()


@pytest.mark.parametrize("method", ["CONNECT", "BREW", "PoST", "post", "PO ST"])
def test_a_method_that_opens_a_tunnel_or_is_none_ends_the_connection(
    method: str, target: Target
) -> None:
    asked = f"{method} api.openai.com:443 HTTP/1.1\r\nHOST\r\nTOKEN\r\n\r\n" + with_header()
    answer = target.send(target.filled(asked))
    assert refused(answer) and len(statuses(answer)) <= 1
    target.unharmed()


# ---- a browser


@pytest.mark.parametrize(
    "line",
    [
        "Origin: http://evil.example",
        "Origin: http://127.0.0.1:PORT",
        "Origin: null",
        "Origin:",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Site: same-site",
        "Sec-Fetch-Site: NONE",
        "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site",
    ],
)
@pytest.mark.parametrize("path", ["/openai/v1/chat/completions", "/v1/healthz", "/v1/sessions"])
def test_a_web_page_is_refused_before_anybody_asks_who_it_is(
    path: str, line: str, target: Target
) -> None:
    for who in ("TOKEN\r\n", ""):
        asked = f"POST {path} HTTP/1.1\r\nHOST\r\n{who}{line}\r\n"
        answer = target.send(target.filled(with_body(asked)))
        assert statuses(answer) == [403]
        assert b"access-control" not in answer.lower()
    target.unharmed()


@pytest.mark.parametrize(
    "host",
    [
        "Host: evil.example:PORT\r\n",
        "Host: evil.example\r\n",
        "Host: 127.0.0.1\r\n",
        "Host: 127.0.0.1:1\r\n",
        "Host: localhost.evil.example:PORT\r\n",
        "Host: 127.0.0.1:PORT, evil.example\r\n",
        "Host: evil@127.0.0.1:PORT\r\n",
        "Host: 0.0.0.0:PORT\r\n",
        "Host:\r\n",
        "HOST\r\nHOST\r\n",
        "",
    ],
)
def test_a_name_that_was_rebound_to_this_address_is_refused(host: str, target: Target) -> None:
    answer = target.send(target.filled(with_body(POST + host + "TOKEN\r\n")))
    assert statuses(answer) in ([400], [403])
    target.unharmed()


@pytest.mark.parametrize("host", ["localhost:PORT", "LOCALHOST:PORT", "[::1]:PORT"])
def test_this_machine_s_other_names_are_taken(host: str, target: Target) -> None:
    answer = target.send(target.filled(with_body(POST + f"Host: {host}\r\nTOKEN\r\n")))
    assert statuses(answer) == [200]


# ---- bodies


def encoded(encoding: str, data: bytes) -> tuple[str, bytes]:
    head = POST + "HOST\r\nTOKEN\r\nConnection: close\r\n" + f"Content-Encoding: {encoding}\r\n"
    return head + f"Content-Length: {len(data)}\r\n\r\n", data


BLANKS = b" " * (200 << 20)
ENCODINGS: dict[str, Callable[[], tuple[str, bytes]]] = {
    "gzip bomb": lambda: encoded("gzip", gzip.compress(BLANKS, 1)),
    "deflate bomb": lambda: encoded("deflate", zlib.compress(BLANKS, 1)),
    "zstd bomb": lambda: encoded("zstd", zstandard.compress(BLANKS)),
    "gzip in gzip": lambda: encoded("gzip", gzip.compress(gzip.compress(BODY))),
    "gzip, gzip": lambda: encoded("gzip, gzip", gzip.compress(gzip.compress(BODY))),
    "identity twice": lambda: encoded("identity\r\nContent-Encoding: identity", BODY),
    "gzip that is none": lambda: encoded("gzip", BODY),
    "zstd that is none": lambda: encoded("zstd", BODY),
    "gzip cut short": lambda: encoded("gzip", gzip.compress(BODY)[:-4]),
    "gzip with a tail": lambda: encoded("gzip", gzip.compress(BODY) + b"{}"),
    "two members of gzip": lambda: encoded("gzip", gzip.compress(BODY) + gzip.compress(b" ")),
    "two frames of zstd": lambda: encoded("zstd", zstandard.compress(BODY) * 2),
    "br": lambda: encoded("br", BODY),
    "an encoding of 8 KB": lambda: encoded("x" * 8_000, BODY),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_an_encoded_body_is_bounded_or_not_taken(name: str, target: Target) -> None:
    head, data = ENCODINGS[name]()
    began = time.monotonic()
    answer = target.send(target.filled(head) + data)
    assert statuses(answer) in ([400], [413], [415]), answer[:300]
    assert time.monotonic() - began < 10
    target.unharmed()


def test_a_bomb_does_not_hold_up_anybody_else(target: Target) -> None:
    head, data = encoded("zstd", zstandard.compress(BLANKS))
    with socket.create_connection(("127.0.0.1", target.daemon.port), 20) as sock:
        sock.sendall(target.filled(head) + data)
        began = time.monotonic()
        assert target.agent.post().status == 200
        assert time.monotonic() - began < 5


def test_a_body_over_the_limit_is_refused_before_it_is_sent(target: Target) -> None:
    head = POST + "HOST\r\nTOKEN\r\nExpect: 100-continue\r\nContent-Length: 10000000\r\n\r\n"
    answer = target.send(target.filled(head))
    assert statuses(answer) == [413]
    target.unharmed()


def test_a_body_that_grows_over_the_limit_is_refused(target: Target) -> None:
    head = target.filled(POST + "HOST\r\nTOKEN\r\n" + CHUNKED + "\r\n")
    answer = target.send(head + (b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 160)
    assert statuses(answer) in ([413], [])  # a client that goes on writing may be cut off unheard
    target.unharmed()


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(target: Target) -> None:
    head = POST + "HOST\r\nTOKEN\r\nConnection: close\r\nExpect: 100-continue\r\n" + LENGTH + "\r\n"
    with socket.create_connection(("127.0.0.1", target.daemon.port), 20) as sock:
        sock.sendall(target.filled(head))
        assert sock.recv(1024) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(BODY)
        assert sock.recv(16).startswith(b"HTTP/1.1 200")


# ---- slowness


@pytest.mark.parametrize("begin", ["", "P", POST, POST + "HOST\r\nTOKEN\r\n"])
def test_a_head_that_does_not_come_is_not_waited_for(begin: str, target: Target) -> None:
    began = time.monotonic()
    assert target.send(target.filled(begin)) == b""
    assert time.monotonic() - began < 10
    target.unharmed()


def drip(target: Target, head: bytes, drops: bytes) -> float:
    """Seconds until a client that sends a byte at a time is cut off."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", target.daemon.port), 0.2) as sock:
        sock.sendall(head)
        for drop in drops:
            try:
                sock.sendall(bytes([drop]))
                if sock.recv(4096) in (b"",):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            raise AssertionError("it was never cut off")
    return time.monotonic() - began


def test_a_head_that_comes_by_the_byte_is_cut_off(target: Target) -> None:
    assert drip(target, b"", target.filled(with_header())) < 10
    target.unharmed()


def test_a_body_that_comes_by_the_byte_is_cut_off(target: Target) -> None:
    head = POST + "HOST\r\nTOKEN\r\nContent-Length: 1000\r\n\r\n"
    assert drip(target, target.filled(head), b" " * 200) < 10
    target.unharmed()


def test_three_hundred_slow_heads_leave_room_for_a_call(target: Target) -> None:
    idle = [socket.create_connection(("127.0.0.1", target.daemon.port), 20) for _ in range(300)]
    try:
        for sock in idle:
            sock.sendall(POST.encode())
        assert target.agent.post().status == 200
        for sock in idle:
            assert sock.recv(1) == b""
    finally:
        for sock in idle:
            sock.close()
    target.standin.reset()
    target.unharmed()


# ---- one connection, several requests


def test_pipelined_requests_are_answered_in_their_order(target: Target) -> None:
    one = with_header().replace("Connection: close\r\n", "")
    answer = target.send(target.filled(one * 2 + with_header()))
    assert statuses(answer) == [200, 200, 200]
    assert target.standin.bill()["requests"] == 3


def test_what_follows_a_refusal_on_its_connection_is_not_served(target: Target) -> None:
    stranger = with_body(POST + "HOST\r\n").replace("Connection: close\r\n", "")
    answer = target.send(target.filled(stranger + with_header()))
    assert statuses(answer) == [401]
    target.unharmed()


def test_a_request_inside_a_refused_body_is_never_one(target: Target) -> None:
    inner = target.filled(with_header())
    outer = POST + f"HOST\r\nTOKEN\r\nContent-Encoding: br\r\nContent-Length: {len(inner)}\r\n\r\n"
    answer = target.send(target.filled(outer) + inner)
    assert statuses(answer) == [415]
    target.unharmed()


@pytest.mark.parametrize("protocol", ["websocket", "WebSocket", "tcp", "websocket, h2c"])
@pytest.mark.parametrize("path", ["/openai/v1/responses", "/openai/v1/realtime?model=gpt-4o"])
def test_an_upgrade_is_426_and_no_tunnel(path: str, protocol: str, target: Target) -> None:
    asked = (
        f"GET {path} HTTP/1.1\r\nHOST\r\nTOKEN\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n"
    )
    asked += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    answer = target.send(target.filled(asked + with_header()))
    assert statuses(answer) == [426]
    assert b"websocket_not_governed" in answer
    target.unharmed()


def test_an_offer_of_http2_is_passed_over(target: Target) -> None:
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    asked = target.filled(with_header(*offer).replace("Connection: close\r\n", ""))
    with socket.create_connection(("127.0.0.1", target.daemon.port), 20) as sock:
        sock.sendall(asked)
        assert sock.recv(16).startswith(b"HTTP/1.1 200")
    names = target.standin.requests()[0]["headers"]
    assert not {"upgrade", "http2-settings", "connection"} & set(names)


# ---- who calls


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Authorization:",
        "Authorization: Bearer",
        "Authorization: Bearer aws_",
        f"Authorization: Bearer {SECRET}",
        f"Authorization: {SECRET}",
        f"Authorization: Basic {SECRET}",
        f"Authorization: Bearer {SECRET}\x01",
        f"Authorization: Bearer\x00 {SECRET}",
        f"Authorization: Bearer aws_{SECRET}\xff",
        f"Authorization: Bearer awk_{SECRET}",
        f"Authorization: Bearer {SECRET}\r\nAuthorization: Bearer KEY",
        f"x-api-key: {SECRET}",
        f"Cookie: session={SECRET}",
        "Authorization: Bearer aws_" + "A" * 12_000,
        "X-Authorization: Bearer KEY",
        "Proxy-Authorization: Bearer KEY",
    ],
)
def test_a_stranger_is_refused_and_what_he_showed_is_not_repeated(
    line: str, target: Target
) -> None:
    head = POST + "HOST\r\n" + (f"{line}\r\n" if line else "")
    answer = target.send(target.filled(with_body(head)))
    assert statuses(answer) in ([400], [401]), answer[:200]
    assert SECRET.encode() not in answer
    assert SECRET not in target.daemon.log
    assert target.agent.token not in target.daemon.log
    target.unharmed()


@pytest.mark.parametrize(
    "session_id",
    ["other", "", "a%00b", "a{}b", "{0.__class__}", "a b", "..", "\xe2\x80\xae", "a" * 8_000],
)
def test_a_token_can_t_name_another_session(session_id: str, target: Target) -> None:
    answer = target.send(target.filled(with_header(f"x-agentwatch-session-id: {session_id}")))
    assert statuses(answer) == [400]
    assert b"session_mismatch" in answer
    target.unharmed()


@pytest.mark.parametrize("session_id", ["a\0b", "a\nb", "a\r\n b", "a" * 1_000_000])
def test_a_session_id_that_breaks_the_head_ends_the_connection(
    session_id: str, target: Target
) -> None:
    answer = target.send(target.filled(with_header(f"x-agentwatch-session-id: {session_id}")))
    assert refused(answer)
    target.unharmed()


def test_its_own_session_may_be_named(target: Target) -> None:
    named = with_header(f"x-agentwatch-session-id: {target.agent.id}")
    assert statuses(target.send(target.filled(named))) == [200]


def test_with_a_token_a_project_of_the_agent_s_choice_is_not_charged(target: Target) -> None:
    named = with_header("x-agentwatch-project: another", "x-agentwatch-team: another")
    assert statuses(target.send(target.filled(named))) == [200]
    assert target.agent.show()["project"] is None
    budgets = target.daemon.get("/v1/budgets")["budgets"]
    assert not [row for row in budgets if "another" in row["name"]]


def test_the_token_may_stand_in_the_path(target: Target) -> None:
    head = POST.replace("/openai", "/s/KEY/openai") + "HOST\r\nContent-Type: application/json\r\n"
    placeholder = "Authorization: Bearer no-key-needed\r\n"
    for shown in ("", placeholder):
        assert statuses(target.send(target.filled(with_body(head + shown)))) == [200]
    bill = target.standin.bill()
    assert (bill["requests"], bill["wrong_key"], bill["leaks"]) == (2, 0, [])


def test_a_key_in_the_query_is_taken_and_goes_no_further(target: Target) -> None:
    head = POST.replace("completions ", "completions?key=KEY ") + "HOST\r\n"
    target.send(target.filled(with_body(head)))
    (seen,) = target.standin.requests()
    assert seen["leaks"] == []
    assert seen["path"] == "/v1/chat/completions"


def test_the_token_of_a_killed_session_opens_nothing(target: Target) -> None:
    other = target.daemon.open(1.0)
    other.do("kill")
    reply = other.post()
    assert (reply.status, reply.denied) == (400, "session_killed")
    assert reply.headers["x-should-retry"] == "false"
    assert reply.headers["retry-after"] is None
    target.unharmed()
