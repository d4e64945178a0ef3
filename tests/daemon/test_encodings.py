"""Encoded bodies, fed in any pieces: what comes out is what went in, or no more than the limit."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.daemon.encodings import (
    KNOWN,
    GrowsTooLong,
    Undecodable,
    decode_whole,
    decoder,
)

PACK: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
    "br": brotli.compress,
}


def test_every_encoding_that_is_taken_is_tested_here() -> None:
    assert set(PACK) - {"br"} == set(KNOWN)


@given(st.sampled_from(sorted(PACK)), st.binary(max_size=5_000), st.lists(st.integers(1, 400)))
def test_a_body_cut_anywhere_is_read_whole(name: str, body: bytes, cuts: list[int]) -> None:
    packed, out = PACK[name](body), b""
    using = decoder(name.upper())
    assert using is not None
    for cut in [*cuts, len(packed)]:
        out += using.feed(packed[:cut])
        packed = packed[cut:]
    assert out == body
    assert using.done
    assert decode_whole(name, PACK[name](body), 5_000) == body


@pytest.mark.parametrize("name", ["gzip", "deflate", "zstd", "br"])
def test_a_bomb_ends_at_the_limit(name: str) -> None:
    with pytest.raises(GrowsTooLong):
        decode_whole(name, PACK[name](b" " * 10_000_000), 1_000_000)
    assert len(decode_whole(name, PACK[name](b" " * 1_000_000), 1_000_000)) == 1_000_000


@pytest.mark.parametrize("name", ["gzip", "deflate", "zstd", "br"])
@pytest.mark.parametrize("harm", [lambda b: b[:-3], lambda b: b + b"x", lambda b: b"x" + b])
def test_a_body_that_is_not_what_it_says_is_not_guessed_at(
    name: str, harm: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(Undecodable) as error:
        decode_whole(name, harm(PACK[name](b"{}" * 100)), 1_000)
    assert not isinstance(error.value, GrowsTooLong)


def test_a_window_that_would_take_the_memory_is_refused() -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    packed = compressor.compress(b"ab" * 10) + compressor.flush()
    with pytest.raises(Undecodable):
        decode_whole("zstd", packed, 1_000)


def test_an_unknown_encoding_is_known_to_be_so() -> None:
    assert decoder("compress") is None
    with pytest.raises(Undecodable):
        decode_whole("compress", b"", 1)


def test_deflate_without_its_header_is_read_too() -> None:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bare = packer.compress(b"{}" * 100) + packer.flush()
    assert decode_whole("deflate", bare, 1_000) == b"{}" * 100


def test_what_follows_an_end_is_not_kept() -> None:
    using = decoder("gzip")
    assert using is not None
    assert using.feed(gzip.compress(b"x")) == b"x" and using.done
    tracemalloc.start()
    for _ in range(50):
        assert using.feed(b"x" * 100_000) == b""
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 500_000 and not using.done
