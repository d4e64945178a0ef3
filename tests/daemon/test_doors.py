"""The doors' own checks, taken one by one; the sockets' view of them is in tests/e2e."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from aiohttp import HttpVersion, HttpVersion10, HttpVersion11
from aiohttp.test_utils import make_mocked_request
from aiohttp.web import BaseRequest, Response

from agentwatch.daemon.doors import Connection, Door, _peer_lives, check_origin
from agentwatch.errors import Refusal
from agentwatch.sections import DoorsSettings

HOST = ("Host", "127.0.0.1:4141")


def request(
    headers: Iterable[tuple[str, str]] = (HOST,), version: HttpVersion = HttpVersion11
) -> BaseRequest:
    from multidict import CIMultiDict

    return make_mocked_request("POST", "/", CIMultiDict(headers), version=version)


def refused(
    headers: Iterable[tuple[str, str]],
    version: HttpVersion = HttpVersion11,
    port: int | None = 4141,
) -> int | None:
    with pytest.raises(Refusal) as refusal:
        check_origin(request(headers, version), port)
    assert refusal.value.reason == "bad_request"
    return refusal.value.status


@pytest.mark.parametrize("version", [HttpVersion10, HttpVersion11])
def test_a_program_on_this_machine_is_let_in(version: HttpVersion) -> None:
    check_origin(request(version=version), 4141)
    check_origin(request([HOST, ("Transfer-Encoding", "Chunked")], version), 4141)
    check_origin(request([], version), None)


@pytest.mark.parametrize("version", [HttpVersion(0, 9), HttpVersion(1, 2), HttpVersion(2, 0)])
def test_other_versions_are_not_guessed_at(version: HttpVersion) -> None:
    assert refused([HOST], version) == 400


@pytest.mark.parametrize("port", [4141, None])
@pytest.mark.parametrize(
    "header", [("Origin", ""), ("Origin", "null"), ("Sec-Fetch-Site", "same-origin")]
)
def test_a_browser_is_kept_out_of_both_doors(header: tuple[str, str], port: int | None) -> None:
    assert refused([HOST, header], port=port) == 403


def test_the_second_of_two_headers_counts_as_well() -> None:
    sites = [("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "cross-site")]
    assert refused([HOST, *sites]) == 403
    assert refused([HOST, HOST]) == 403
    codings = [("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")]
    assert refused([HOST, *codings]) is None


@pytest.mark.parametrize("coding", ["gzip, chunked", "identity", "chunked;q=1", ""])
def test_a_coding_that_is_not_undone_here_is_not_passed_over(coding: str) -> None:
    assert refused([HOST, ("Transfer-Encoding", coding)]) is None


class _Transport:
    def __init__(self, sock: object) -> None:
        self._sock = sock

    def get_extra_info(self, name: str) -> object:
        return self._sock


@pytest.mark.skipif(sys.platform != "linux", reason="SO_PEERPIDFD")
def test_who_connects_and_ends_does_not_leave_his_number_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket has a short path
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s")
        listening.listen()
        pid = os.fork()
        if pid == 0:
            held = socket.socket(socket.AF_UNIX)
            held.connect("s")
            os._exit(0)
        os.waitpid(pid, 0)
        accepted, _ = listening.accept()
        with accepted, socket.socket(socket.AF_UNIX) as ours:
            assert not _peer_lives(_Transport(accepted))  # type: ignore[arg-type]
            ours.connect("s")
            mine, _ = listening.accept()
            with mine:
                assert _peer_lives(_Transport(mine))  # type: ignore[arg-type]


async def test_a_request_whose_head_was_just_read_is_no_request_yet() -> None:
    """aiohttp begins with it a tick later. Its body may come, or the daemon end, in between."""

    async def handler(request: BaseRequest) -> Response:
        return Response(body=await request.read())

    door = Door(handler, DoorsSettings())
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    with theirs:
        _, connection = await loop.connect_accepted_socket(door, ours)
        assert isinstance(connection, Connection)
        for number in range(1, 3):
            await asyncio.sleep(0.01)
            assert not connection.is_busy(spare_new=False)
            connection.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
            assert connection.is_busy(spare_new=False)
            connection.data_received(b"cd")
            assert connection._head_timer is None, "it would be cut off in mid-answer"
            async with asyncio.timeout(10):
                answer = await loop.sock_recv(theirs, 4096)
            assert answer.endswith(b"abcd"), number
        await door.shutdown(1.0)


def test_a_kernel_that_can_t_tell_is_believed() -> None:
    class Old:
        def getsockopt(self, *_: object) -> int:
            raise OSError(errno.ENOPROTOOPT, "")

    class Gone:
        def getsockopt(self, *_: object) -> int:
            raise OSError(errno.ESRCH, "")

    assert _peer_lives(_Transport(Old()))  # type: ignore[arg-type]
    assert not _peer_lives(_Transport(Gone()))  # type: ignore[arg-type]
