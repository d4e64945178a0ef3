"""Has the configuration looked at before the process that serves makes way for another.

What is asked is a process in the daemon's own environment: the variables that the daemon was
started with count as much as the files, and whoever asks for a restart may have others.
"""

from __future__ import annotations

import asyncio
import sys

from agentwatch.errors import Refusal

_COMMAND = (sys.executable, "-P", "-m", "agentwatch.daemon", "--check")
#: it takes a second, or some on a busy machine
LIMIT_S = 30.0
_FOR_PEOPLE = "agentwatch: "


async def check_configuration() -> None:
    """Raises Refusal (configuration_wrong), in the words of a start that would end of it."""
    process = await asyncio.create_subprocess_exec(
        *_COMMAND,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await asyncio.wait_for(process.communicate(), LIMIT_S)
    except TimeoutError:
        process.kill()
        said = b"the configuration could not be looked at in time"
        await process.wait()
    if process.returncode != 0:
        why = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise Refusal(
            "configuration_wrong",
            f"in the daemon's own environment: {why.removeprefix(_FOR_PEOPLE)}. "
            "The daemon goes on by its old configuration",
            status=409,
        )
