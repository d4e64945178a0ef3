"""Token counts of one call, as a provider reports them, in one form for all providers."""

from __future__ import annotations

from msgspec import Struct


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one call used. Counts are tokens.

    `input_tokens` is ALL input (fresh, cached, written to the cache, audio); the other
    `input_*` and `cache_*` counts are parts of it. `output_tokens` is all billed output
    (reasoning and audio included); `reasoning_tokens` and `output_audio_tokens` are parts of it.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_long_tokens: int = 0
    input_audio_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    output_audio_tokens: int = 0
    #: what the provider itself says the call cost, in nano-USD; it is then the charge
    stated_nanos: int | None = None
    #: hosted tools, by the price book's name of the fee: {"web_search": 3}
    tool_calls: dict[str, int] = {}
