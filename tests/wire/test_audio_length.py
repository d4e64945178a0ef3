"""The bound of a sound's length is never less than what it lasts."""

from __future__ import annotations

import io
import struct
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.wire.audio_length import longest_ms


def wav(seconds: float, clock: int = 16_000, channels: int = 1, width: int = 2) -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(width)
        writer.setframerate(clock)
        writer.writeframes(b"\0" * (round(seconds * clock) * channels * width))
    return made.getvalue()


@given(
    st.floats(0.01, 4),
    st.sampled_from([8_000, 16_000, 44_100, 48_000]),
    st.integers(1, 2),
    st.integers(1, 3),
)
def test_a_wav_lasts_as_long_as_its_header_says(
    seconds: float, clock: int, channels: int, width: int
) -> None:
    ms = longest_ms(wav(seconds, clock, channels, width))
    assert seconds * 1_000 <= ms + 1 <= (seconds + 2) * 1_000


def test_a_wav_that_calls_itself_fast_is_taken_for_its_slowest_reading() -> None:
    sound = bytearray(wav(10, 8_000, 1, 1))
    sound[28:32] = struct.pack("<I", 1_000_000)  # bytes a second
    assert longest_ms(bytes(sound)) >= 10_000


@pytest.mark.parametrize(
    ("start", "rate"),
    [
        (b"\xff\xfb\x90\x00", 4_000),  # MPEG 1: 32 kbit/s
        (b"\xff\xf3\x40\x00", 1_000),  # MPEG 2: 8
        (b"ID3\x04", 1_000),
    ],
)
def test_an_mp3_lasts_as_long_as_its_lowest_rate_allows(start: bytes, rate: int) -> None:
    assert longest_ms(start + b"\0" * (rate * 60 - len(start))) == 60_000


@pytest.mark.parametrize(
    "start",
    [
        b"fLaC" + b"\0" * 14 + (16_000 << 44 | 15 << 36 | 16_000).to_bytes(8, "big"),
        b"OggS\0\2" + b"\0" * 22 + b"OpusHead",
        b"\x1aE\xdf\xa3",
        b"\0\0\0\x20ftypM4A ",
        b"\xff\xf1\x50\x80",  # AAC
        b"\xff\xfb\x00\x00",  # MP3 at a rate of its own
        b"RIFF....AVI ",
        b"",
    ],
)
def test_a_header_says_how_long_packed_silence_is(start: bytes) -> None:
    """20 MB of FLAC whose header told of one second were held for one second."""
    assert longest_ms(start + b"\0" * 5_000) is None


@given(st.binary(max_size=2_000))
def test_whatever_comes_has_a_length_or_none(sound: bytes) -> None:
    for start in (b"", b"RIFF0000WAVEfmt ", b"fLaC", b"OggS", b"\xff\xfb", b"ID3"):
        longest = longest_ms(start + sound)
        assert longest is None or longest >= 1_000
