"""Risks in text: what looks like a secret or like somebody's personal data, by tag and place.

A prompt is mostly prose and code, so a detector looks for a literal that its kind always has (`@`,
`eyJ`, `AKIA`) or for a run of digits, and reads only around that. Long runs of base64 (images,
files) are blanked out first: they are most of a large prompt, and by chance hold anything.

A finding is a suspicion. What a detector can't tell from its near-misses it leaves out: an alarm
that is always on is none. docs/telemetry.md has the figures.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from agentwatch.core.risk_personal import PERSONAL
from agentwatch.core.risk_secrets import SECRETS
from agentwatch.core.risk_text import Find, Span, Text

#: characters of one run of base64 from which on it is no text
BASE64_RUN = 512
_BLOCK = BASE64_RUN // 2
_BLOCK_OF_BASE64 = re.compile(rf"[A-Za-z0-9+/]{{{_BLOCK}}}")
_NO_BASE64 = re.compile(r"[^A-Za-z0-9+/=]")

#: every detector by its tag, in the order in which tags are told
DETECTORS: dict[str, Find] = {
    "PII_EMAIL": PERSONAL["PII_EMAIL"],
    "PII_SSN": PERSONAL["PII_SSN"],
    "FINANCIAL_CREDIT_CARD": PERSONAL["FINANCIAL_CREDIT_CARD"],
    "SECRET_AWS_ACCESS_KEY": SECRETS["SECRET_AWS_ACCESS_KEY"],
    "SECRET_STRIPE": SECRETS["SECRET_STRIPE"],
    "SECRET_GITHUB": SECRETS["SECRET_GITHUB"],
    "SECRET_JWT": SECRETS["SECRET_JWT"],
    **PERSONAL,
    **SECRETS,
}
TAGS: tuple[str, ...] = tuple(DETECTORS)
ASSIGNMENT = "SECRET_ASSIGNMENT"


class Finding(NamedTuple):
    """One suspicion: characters `start` to `end` of the text look like a `tag`."""

    tag: str
    start: int
    end: int


def scan(text: str, tags: Collection[str] = TAGS) -> list[Finding]:
    """All findings of these tags, in the order of the tags and, within one, of the text."""
    shown = Text(blanked(text))
    found = [Finding(tag, *span) for tag in tags for span in DETECTORS[tag](shown)]
    return _without_doubles(found) if ASSIGNMENT in tags else found


def tags_in(text: str, tags: Collection[str] = TAGS) -> tuple[str, ...]:
    """The tags that have a finding in the text, in their order."""
    return tuple(dict.fromkeys(finding.tag for finding in scan(text, tags)))


def _without_doubles(found: list[Finding]) -> list[Finding]:
    """A value that is known for what it is need not be suspected for its name as well."""
    known = [each for each in found if each.tag != ASSIGNMENT]
    return [
        each
        for each in found
        if each.tag != ASSIGNMENT
        or not any(other.start < each.end and each.start < other.end for other in known)
    ]


def redacted(text: str, findings: Iterable[Finding]) -> str:
    """The text with each finding replaced by its tag in brackets. Where findings overlap, all
    that they cover goes, under the tag of the one that begins first."""
    parts, at = [], 0
    for tag, start, end in sorted(findings, key=lambda each: (each.start, -each.end)):
        if start >= at:
            parts += [text[at:start], f"[{tag}]"]
        at = max(at, end)
    return "".join((*parts, text[at:]))


def base64_findings(text: str) -> list[Finding]:
    """Long runs of base64: no risk that is known, and nothing that was looked at."""
    return [Finding("BASE64", *span) for span in _base64_runs(text)]


def blanked(text: str) -> str:
    """The text with each long run of base64 replaced by as many blanks.

    A run of 512 characters covers one whole block of 256 at a multiple of 256, wherever it
    begins: so one character in most blocks is all that is looked at.
    """
    parts, at = [], 0
    for start, end in _base64_runs(text):
        parts += [text[at:start], " " * (end - start)]
        at = end
    return "".join((*parts, text[at:])) if parts else text


def _base64_runs(text: str) -> Iterator[Span]:
    at, block = 0, 0
    while (block := max(block, -(-at // _BLOCK) * _BLOCK)) + _BLOCK <= len(text):
        if _BLOCK_OF_BASE64.match(text, block) is None:
            block += _BLOCK
            continue
        start = _run_start(text, at, block)
        after = _NO_BASE64.search(text, block)
        at = after.start() if after else len(text)
        if at - start >= BASE64_RUN:
            yield start, at
        block += _BLOCK


def _run_start(text: str, least: int, block: int) -> int:
    """Where the run that covers `block` begins: less than a block before it."""
    before = text[max(least, block - _BLOCK) : block]
    found = [match.end() for match in _NO_BASE64.finditer(before)]
    return block - len(before) + (found[-1] if found else 0)
