"""The Python SDK's clients."""
