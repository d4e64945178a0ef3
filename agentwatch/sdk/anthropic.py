"""Anthropic's clients, watched."""

from __future__ import annotations

import os
from typing import Any

import anthropic

from agentwatch.sdk.watching import Watched, set_no_key


def _has_key() -> bool:
    return any(os.environ.get(name) for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"))


def spare_key(arguments: dict[str, Any]) -> None:
    """Put a placeholder where a constructor's arguments bring no credential."""
    if not any(arguments.get(name) for name in ("auth_token", "credentials", "profile")):
        set_no_key(arguments, _has_key)


class _WatchedAnthropic(Watched):
    _agentwatch_provider = "anthropic"
    _agentwatch_credential = staticmethod(spare_key)


class WatchedAnthropic(_WatchedAnthropic, anthropic.Anthropic):
    """`anthropic.Anthropic`, every call of which is held to a ceiling: see WatchedOpenAI."""


class AsyncWatchedAnthropic(_WatchedAnthropic, anthropic.AsyncAnthropic):
    """`anthropic.AsyncAnthropic`, watched: see WatchedOpenAI."""
