"""How long a piece of audio can be at most, by its bytes: nobody is asked to decode it.

What it is is told by its first bytes, not by its name. A WAV is as long as its header makes of its
bytes, an MP3 at most as long as at the format's lowest rate. Nothing bounds the others: silence
packs to next to nothing in FLAC, Opus and AAC, and what their headers say need not be so.
"""

from __future__ import annotations

import struct

#: a WAV slower than this is no sound
_SLOWEST_WAV = 1_000
#: bytes a second at the lowest rate of MPEG 1 (32 kbit/s), of 2 and 2.5 (8 kbit/s)
_MP3_RATES = {3: 4_000, 2: 1_000, 0: 1_000}
_MP3_LOWEST = 1_000


def longest_ms(audio: bytes) -> int | None:
    """The most milliseconds that this audio lasts, in whole seconds rounded up; None: nothing
    bounds it."""
    seconds = _wav(audio) or _mp3(audio)
    return None if seconds is None else max(1, seconds) * 1_000


def _mp3(audio: bytes) -> int | None:
    """By the lowest rate; behind a tag that of the slowest of its kind."""
    if audio[:3] == b"ID3":
        return -(-len(audio) // _MP3_LOWEST)
    synchronised = len(audio) > 2 and audio[0] == 0xFF and audio[1] & 0xE0 == 0xE0
    # no layer is AAC's way to begin, no rate is a rate of its own
    if not synchronised or not audio[1] & 0x06 or not audio[2] & 0xF0:
        return None
    return -(-len(audio) // _MP3_RATES.get(audio[1] >> 3 & 3, _MP3_LOWEST))


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
