"""The wires that a provider of the user's own may speak, by what the configuration calls them."""

from __future__ import annotations

from collections.abc import Callable

from agentwatch.wire.compatible import Compatible
from agentwatch.wire.dialect import Dialect
from agentwatch.wire.mistral import Mistral

WIRES: dict[str, Callable[[str], Dialect]] = {"openai": Compatible, "mistral": Mistral}
