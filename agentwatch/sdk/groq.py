"""Groq's clients, watched."""

from __future__ import annotations

import os
from typing import Any

import groq

from agentwatch.sdk.watching import Watched, set_no_key


def spare_key(arguments: dict[str, Any]) -> None:
    """Put a placeholder where a constructor's arguments bring no credential."""
    set_no_key(arguments, lambda: bool(os.environ.get("GROQ_API_KEY")))


class _WatchedGroq(Watched):
    _agentwatch_provider = "groq"
    _agentwatch_credential = staticmethod(spare_key)


class WatchedGroq(_WatchedGroq, groq.Groq):
    """`groq.Groq`, every call of which is held to a ceiling: see WatchedOpenAI."""


class AsyncWatchedGroq(_WatchedGroq, groq.AsyncGroq):
    """`groq.AsyncGroq`, watched: see WatchedOpenAI."""
