"""AgentWatch: the spending limit that holds. The public SDK, imported lazily."""

__version__ = "0.1.0"
