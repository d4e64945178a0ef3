"""How long a piece of audio can be at most, by its bytes: nobody is asked to decode it.

What it is is told by its first bytes, not by its name. Where a decoder takes the length from the
header it is taken from there (WAV, FLAC, Ogg); else it is the length that the format's lowest rate
would give. A FLAC or Ogg file may lie about itself: what it then cost is charged all the same.
"""

from __future__ import annotations

import struct

#: bytes a second at the lowest rate that is met with: MP3 and AAC at 8 kbit/s, Opus at 6
LOWEST_RATE = 1_000
_OPUS_RATE = 750
#: Opus counts in 48 kHz whatever it was made from; no Vorbis has less than 8 kHz
_OPUS_CLOCK = 48_000
_VORBIS_CLOCK = 8_000
#: a WAV slower than this is no sound
_SLOWEST_WAV = 1_000
_MP3_RATES = {3: 4_000, 2: 1_000, 0: 1_000}


def longest_ms(audio: bytes) -> int:
    """The most milliseconds that this audio lasts, in whole seconds rounded up."""
    seconds = _wav(audio) or _flac(audio) or _ogg(audio) or -(-len(audio) // _rate(audio))
    return max(1, seconds) * 1_000


def _rate(audio: bytes) -> int:
    """Bytes a second that a second of this has at least."""
    if audio[:4] == b"\x1aE\xdf\xa3":  # WebM
        return _OPUS_RATE
    if audio[:1] == b"\xff" and len(audio) > 1 and audio[1] & 0xE0 == 0xE0:
        return _MP3_RATES.get(audio[1] >> 3 & 3, LOWEST_RATE)
    return LOWEST_RATE


def _wav(audio: bytes) -> int | None:
    """By the bytes of a second as decoders work them out from the header."""
    if audio[:4] not in (b"RIFF", b"RF64") or audio[8:12] != b"WAVE":
        return None
    at = audio.find(b"fmt ", 12, 65_536)
    if at < 0 or len(audio) < at + 24:
        return None
    _, channels, clock, told, block, bits = struct.unpack_from("<HHIIHH", audio, at + 8)
    plain = clock * channels * bits // 8
    rates = [rate for rate in (plain, told, clock * block) if rate > 0]
    slowest = max(_SLOWEST_WAV, min(rates, default=_SLOWEST_WAV))
    return -(-len(audio) // slowest)


def _flac(audio: bytes) -> int | None:
    """By STREAMINFO, where it tells."""
    if audio[:4] != b"fLaC" or len(audio) < 26:
        return None
    packed = int.from_bytes(audio[18:26], "big")
    clock, samples = packed >> 44, packed & ((1 << 36) - 1)
    return -(-samples // clock) if clock and samples else None


def _ogg(audio: bytes) -> int | None:
    """By the position that the last page tells."""
    if audio[:4] != b"OggS":
        return None
    last = audio.rfind(b"OggS")
    if len(audio) < last + 14:
        return None
    position = int.from_bytes(audio[last + 6 : last + 14], "little", signed=True)
    clock = _OPUS_CLOCK if b"OpusHead" in audio[:256] else _VORBIS_CLOCK
    told = -(-position // clock) if position > 0 else 0
    return max(told, -(-len(audio) // 1_000_000)) if told else None
