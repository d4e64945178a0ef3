"""How the stand-in counts input, and what its tokens look like."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentwatch.standin import tokens


@given(st.text(), st.integers(1, 8))
def test_a_text_has_no_more_tokens_than_bytes(text: str, density: int) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    assert tokens.weigh(text, density) == -(-size // density) <= size


@given(st.text())
def test_pieces_of_a_text_are_the_text(text: str) -> None:
    assert "".join(tokens.pieces_of(text)) == text


def test_parts_of_a_message_are_weighed_by_their_kind() -> None:
    parts = [
        {"type": "text", "text": "four"},
        {"type": "image_url", "image_url": {"url": "data:…", "detail": "low"}},
        {"type": "input_image", "image_url": "https://…"},
    ]
    expected = 1 + tokens.IMAGE_LOW_TOKENS + tokens.IMAGE_TOKENS
    assert tokens.weigh_content(parts, 4) == expected
    assert tokens.weigh_content(None, 4) == 0


def test_prose_is_its_tokens_put_together() -> None:
    one_by_one = "".join(tokens.piece(at, size=None, utf8=False) for at in range(40))
    assert tokens.prose(40) == one_by_one


def test_a_token_can_have_any_size_and_leave_ascii() -> None:
    assert len(tokens.piece(3, size=9, utf8=False)) == 9
    assert not "".join(tokens.piece(at, size=None, utf8=True) for at in range(6)).isascii()
