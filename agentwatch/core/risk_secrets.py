"""Detectors of secrets: keys by the prefix that their issuer gave them, and assignments to a name
that says "secret" of a value that looks drawn by lot.

Each is a function of a text that yields spans. A key of which only the prefix and a placeholder
(`sk-ant-xxxx…`, `<your key>`) are there is none.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator

from agentwatch.core.risk_text import Find, Span, Text

#: "your-key-here"; four letters alone stand by chance in one long key of some thousands
_YOURS = re.compile(r"your[-_ ]", re.IGNORECASE)
_FILLERS = frozenset("xX*.0-_…")
#: bits a character from which on a value looks drawn by lot, not written
_DRAWN_BITS = 3.25
_SIGNATURE_BITS = 3.5


def entropy(text: str) -> float:
    """Shannon's entropy of the text's characters, in bits a character."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values()) if size else 0.0


def occurrences(text: str, literal: str) -> Iterator[int]:
    """Where a literal stands."""
    at = text.find(literal)
    while at >= 0:
        yield at
        at = text.find(literal, at + 1)


def _by_prefix(is_one: Callable[[str], bool], *patterns: str) -> Find:
    """A detector of what matches one of the patterns, and does not go on with its first word.

    Each pattern begins with a literal: the search then runs at the speed of memchr, which it does
    not where a choice or a lookbehind stands in front.
    """
    matching = [re.compile(pattern, re.ASCII) for pattern in patterns]

    def find(of: Text) -> Iterator[Span]:
        for pattern in matching:
            for found in pattern.finditer(of.text):
                before = of.text[max(0, found.start() - 1) : found.start()]
                if not (before.isalnum() or before == "_") and is_one(found[0]):
                    yield found.span()

    return find


def _filled_in(key: str) -> bool:
    """Whether a key is more than its prefix and a filler."""
    tail = key[-16:]
    return not set(tail) <= _FILLERS and not _YOURS.search(key)


def _drawn(key: str) -> bool:
    return entropy(key) >= _DRAWN_BITS


def _jwt(token: str) -> bool:
    header, _, rest = token.partition(".")
    try:
        said = base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))
    except (binascii.Error, ValueError):
        return False
    return b'"alg"' in said and entropy(rest.rpartition(".")[2]) >= _SIGNATURE_BITS


_PEM = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[\s\"',+]|\\[nr]|[A-Za-z-]{3,20}: [^\n]{0,80})*"
    r"[A-Za-z0-9+/=]{40}"
)
_GAP = r"(?:[\s\"',]|\\[nr])"
_PEM_REST = re.compile(
    rf"[A-Za-z0-9+/=]*+(?:{_GAP}{{1,8}}+[A-Za-z0-9+/=]{{16,}}+)*+"
    rf"(?:{_GAP}{{0,8}}+[A-Za-z0-9+/=]{{0,64}}{_GAP}{{0,8}}+-----END [A-Z0-9 ]{{5,60}}-----)?"
)


def _pem(of: Text) -> Iterator[Span]:
    for at in occurrences(of.text, "-----BEGIN "):
        found = _PEM.match(of.text, at)
        rest = found and _PEM_REST.match(of.text, found.end())
        if rest:
            yield at, rest.end()


#: what a name that holds a secret has in it, in lower case
_NAMES = ("passw", "pwd", "secret", "token", "credential", "_key", "apikey", "api-key", "accesskey")
_ASSIGNED = re.compile(
    r"[A-Za-z0-9_-]{0,24}+[\"']?\s{0,2}(?::=|=>|[:=])\s{0,2}(?:Bearer |Basic )?"
    r"(?P<quote>[\"'`]?)(?P<value>[^\s\"'`,;<>(){}\[\]]{8,512})(?P=quote)",
    re.ASCII,
)
#: a path, a call, a variable, a name in words: what programs write where a secret would stand
_WORDS = re.compile(
    r"[A-Za-z]+(?:[._/-][A-Za-z]+)*[0-9]{0,2}|[./~$%@&#].*|.*(?:\.\.\.|\*\*\*|://).*"
)
_PARTS = (re.compile("[a-z]"), re.compile("[A-Z]"), re.compile("[0-9]"), re.compile("[^A-Za-z0-9]"))
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def _assignment(of: Text) -> Iterator[Span]:
    seen = -1
    for at in sorted(at for name in _NAMES for at in occurrences(of.lowered, name)):
        found = _ASSIGNED.match(of.text, at) if at > seen else None
        if found and _looks_drawn(found["value"], of.lowered.startswith("passw", at)):
            seen = found.end()
            yield found.span("value")


