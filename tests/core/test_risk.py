"""The scanner: what it must find and leave alone, that places fit, and that no text stalls it."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwatch.core import risk

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from risk_corpora import Sample, written

#: what aw-sdk's users know, in the order in which it tells them
FIRST_SEVEN = (
    *("PII_EMAIL", "PII_SSN", "FINANCIAL_CREDIT_CARD", "SECRET_AWS_ACCESS_KEY"),
    *("SECRET_STRIPE", "SECRET_GITHUB", "SECRET_JWT"),
)
SAMPLES = tuple(written())


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample.text[:30] for sample in SAMPLES])
def test_each_text_of_the_corpus_has_its_tag_and_no_other(sample: Sample) -> None:
    assert risk.tags_in(sample.text) == ((sample.tag,) if sample.tag else ())


def test_the_corpus_has_every_tag() -> None:
    assert {sample.tag for sample in SAMPLES} == {*risk.TAGS, None}


def test_the_old_client_s_tags_come_first_and_in_its_order() -> None:
    assert risk.TAGS[:7] == FIRST_SEVEN
    text = "\n".join(sample.text for sample in reversed(SAMPLES) if sample.tag in FIRST_SEVEN)
    assert risk.tags_in(text)[:7] == FIRST_SEVEN


@given(st.text(max_size=40), st.sampled_from(SAMPLES), st.text(max_size=40))
def test_places_fit_whatever_stands_around(before: str, sample: Sample, after: str) -> None:
    text = f"{before} \n{sample.text}\n {after}"
    for finding in risk.scan(text):
        assert 0 <= finding.start < finding.end <= len(text)
    tags = {finding.tag for finding in risk.scan(text)}
    assert sample.tag is None or sample.tag in tags


@given(st.lists(st.sampled_from(SAMPLES), max_size=4), st.text(max_size=30))
def test_what_was_redacted_is_not_found_again(samples: list[Sample], between: str) -> None:
    text = f"\n{between}\n".join(sample.text for sample in samples)
    findings = risk.scan(text)
    clean = risk.redacted(text, findings)
    assert all(text[each.start : each.end] not in clean for each in findings)


def test_overlapping_findings_go_together() -> None:
    found = [risk.Finding("B", 4, 9), risk.Finding("A", 2, 6)]
    assert risk.redacted("0123456789", found) == "01[A]9"
    assert risk.redacted("0123456789", []) == "0123456789"


@given(st.integers(0, 600), st.integers(500, 1200), st.integers(0, 600), st.integers(0, 2**32))
def test_a_run_of_base64_is_blanked_wherever_it_begins(
    before: int, size: int, after: int, seed: int
) -> None:
    letters = "ABCDEFGHabcdefgh0123456789+/"
    run = "".join(random.Random(seed).choices(letters, k=size))
    text = "- " * (before // 2) + "\n" + run + "\n" + " -" * (after // 2)
    shown = risk.blanked(text)
    assert len(shown) == len(text)
    # below 512 it is text; what covers a whole block of 256 and is that long is none
    assert (run in shown) == (size < risk.BASE64_RUN)
    assert shown.replace(" ", "") == text.replace(" ", "").replace("" if run in shown else run, "")


def test_a_secret_beside_a_picture_is_found() -> None:
    picture = "iVBORw0KGgo" * 5000
    text = f"data:image/png;base64,{picture}== mail alice@example.com {picture}"
    (found,) = risk.scan(text)
    assert text[found.start : found.end] == "alice@example.com"


@pytest.mark.parametrize(
    "piece",
    ["1 ", "a@", "@a.", "eyJ.", "eyJaaaaaaaa.", "password=a ", "-----BEGIN PRIVATE KEY-----", "sk-",
     "AB12 ", "2001:", "+1 ", "1.", "://a:", "token" , "(0) ", "DE89 ", "\u0130", "4111 "],
)  # fmt: skip
def test_no_text_takes_more_than_its_share_of_time(piece: str) -> None:
    """Twice the text takes about twice the time: no pattern goes back over all it has read."""

    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        begun = time.process_time()
        risk.scan(text)
        return time.process_time() - begun

    small = min(seconds(25_000) for _ in range(3))
    large = min(seconds(100_000) for _ in range(3))
    assert large < 4 * 2.5 * small + 0.02
