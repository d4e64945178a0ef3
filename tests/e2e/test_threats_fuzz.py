"""20,500 malformed inputs, from a seed: refused or closed, nothing sent, the same process serves.

20,000 JSON bodies go through the dialect in this process, where a refusal is an exception and what
would be sent is compared with what was priced; 500 are thrown at the daemon's port as bytes.
"""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable
from typing import Any

import pytest
from harness import Daemon, chat

from agentwatch.errors import Refusal
from agentwatch.standin.process import StandinProcess
from agentwatch.wire.openai import OpenAI

SEED = 20_500
BODIES = 20_000
RAW = 500

LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
#: what can be no limit
NO_LIMITS = (
    "-1",
    "0",
    "1.5",
    "1e400",
    "-1e400",
    "1e2",
    "NaN",
    "Infinity",
    "-Infinity",
    '"100"',
    "true",
    "false",
    "[]",
    "[5]",
    "{}",
    "99999999999999999999999",
    "9007199254740993",
    "0x10",
    "1_000",
    "01",
    "+5",
    ".5",
    "5.",
    "-0",
    "\u0665",
)
PLAIN = {
    "/v1/chat/completions": chat(),
    "/v1/responses": {"model": "gpt-5.4", "input": "hi"},
    "/v1/completions": {"model": "gpt-3.5-turbo-instruct", "prompt": "hi"},
}
LIMIT_OF = {
    "/v1/chat/completions": LIMITS[:2],
    "/v1/responses": LIMITS[2:],
    "/v1/completions": LIMITS[:1],
}


def spliced(body: str, key: str, value: str) -> str:
    return f'{{"{key}": {value}, {body[1:]}'


def a_bad_limit(rng: random.Random, path: str, body: str) -> bytes:
    return spliced(body, rng.choice(LIMIT_OF[path]), rng.choice(NO_LIMITS)).encode()


def two_limits(rng: random.Random, path: str, body: str) -> bytes:
    first, second = rng.sample(range(1, 10_000), 2)
    path_limits = LIMIT_OF["/v1/chat/completions"]
    text = spliced(body, path_limits[0], str(first))
    return spliced(text, path_limits[1], str(second)).encode()


def a_look_alike(rng: random.Random, path: str, body: str) -> bytes:
    name = rng.choice(LIMIT_OF[path] + ("model", "stream"))
    changed = "".join(rng.choice((c.upper(), c)) for c in name)
    if changed == name:
        changed = name.upper()
    return spliced(body, changed, "5").encode()


def a_bad_count(rng: random.Random, path: str, body: str) -> bytes:
    if path == "/v1/responses":
        return spliced(body, "max_tool_calls", rng.choice(NO_LIMITS)).encode()
    return spliced(body, "n", rng.choice(NO_LIMITS)).encode()


def a_bad_flag(rng: random.Random, path: str, body: str) -> bytes:
    return spliced(body, "stream", rng.choice(('"true"', "1", "[]", "{}", "0"))).encode()


def cut_short(rng: random.Random, path: str, body: str) -> bytes:
    return body.encode()[: rng.randrange(0, len(body) - 1)]


def a_tail(rng: random.Random, path: str, body: str) -> bytes:
    return body.encode() + rng.choice((b"{}", b"x", b"\0", b",", b"}", body.encode()))


def another_encoding(rng: random.Random, path: str, body: str) -> bytes:
    encoding = rng.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"))
    return body.encode(encoding)


