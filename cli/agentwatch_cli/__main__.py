"""`python -m agentwatch_cli`: the same as the program `agentwatch`, for where it is not on PATH."""

from agentwatch_cli.main import main

main()
