"""One file a command or noun."""
