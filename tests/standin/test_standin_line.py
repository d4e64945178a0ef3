"""The wire's own faults, seen by a plain socket."""

from __future__ import annotations

import socket
import zlib
from collections.abc import Callable

import pytest

Ask = Callable[..., socket.socket]
END = b"data: [DONE]"


def read_all(connection: socket.socket) -> bytes:
    """Everything up to the close."""
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def body_of(answer: bytes) -> bytes:
    """A chunked body put together again."""
    rest, body = answer.partition(b"\r\n\r\n")[2], b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        count = int(size, 16)
        if not count:
            break
        body, rest = body + rest[:count], rest[count + 2 :]
    return body


def is_reset(connection: socket.socket) -> bool:
    try:
        read_all(connection)
    except ConnectionResetError:
        return True
    return False


def test_a_reset_before_the_head_sends_not_a_byte(ask: Ask) -> None:
    connection = ask("reset=before_head")
    with pytest.raises(ConnectionResetError):
        connection.recv(1)


@pytest.mark.parametrize(
    ("directive", "streamed"),
    [("reset=after_head", True), ("reset=3 delay=0.01", True), ("reset=3", False)],
)
def test_a_reset_in_mid_answer_is_a_reset(ask: Ask, directive: str, streamed: bool) -> None:
    assert is_reset(ask(directive, stream=streamed))


def test_a_cut_stream_has_neither_a_done_nor_an_end_of_its_chunks(ask: Ask) -> None:
    answer = read_all(ask("cut=3", stream=True))
    assert answer.count(b'"content":"') == 4
    assert END not in answer
    assert not answer.endswith(b"0\r\n\r\n")


def test_a_stream_can_end_well_formed_and_still_have_no_done(ask: Ask) -> None:
    answer = read_all(ask("end=3", stream=True))
    assert answer.endswith(b"0\r\n\r\n")
    assert END not in answer


def test_a_cut_answer_is_shorter_than_its_length(ask: Ask) -> None:
    head, _, body = read_all(ask("cut=3")).partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert 0 < len(body) < length


@pytest.mark.parametrize(("name", "eol"), [("crlf", b"\r\n"), ("cr", b"\r")])
def test_events_end_their_lines_as_told(ask: Ask, name: str, eol: bytes) -> None:
    body = body_of(read_all(ask(f"eol={name} tokens=2", stream=True)))
    assert body.endswith(END + eol * 2)
    assert b"\n" not in body.replace(eol, b"")


def test_tiny_writes_cut_characters_and_lose_nothing(ask: Ask) -> None:
    answer = read_all(ask("write=1 utf8 tokens=6", stream=True))
    body = body_of(answer)
    assert answer.count(b"\r\n1\r\n") > len(body) // 2
    assert "日本" in body.decode()


def test_comments_come_before_the_first_event(ask: Ask) -> None:
    body = body_of(read_all(ask("comments=3 tokens=1", stream=True)))
    assert body.startswith(b": still here\n\n" * 3 + b"data: {")


@pytest.mark.parametrize("streamed", [True, False])
def test_gzip_is_gzip(ask: Ask, streamed: bool) -> None:
    head, _, body = read_all(ask("gzip=on tokens=2", stream=streamed)).partition(b"\r\n\r\n")
    assert b"content-encoding: gzip" in head.lower()
    plain = zlib.decompress(body_of(head + b"\r\n\r\n" + body) if streamed else body, wbits=31)
    assert (END in plain) == streamed
    assert b"gpt-4o-mini" in plain


def test_truncated_gzip_can_not_be_read_to_its_end(ask: Ask) -> None:
    body = read_all(ask("gzip=truncated tokens=2")).partition(b"\r\n\r\n")[2]
    with pytest.raises(zlib.error):
        zlib.decompress(body, wbits=31)


def test_a_bomb_is_small_on_the_wire_and_huge_behind_it(ask: Ask) -> None:
    body = read_all(ask("gzip=bomb tokens=2")).partition(b"\r\n\r\n")[2]
    assert len(body) < 1 << 20
    grown = zlib.decompressobj(wbits=31).decompress(body, 64 << 20)
    assert len(grown) == 64 << 20


def test_a_line_can_be_megabytes_long(ask: Ask) -> None:
    body = body_of(read_all(ask("line=3000000 tokens=2", stream=True)))
    assert max(map(len, body.split(b"\n"))) > 3_000_000
    assert END in body
