"""Content encodings of bodies: decoded piece by piece and bounded, so that no bomb goes off."""

from __future__ import annotations

import zlib
from typing import Protocol

#: what is taken of a client; of a provider Brotli is read, too, though never asked for
KNOWN = ("identity", "gzip", "x-gzip", "deflate", "zstd")
#: bytes that one piece may grow to
PIECE_LIMIT = 16 << 20


class Undecodable(Exception):
    """The bytes are not what the header says, or grow beyond the limit."""


class GrowsTooLong(Undecodable):
    """The decoded bytes are more than may be."""


class Decoder(Protocol):
    """Takes encoded bytes, gives out decoded ones."""

    def feed(self, data: bytes) -> bytes:
        """What these bytes decode to. Raises Undecodable."""
        ...

    @property
    def done(self) -> bool:
        """Whether the encoded body is whole."""
        ...


def decoder(encoding: str, limit: int = PIECE_LIMIT) -> Decoder | None:
    """A decoder for this Content-Encoding that gives out at most `limit` bytes a feed; None: the
    encoding is not known. Identity is known."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return _Identity()
    if name in ("gzip", "x-gzip"):
        return _Zlib(zlib.MAX_WBITS | 16, limit)
    if name == "deflate":
        return _Zlib(zlib.MAX_WBITS, limit)
    if name == "zstd":
        return _Zstd(limit)
    return _Brotli(limit) if name == "br" else None


def decode_whole(encoding: str, body: bytes, limit: int) -> bytes:
    """A whole body, decoded. Raises Undecodable, also where it would be longer than `limit`."""
    using = decoder(encoding, limit)
    if using is None:
        raise Undecodable(f"the encoding {encoding[:40]!r} is not known")
    decoded = using.feed(body)
    if not using.done:
        raise Undecodable("it is cut short, or goes on after its end")
    return decoded


class _Identity:
    done = True

    def feed(self, data: bytes) -> bytes:
        return data


class _Zlib:
    """`window_bits` as zlib has them. Some servers mean the bare stream by "deflate"."""

    def __init__(self, window_bits: int, limit: int) -> None:
        self._inner = zlib.decompressobj(window_bits)
        self._limit = limit
        self._may_be_bare = window_bits == zlib.MAX_WBITS
        self._tail = False

    @property
    def done(self) -> bool:
        return self._inner.eof and not self._tail and not self._inner.unused_data

    def feed(self, data: bytes) -> bytes:
        if self._inner.eof:  # zlib would keep all of it
            self._tail = self._tail or bool(data)
            return b""
        if self._may_be_bare and data:
            self._may_be_bare = False
            if data[0] & 15 != zlib.DEFLATED:
                self._inner = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            decoded = self._inner.decompress(data, self._limit)
        except zlib.error as error:
            raise Undecodable(str(error)) from error
        if self._inner.unconsumed_tail:
            raise GrowsTooLong(f"it grows beyond {self._limit} bytes")
        return decoded


class _Brotli:
    """Its output is bounded by the library, a buffer's length more or less."""

    def __init__(self, limit: int) -> None:
        import brotli

        self._error = brotli.error
        self._inner = brotli.Decompressor()
        self._limit = limit
        self._tail = False

    @property
    def done(self) -> bool:
        return bool(self._inner.is_finished()) and not self._tail

    def feed(self, data: bytes) -> bytes:
        if self._inner.is_finished():
            self._tail = self._tail or bool(data)
            return b""
        try:
            decoded: bytes = self._inner.process(data, output_buffer_limit=self._limit + 1)
        except self._error as error:
            raise Undecodable(str(error) or "it is no Brotli") from error
        if len(decoded) > self._limit or not self._inner.can_accept_more_data():
            raise GrowsTooLong(f"it grows beyond {self._limit} bytes")
        return decoded


class _Zstd:
    """Reads with a bounded window, and counts what comes out before it is joined."""

    _WINDOW = 8 << 20

    def __init__(self, limit: int) -> None:
        import zstandard

        self._error = zstandard.ZstdError
        self._inner = zstandard.ZstdDecompressor(max_window_size=self._WINDOW).decompressobj(
            write_size=65_536
        )
        self._limit = limit

    @property
    def done(self) -> bool:
        return bool(self._inner.eof) and not self._inner.unused_data

    def feed(self, data: bytes) -> bytes:
        pieces, size = [], 0
        try:
            # fed in slices: a slice can't grow to more than its blocks, each at most 128 KB
            for start in range(0, len(data), 1024):
                piece = self._inner.decompress(data[start : start + 1024])
                size += len(piece)
                if size > self._limit:
                    raise GrowsTooLong(f"it grows beyond {self._limit} bytes")
                pieces.append(piece)
        except self._error as error:
            raise Undecodable(str(error)) from error
        return b"".join(pieces)
