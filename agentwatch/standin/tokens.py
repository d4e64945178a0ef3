"""Tokens as the stand-in counts and makes them: its own rules, so that its bill is its own.

Input is counted in bytes: a token for every `density` bytes of a text (rounded up), and what chat
templates add. Output is one token for each piece that is sent.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

#: a message's frame and role, and the opening of the answer, as OpenAI's cookbook counts them
MESSAGE_TOKENS = 4
PRIMING_TOKENS = 3
#: what an offered set of tools adds beside its own schemas
TOOLS_TOKENS = 12
#: an image at high detail (one tile) and at low
IMAGE_TOKENS, IMAGE_LOW_TOKENS = 255, 85

_PROSE = (
    "I read the file and ran the tests once more . One of them fails , so the next step is to "
    "look at its output and try again ."
)
_WORDS = tuple(_PROSE.split())
_BEYOND_ASCII = ("né ", "日本", "€ ", "😀", "ß ", "тест ")


def weigh(text: str, density: int) -> int:
    """Tokens of a text of input."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-size // density)


def weigh_json(value: Any, density: int) -> int:
    """Tokens of a JSON value that is part of the prompt, such as a tool's schema."""
    return -(-len(msgspec.json.encode(value)) // density)


def weigh_part(part: Any, density: int) -> int:
    """Tokens of one part of a message's content."""
    if not isinstance(part, dict):
        return weigh(str(part), density)
    if "image" in str(part.get("type")):
        image = part.get("image_url")
        detail = image.get("detail") if isinstance(image, dict) else part.get("detail")
        return IMAGE_LOW_TOKENS if detail == "low" else IMAGE_TOKENS
    if part.get("type") == "input_audio":
        return 0  # by its length: openai_media.py
    text = part.get("text", part.get("refusal"))
    return weigh(text, density) if isinstance(text, str) else weigh_json(part, density)


def weigh_content(content: Any, density: int) -> int:
    """Tokens of a message's content: text, parts, or nothing."""
    if content is None:
        return 0
    if isinstance(content, str):
        return weigh(content, density)
    parts = content if isinstance(content, list) else [content]
    return sum(weigh_part(part, density) for part in parts)


def pieces_of(text: str) -> list[str]:
    """A given text cut into tokens of four characters."""
    return [text[at : at + 4] for at in range(0, len(text), 4)]


def piece(index: int, *, size: int | None, utf8: bool) -> str:
    """The text of the token at `index` of an answer that nobody wrote."""
    if utf8:
        return _BEYOND_ASCII[index % len(_BEYOND_ASCII)]
    if size is not None:
        return "x" * max(size - 1, 0) + (" " if size else "")
    return _WORDS[index % len(_WORDS)] + " "


@lru_cache(maxsize=256)
def prose(count: int) -> str:
    """The first `count` tokens of the usual answer in one piece."""
    return "".join(piece(index, size=None, utf8=False) for index in range(count))
