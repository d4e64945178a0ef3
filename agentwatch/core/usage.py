"""Token counts of one call, as a provider reports them, in one form for all providers."""

from __future__ import annotations

from msgspec import Struct


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one call used. Counts are tokens.

    `input_tokens` is ALL input (fresh, cached, written to the cache, audio, media); the other
    `input_*` and `cache*` counts are parts of it. `output_tokens` is all billed output
    (reasoning, audio and media included); `reasoning_tokens` and `output_*_tokens` are parts of it.
    Media are images and video.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_long_tokens: int = 0
    input_audio_tokens: int = 0
    input_media_tokens: int = 0
    cached_audio_tokens: int = 0
    cached_media_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    output_audio_tokens: int = 0
    output_media_tokens: int = 0
    #: the report tells text from media, so that a media count of 0 means that there were none;
    #: otherwise text is priced as media are where these are dearer
    by_kind: bool = False
    #: what the provider itself says the call cost, in nano-USD; it is then the charge
    stated_nanos: int | None = None
    #: what is billed by the piece (calls of hosted tools, seconds, images), by the price book's
    #: name of the fee: {"web_search": 3}
    pieces: dict[str, int] = {}
    #: what tokens cost more in this call than the price list says (a region), in thousandths
    uplift_thousandths: int = 1000
    #: what other models used for this call, beside the counts above
    shares: tuple[Share, ...] = ()


class Share(Struct, frozen=True, kw_only=True):
    """The part of a call that another model is billed for."""

    model: str
    usage: Usage