def bytes_that_are_no_text(rng: random.Random, path: str, body: str) -> bytes:
    data = body.encode()
    at = data.index(b"hi") if b"hi" in data else data.index(b"hello")
    bad = rng.choice((b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\0", b"\n"))
    return data[:at] + bad + data[at:]


def depth(rng: random.Random, path: str, body: str) -> bytes:
    # how deep is too deep is Python's affair: 990 levels in 3.11, 9,998 in 3.13; none breaks it
    deep = rng.choice((20_000, 40_000))
    opened, closed = rng.choice((("[", "]"), ('{"a":', "}")))
    inner = opened * deep + "1" + closed * deep
    field = rng.choice(("tools", "messages", "input", "prompt", "metadata"))
    return spliced(body, field, inner).encode()


def no_object(rng: random.Random, path: str, body: str) -> bytes:
    return rng.choice(
        (f"[{body}]", json.dumps(body), "null", "5", "", " ", "//", "{}", "{]")
    ).encode()


def hosted_tools(rng: random.Random, path: str, body: str) -> bytes:
    kind = rng.choice(("code_interpreter", "file_search", "mcp", "image_generation", "web_search"))
    spelled = rng.choice((kind, kind[0] + f"\\u00{ord(kind[1]):02x}" + kind[2:]))
    tools = f'[{{"type": "{spelled}"}}]'
    target = "/v1/responses" if path == "/v1/completions" else path
    return spliced(json.dumps(PLAIN[target]), "tools", tools).encode()


Make = Callable[[random.Random, str, str], bytes]
MAKERS: tuple[Make, ...] = (
    a_bad_limit,
    two_limits,
    a_look_alike,
    a_bad_count,
    a_bad_flag,
    cut_short,
    a_tail,
    another_encoding,
    bytes_that_are_no_text,
    depth,
    no_object,
    hosted_tools,
)
ON_CHAT = (two_limits,)


def inputs(count: int) -> list[tuple[str, str, bytes]]:
    rng = random.Random(SEED)
    made = []
    for number in range(count):
        maker = MAKERS[number % len(MAKERS)]
        path = "/v1/chat/completions" if maker in ON_CHAT else rng.choice(tuple(PLAIN))
        if maker is hosted_tools and path == "/v1/completions":
            path = "/v1/responses"
        made.append((maker.__name__, path, maker(rng, path, json.dumps(PLAIN[path]))))
    return made


REASONS = {"bad_request", "model_not_priced", "path_not_governed"}


def verdict(dialect: OpenAI, path: str, body: bytes) -> str:
    """The reason of the refusal; "priced" where there is none."""
    try:
        dialect.read("POST", path, "", {}, body)
    except Refusal as refusal:
        return refusal.reason
    return "priced"


def test_no_malformed_body_is_priced() -> None:
    dialect = OpenAI()
    got_through = [
        (name, path, body[:200])
        for name, path, body in inputs(BODIES)
        if verdict(dialect, path, body) not in REASONS
    ]
    assert got_through == []


# ---- bytes at the port


def mutated(rng: random.Random, request: bytes) -> bytes:
    data = bytearray(request)
    for _ in range(rng.choice((1, 1, 2, 5, 40))):
        at = rng.randrange(len(data))
        how = rng.randrange(5)
        if how == 0:
            data[at] = rng.randrange(256)
        elif how == 1:
            del data[at : at + rng.randrange(1, 9)]
        elif how == 2:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9)))
        elif how == 3:
            data[at:at] = rng.choice(
                (b"\r\n", b"\n", b"\0", b"\r\n\r\n", b": ", b"0\r\n\r\n", b" ")
            )
        else:
            other = rng.randrange(len(data))
            data[at:at] = data[other : other + 40]
        if not data:
            data += b"G"
    return bytes(data)


def thrown(port: int, data: bytes) -> list[int]:
    """The statuses that are answered before the connection ends, or falls silent."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while piece := sock.recv(65_536):
                answer += piece
        except ConnectionError:
            pass
    return [int(part[4:7]) for part in answer.split(b"HTTP/")[1:] if part[4:7].isdigit()]


@pytest.mark.timeout(180)
def test_no_mutated_request_of_a_stranger_gets_anywhere(
    daemon: Daemon, standin: StandinProcess
) -> None:
    """Mutants of a call without a valid credential: whatever comes of them is no call."""
    rng = random.Random(SEED)
    pid, agent = daemon.pid, daemon.open(1.0)
    body = json.dumps(chat()).encode()
    bad: list[Any] = []
    for number in range(RAW):
        head = (
            b"POST /openai/v1/chat/completions HTTP/1.1\r\n"
            b"Host: 127.0.0.1:%d\r\nAuthorization: Bearer aws_%s\r\n"
            b"Content-Type: application/json\r\n" % (daemon.port, b"A" * 43)
        )
        if number % 2:
            framed = (
                b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
            )
        else:
            framed = b"Content-Length: %d\r\n\r\n" % len(body) + body
        data = mutated(rng, head + framed)
        if any(not 400 <= status < 500 for status in thrown(daemon.port, data)):
            bad.append(data)
    assert bad == []
    assert standin.bill()["requests"] == 0
    assert agent.post().status == 200
    assert daemon.pid == pid
