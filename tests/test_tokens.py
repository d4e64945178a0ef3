"""Exact token counts, offline."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentwatch import tokens


def test_known_sentences_count_as_openai_counts_them() -> None:
    # counted by OpenAI's own tiktoken with the published vocabulary
    assert tokens.count("") == 0
    assert tokens.count("hello world") == 2
    assert tokens.count("tiktoken is great!") == 6
    assert tokens.count("お誕生日おめでとう") == 8


def test_counting_asks_nothing_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    tokens._encoding.cache_clear()
    assert tokens.count("hello world") == 2


def test_a_special_tokens_name_is_ordinary_text_and_not_one_token() -> None:
    assert (tokens.count("<|endoftext|>") or 0) > 1


def test_a_million_blanks_are_not_known_and_end_nothing() -> None:
    assert tokens.count(" " * 1_000_000) is None
    assert tokens.count("a" + "\n" * 999_999) is None
    assert tokens.count("hello world") == 2


@pytest.mark.parametrize("before", [0, 1, 49_999, 50_000, 99_999])
def test_a_long_run_of_blanks_is_seen_wherever_it_begins(before: int) -> None:
    text = "x" * before + " " * tokens.LONGEST_BLANK_RUN + "x"
    assert tokens.count(text) is None


def test_text_over_two_megabytes_is_left_to_its_bytes() -> None:
    assert tokens.count("word " * 400_001) is None


def test_a_panic_that_is_no_exception_does_not_get_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Panic(BaseException):
        pass

    class Panicking:
        def encode_ordinary(self, _: str) -> list[int]:
            raise Panic

    monkeypatch.setattr(tokens, "_encoding", Panicking)
    assert tokens.count("hello") is None


def test_a_damaged_vocabulary_means_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "VOCABULARY_SHA256", "0" * 64)
    tokens._encoding.cache_clear()
    assert tokens.count("hello world") is None
    monkeypatch.undo()
    assert tokens.count("hello world") == 2


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400))
def test_a_text_has_no_more_tokens_than_bytes(text: str) -> None:
    counted = tokens.count(text)
    assert counted is None or counted <= len(text.encode("utf-8", "surrogatepass"))


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet=st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF), max_size=8))
def test_lone_surrogates_raise_nothing(text: str) -> None:
    tokens.count(text)


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4o",
        "gpt-4o-2024-08-06",
        "ft:gpt-4o-2024-08-06:me::1",
        "chatgpt-4o-latest",
        "gpt-4.1-mini",
        "o1",
        "o3-mini",
        "o4-mini",
        "gpt-5",
        "GPT-5.6",
        "gpt-5.6-sol",
    ],
)
def test_models_that_count_with_o200k(model: str) -> None:
    assert tokens.tokenizer_of(model) == "o200k_base"


@pytest.mark.parametrize(
    "model", ["gpt-4", "gpt-4-turbo", "gpt-3.5-turbo", "gpt-6-sol", "gpt-50", "o11", "claude-opus"]
)
def test_no_count_is_made_up_for_a_model_whose_tokenizer_is_not_known(model: str) -> None:
    assert tokens.tokenizer_of(model) is None
