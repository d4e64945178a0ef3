"""xAI, by OpenAI's client at xAI's address: its own SDK speaks gRPC, which the daemon does not."""

from __future__ import annotations

import os
from typing import Any

import openai

from agentwatch.sdk.watching import Watched, set_no_key
from agentwatch.upstreams import PUBLIC_UPSTREAMS


class _WatchedXAI(Watched):
    _agentwatch_provider = "xai"

    @staticmethod
    def _agentwatch_credential(arguments: dict[str, Any]) -> None:
        environ = os.environ
        if arguments.get("base_url") is None:
            arguments["base_url"] = environ.get("XAI_API_BASE") or PUBLIC_UPSTREAMS["xai"]
        if arguments.get("api_key") is None and environ.get("XAI_API_KEY"):
            arguments["api_key"] = environ["XAI_API_KEY"]
        # a key of OpenAI's in the environment is no business of xAI's
        set_no_key(arguments, lambda: False)


class WatchedXAI(_WatchedXAI, openai.OpenAI):
    """`openai.OpenAI` at xAI, every call of which is held to a ceiling: see WatchedOpenAI."""


class AsyncWatchedXAI(_WatchedXAI, openai.AsyncOpenAI):
    """`openai.AsyncOpenAI` at xAI, watched: see WatchedOpenAI."""
