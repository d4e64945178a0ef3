"""Exact token counts of text for the models whose tokenizer is known, without a network.

The vocabulary is shipped, and taken only where its hash is right. The tokenizer is not trusted
with a caller's text: it panics on about a million blanks with an exception that is no Exception,
so whatever it raises means "not known", and the caller keeps its bound in bytes.

Loading takes 0.3 s and 80 MB, a count 50 ms a megabyte: call from a thread.
"""

from __future__ import annotations

import base64
import hashlib
import lzma
import threading
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tiktoken import Encoding

VOCABULARY = "o200k_base.tiktoken.xz"
VOCABULARY_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
VOCABULARY_BYTES = 3_613_922

#: longer text is not counted: its bytes are bound enough
LONGEST_TEXT = 2_000_000
#: a request of more bytes is not even read for its text
LONGEST_BODY = 2 * LONGEST_TEXT
#: a run of blanks costs the tokenizer's regex its stack; far below where it panics
LONGEST_BLANK_RUN = 100_000

#: how words are cut before they are merged (o200k_base, as OpenAI publishes it)
_WORDS = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)

#: models known to count with o200k, by the beginning of their names; gpt-6 and later are not
#: known to
_O200K = ("gpt-4o", "chatgpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "o1", "o3", "o4-mini")

_loading = threading.Lock()


def tokenizer_of(model: str) -> str | None:
    """The name of the tokenizer that a model (of OpenAI) is known to use; None: not known."""
    name = model.lower().removeprefix("ft:")
    return "o200k_base" if any(_is_of(name, family) for family in _O200K) else None


def count(text: str) -> int | None:
    """How many o200k tokens `text` is, special tokens' names counted as ordinary text; None
    where that is not known: text over 2 MB, a damaged vocabulary, whatever the tokenizer raises.
    """
    if len(text) > LONGEST_TEXT or _blank_run(text):
        return None
    try:
        with _loading:
            encoding = _encoding()
        return len(encoding.encode_ordinary(text))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        # pyo3's PanicException is a BaseException; None is the answer to all of them
        return None


def _is_of(name: str, family: str) -> bool:
    """True for the family's name and what follows it after a separator: o1-mini, not o11."""
    rest = name.removeprefix(family)
    return name.startswith(family) and (not rest or rest[0] in "-.:")


def _blank_run(text: str) -> bool:
    if len(text) < LONGEST_BLANK_RUN:
        return False
    # every run of LONGEST_BLANK_RUN blanks covers one whole block of half its length
    block = LONGEST_BLANK_RUN // 2
    return any(
        text[start : start + block].isspace() for start in range(0, len(text) - block + 1, block)
    )


@lru_cache(maxsize=1)
def _encoding() -> Encoding:
    from tiktoken import Encoding

    return Encoding(
        name="o200k_base",
        pat_str=_WORDS,
        mergeable_ranks=_ranks(_vocabulary()),
        special_tokens={"<|endoftext|>": 199_999, "<|endofprompt|>": 200_018},
    )


def _vocabulary() -> bytes:
    """The vocabulary's own text. Raises ValueError where it is not the one that was published."""
    packed = resources.files("agentwatch").joinpath("data", VOCABULARY).read_bytes()
    text = lzma.LZMADecompressor().decompress(packed, VOCABULARY_BYTES)
    if hashlib.sha256(text).hexdigest() != VOCABULARY_SHA256:
        raise ValueError(f"{VOCABULARY} is damaged")
    return text


def _ranks(vocabulary: bytes) -> dict[bytes, int]:
    lines = (line.split() for line in vocabulary.splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in lines}
