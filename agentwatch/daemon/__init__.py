"""The process that stands between agent and provider."""
