"""A provider of our own for tests and the demo: real wire, own bill, misbehaves when told to."""
