"""`python -m agentwatch.standin`: the stand-in as a process of its own.

Prints one line of JSON with its port once it listens, and serves until SIGTERM or SIGINT (with
`--until-eof`, until whoever started it is gone). To a person it says on stderr what to export,
in the shell that the daemon is started from, to try an agent without a key.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import signal
import sys
import time
from pathlib import Path

from agentwatch.standin.bill import Bill
from agentwatch.standin.script import ScriptError, build, fields
from agentwatch.standin.server import Options, Standin, listen

#: those that AgentWatch knows without configuration
PROVIDERS = ("openai", "anthropic", "groq", "xai", "gemini")


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m agentwatch.standin", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--key", default="standin-key", help="the one key that it takes")
    parser.add_argument("--canary", action="append", default=[], help="text that must not get here")
    parser.add_argument("--tokens", type=int, default=32, help="tokens of an unscripted answer")
    parser.add_argument("--script", default="", help='default behaviour: "tokens=8 delay=0.01"')
    parser.add_argument("--bill", type=Path, help="file that each ended request is written to")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input does")
    parser.add_argument("--keep", type=int, default=100_000, help="requests kept in detail")
    return parser.parse_args(argv)


def exports(base_url: str, key: str) -> list[str]:
    """Lines for a shell whose daemon is to take this stand-in for each provider."""
    lines = []
    for name in PROVIDERS:
        tail = "v1" if name == "openai" else name
        upstream = f"AGENTWATCH_{name.upper()}_UPSTREAM={base_url}/{tail}"
        lines.append(f"export {upstream} {name.upper()}_API_KEY={shlex.quote(key)}")
    return lines


async def _serve(arguments: argparse.Namespace, default: dict[str, str]) -> None:
    bill = Bill(keep=arguments.keep, path=arguments.bill)
    options = Options(
        key=arguments.key,
        canaries=arguments.canary,
        tokens=arguments.tokens,
        default=default,
    )
    runner, port = await listen(Standin(options, bill), arguments.host, arguments.port)
    over, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    if arguments.until_eof:
        loop.add_reader(sys.stdin.fileno(), over.set)
    base_url = f"http://{arguments.host}:{port}"
    sys.stdout.write(json.dumps({"port": port, "url": base_url}) + "\n")
    sys.stdout.flush()
    if not arguments.until_eof:
        sys.stderr.write("".join(f"{line}\n" for line in exports(base_url, arguments.key)))
    await over.wait()
    bill.close(time.time())
    await runner.cleanup()


def main(argv: list[str] | None = None) -> int:
    """Run until told to stop. Returns 2 for a script that can't be read."""
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    try:
        default = fields(arguments.script)
        build(default)
    except ScriptError as error:
        sys.stderr.write(f"--script: {error}\n")
        return 2
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve(arguments, default))
    else:
        uvloop.run(_serve(arguments, default))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