def _looks_drawn(value: str, is_password: bool) -> bool:
    if _WORDS.fullmatch(value) or not _filled_in(value):
        return False
    kinds = sum(part.search(value) is not None for part in _PARTS)
    if is_password:
        return kinds >= 3
    if len(value) < 16 or _UUID.fullmatch(value):
        return False
    return bool(_PARTS[2].search(value)) and kinds >= 2 and entropy(value) >= _DRAWN_BITS


_IN_URL = re.compile(
    r"://[^\s/:@\"'<>]{0,64}:(?P<value>[^\s/@\"'<>]{4,128})@[A-Za-z0-9\[]", re.ASCII
)


def _password_in_url(of: Text) -> Iterator[Span]:
    for at in occurrences(of.text, "://"):
        found = _IN_URL.match(of.text, at)
        if found and not _WORDS.fullmatch(found["value"]) and _filled_in(found["value"]):
            yield found.span("value")


def _assigned(of: Text) -> Iterator[Span]:
    yield from _assignment(of)
    yield from _password_in_url(of)


#: detectors by tag
SECRETS: dict[str, Find] = {
    "SECRET_AWS_ACCESS_KEY": _by_prefix(
        _drawn, r"A(?:KI|SI|ID|RO|GP|NP)A[A-Z0-9]{16}(?![A-Za-z0-9_])"
    ),
    "SECRET_STRIPE": _by_prefix(
        _filled_in,
        r"sk_(?:live|test)_[A-Za-z0-9]{16,247}",
        r"rk_(?:live|test)_[A-Za-z0-9]{16,247}",
        r"whsec_[A-Za-z0-9+/=]{24,128}",
    ),
    "SECRET_GITHUB": _by_prefix(
        _filled_in, r"gh[pousr]_[A-Za-z0-9_]{36,255}", r"github_pat_[A-Za-z0-9_]{22,255}"
    ),
    "SECRET_JWT": _by_prefix(
        _jwt,
        r"ey[A-Za-z0-9_-]{8,2048}\.[A-Za-z0-9_-]{10,8192}\.[A-Za-z0-9_-]{16,1024}",
        r"ewo[A-Za-z0-9_-]{8,2048}\.[A-Za-z0-9_-]{10,8192}\.[A-Za-z0-9_-]{16,1024}",
    ),
    "SECRET_OPENAI": _by_prefix(
        _filled_in,
        r"sk-(?:(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{32,256}|[A-Za-z0-9]{32,64})"
        r"(?![A-Za-z0-9_-])",
    ),
    "SECRET_ANTHROPIC": _by_prefix(
        _filled_in, r"sk-ant-(?:[a-z]{2,8}[0-9]{2}-)?[A-Za-z0-9_-]{24,256}"
    ),
    "SECRET_GOOGLE": _by_prefix(
        _filled_in,
        r"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])",
        r"AQ\.[A-Za-z0-9_-]{40,256}",
        r"ya29\.[A-Za-z0-9._-]{30,2048}",
        r"GOCSPX-[A-Za-z0-9_-]{28}(?![A-Za-z0-9_-])",
    ),
    "SECRET_GROQ": _by_prefix(_filled_in, r"gsk_[A-Za-z0-9]{40,128}"),
    "SECRET_XAI": _by_prefix(_filled_in, r"xai-[A-Za-z0-9]{40,128}"),
    "SECRET_SLACK": _by_prefix(
        _filled_in,
        r"xox[abceprs](?:\.xox[bp])?-[A-Za-z0-9-]{16,255}",
        r"xapp-[0-9]-[A-Za-z0-9-]{20,255}",
        r"https://hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{16,}",
    ),
    "SECRET_AGENTWATCH": _by_prefix(_drawn, r"aw[sk]_[A-Za-z0-9_-]{40,100}(?![A-Za-z0-9_-])"),
    "SECRET_PRIVATE_KEY": _pem,
    "SECRET_ASSIGNMENT": _assigned,
}
