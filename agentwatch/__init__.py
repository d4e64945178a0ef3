"""AgentWatch: the spending limit that holds. The public SDK, imported lazily.

    from agentwatch import WatchedOpenAI

    client = WatchedOpenAI(agentwatch_session_budget_usd=2.00)

Nothing is loaded before it is asked for: a program that only wants WatchedOpenAI loads neither the
daemon nor the command line, nor another provider's SDK.
"""

from __future__ import annotations

# typing's own name for it takes longer to import than all of the rest
TYPE_CHECKING = False
if TYPE_CHECKING:
    from agentwatch.errors import (
        AgentBudgetCheckUnavailable,
        AgentBudgetExceeded,
        AgentSessionKilled,
        AgentWatchError,
    )
    from agentwatch.sdk.analysis import analyze_text
    from agentwatch.sdk.anthropic import AsyncWatchedAnthropic, WatchedAnthropic
    from agentwatch.sdk.gemini import WatchedGemini
    from agentwatch.sdk.groq import AsyncWatchedGroq, WatchedGroq
    from agentwatch.sdk.openai import AsyncWatchedOpenAI, WatchedOpenAI
    from agentwatch.sdk.session import Session, session
    from agentwatch.sdk.terms import INGEST_URL
    from agentwatch.sdk.wrapping import wrap
    from agentwatch.sdk.xai import AsyncWatchedXAI, WatchedXAI

__version__ = "0.1.0"

__all__ = [
    "INGEST_URL",
    "AgentBudgetCheckUnavailable",
    "AgentBudgetExceeded",
    "AgentSessionKilled",
    "AgentWatchError",
    "AsyncWatchedAnthropic",
    "AsyncWatchedGroq",
    "AsyncWatchedOpenAI",
    "AsyncWatchedXAI",
    "Session",
    "WatchedAnthropic",
    "WatchedGemini",
    "WatchedGroq",
    "WatchedOpenAI",
    "WatchedXAI",
    "__version__",
    "analyze_text",
    "session",
    "wrap",
]

#: where each public name is
_PLACES = {
    "AgentBudgetCheckUnavailable": "agentwatch.errors",
    "AgentBudgetExceeded": "agentwatch.errors",
    "AgentSessionKilled": "agentwatch.errors",
    "AgentWatchError": "agentwatch.errors",
    "AsyncWatchedAnthropic": "agentwatch.sdk.anthropic",
    "AsyncWatchedGroq": "agentwatch.sdk.groq",
    "AsyncWatchedOpenAI": "agentwatch.sdk.openai",
    "AsyncWatchedXAI": "agentwatch.sdk.xai",
    "INGEST_URL": "agentwatch.sdk.terms",
    "Session": "agentwatch.sdk.session",
    "WatchedAnthropic": "agentwatch.sdk.anthropic",
    "WatchedGemini": "agentwatch.sdk.gemini",
    "WatchedGroq": "agentwatch.sdk.groq",
    "WatchedOpenAI": "agentwatch.sdk.openai",
    "WatchedXAI": "agentwatch.sdk.xai",
    "analyze_text": "agentwatch.sdk.analysis",
    "session": "agentwatch.sdk.session",
    "wrap": "agentwatch.sdk.wrapping",
}
#: what the watched clients are made of, by what their names end with
_SDKS = {
    "OpenAI": "openai",
    "XAI": "openai",
    "Anthropic": "anthropic",
    "Groq": "groq",
    "Gemini": "google-genai",
}
#: module constants that programs written for aw-sdk may name
_CONSTANTS = frozenset(
    {
        *("TAG_ORDER", "MAX_SCAN_CHARS", "EDGE_SCAN_CHARS", "MAX_STRUCTURED_CANDIDATES"),
        *("HIGH_ENTROPY_MIN_SCORE", "JWT_SIGNATURE_MIN_ENTROPY", "MAX_PENDING_LOGS"),
    }
)


def __getattr__(name: str) -> object:
    place = _PLACES.get(name) or ("agentwatch.sdk.analysis" if name in _CONSTANTS else None)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    try:
        found = getattr(importlib.import_module(place), name)
    except ModuleNotFoundError as error:
        missing = next((sdk for kind, sdk in _SDKS.items() if name.endswith(kind)), None)
        if missing is None or (error.name or "").startswith("agentwatch"):
            raise
        message = f"{name} is the provider's own client, governed: pip install {missing}"
        raise ModuleNotFoundError(message, name=error.name) from error
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
