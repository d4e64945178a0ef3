"""The doors' own checks, taken one by one; the sockets' view of them is in tests/e2e."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from aiohttp import HttpVersion, HttpVersion10, HttpVersion11
from aiohttp.test_utils import make_mocked_request
from aiohttp.web import BaseRequest

from agentwatch.daemon.doors import _peer_lives, check_origin
from agentwatch.errors import Refusal

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


def test_a_kernel_that_can_t_tell_is_believed() -> None:
    class Old:
        def getsockopt(self, *_: object) -> int:
            raise OSError(errno.ENOPROTOOPT, "")

    class Gone:
        def getsockopt(self, *_: object) -> int:
            raise OSError(errno.ESRCH, "")

    assert _peer_lives(_Transport(Old()))  # type: ignore[arg-type]
    assert not _peer_lives(_Transport(Gone()))  # type: ignore[arg-type]
