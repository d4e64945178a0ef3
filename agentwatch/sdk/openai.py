"""OpenAI's clients, watched."""

from __future__ import annotations

import os
from typing import Any

import openai

from agentwatch.sdk.watching import Watched, set_no_key


def _has_key() -> bool:
    return any(os.environ.get(name) for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY"))


def spare_key(arguments: dict[str, Any]) -> None:
    """Put a placeholder where a constructor's arguments bring no credential."""
    others = ("admin_api_key", "workload_identity", "provider")
    if not any(arguments.get(name) for name in others):
        set_no_key(arguments, _has_key)


class _WatchedOpenAI(Watched):
    _agentwatch_provider = "openai"
    _agentwatch_credential = staticmethod(spare_key)


class WatchedOpenAI(_WatchedOpenAI, openai.OpenAI):
    """`openai.OpenAI`, every call of which is held to a ceiling.

    Takes all that its parent takes, and `agentwatch_api_key`, `agentwatch_project`,
    `agentwatch_team`, `agentwatch_session_id`, `agentwatch_session_budget_usd`,
    `agentwatch_monthly_budget_usd`, `agentwatch_enforcement_mode`,
    `agentwatch_enforcement_fail_open`, `ingest_url`, `timeout_seconds`: none is required beside a
    running daemon. Calls raise AgentBudgetExceeded, AgentSessionKilled and
    AgentBudgetCheckUnavailable beside OpenAI's own errors.
    """


class AsyncWatchedOpenAI(_WatchedOpenAI, openai.AsyncOpenAI):
    """`openai.AsyncOpenAI`, watched: see WatchedOpenAI."""
