"""`analyze_text` with aw-sdk's tags in its order, and the constants that it goes by."""

from __future__ import annotations

from agentwatch.core.risk import tags_in

TAG_ORDER = (
    "PII_EMAIL",
    "PII_SSN",
    "FINANCIAL_CREDIT_CARD",
    "SECRET_AWS_ACCESS_KEY",
    "SECRET_STRIPE",
    "SECRET_GITHUB",
    "SECRET_JWT",
)

#: longer texts are looked at from both ends, half of this each
MAX_SCAN_CHARS = 256 * 1024
EDGE_SCAN_CHARS = MAX_SCAN_CHARS // 2
#: of aw-sdk's scanner and log queue, for programs that name them; nothing here is bounded by them
MAX_STRUCTURED_CANDIDATES = 256
MAX_PENDING_LOGS = 1024
#: bits a character that a key, and a token's signature, have at least
HIGH_ENTROPY_MIN_SCORE = 3.25
JWT_SIGNATURE_MIN_ENTROPY = 3.5


def analyze_text(text: str) -> list[str]:
    """The kinds of secrets and personal data that the text seems to hold, in TAG_ORDER."""
    if len(text) > MAX_SCAN_CHARS:
        text = f"{text[:EDGE_SCAN_CHARS]}\n{text[-EDGE_SCAN_CHARS:]}"
    found = tags_in(text, TAG_ORDER) if text else ()
    return [tag for tag in TAG_ORDER if tag in found]
