"""The providers' wires, pure: bytes in, numbers out. One provider is one file."""
