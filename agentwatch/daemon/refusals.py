"""A refusal as its client takes it: in the provider's shape, with a status that ends its asking."""

from __future__ import annotations

from collections.abc import Mapping

from agentwatch.wire.dialect import Dialect

#: LiteLLM (aider is built on it) takes a 402 or 403 of Anthropic or Gemini for a broken line, and
#: its callers ask again for a minute; a 400 ends it at once
_HAMMERS = "litellm/"
_HAMMERED = frozenset({402, 403})


def refusal_for(
    headers: Mapping[str, str],
    dialect: Dialect,
    reason: str,
    message: str,
    status: int | None = None,
) -> tuple[int, bytes]:
    """Status and body of a refusal for the client that sent these headers."""
    told, body = dialect.refusal(reason, message, status)
    if told in _HAMMERED and headers.get("User-Agent", "").lower().startswith(_HAMMERS):
        return dialect.refusal(reason, message, 400)
    return told, body
