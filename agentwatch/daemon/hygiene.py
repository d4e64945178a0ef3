"""What a process that holds keys does first: take them out of sight, and keep others out.

A variable that is only deleted from `os.environ` can still be read by every process of the same
user in /proc/PID/environ, which shows the block that the kernel was given at exec: the bytes
themselves are overwritten here.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence

#: the variables that a key is taken from, first one wins
KEY_VARIABLES = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "groq": ("GROQ_API_KEY",),
    "xai": ("XAI_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "agentwatch": ("AGENTWATCH_API_KEY",),
}

#: secrets that the daemon has no use for, and so must not keep lying about
UNUSED_SECRETS = (
    "ANTHROPIC_AUTH_TOKEN",
    "OPENAI_ADMIN_KEY",
    "ANTHROPIC_ADMIN_KEY",
    "CODEX_API_KEY",
    "XAI_MANAGEMENT_API_KEY",
    "AGENTWATCH_SESSION_TOKEN",
)

#: longer values are no keys, and would not fit through the pipe to the serving process
VALUE_MAX_CHARS = 4096

_PR_SET_DUMPABLE = 4


def take_keys_from_environment(
    known: Mapping[str, Sequence[str]] = KEY_VARIABLES,
) -> dict[str, str]:
    """The keys in this process's environment, which no longer has them: {"openai": "…", …}.

    Only what has a value. Must run before any other thread is started.
    """
    keys: dict[str, str] = {}
    for name, variables in known.items():
        for variable in variables:
            value = os.environ.get(variable)
            if value and len(value) <= VALUE_MAX_CHARS and name not in keys:
                keys[name] = value
    forget_variables(variable for variables in known.values() for variable in variables)
    forget_variables(UNUSED_SECRETS)
    return keys


def forget_variables(names: Iterable[str]) -> None:
    """Remove variables, and overwrite their values where they lay in memory."""
    for name in names:
        _overwrite(os.fsencode(name))
        os.environ.pop(name, None)
        os.unsetenv(name)


def _overwrite(name: bytes) -> None:
    """Zero the value of each entry of this name (there may be two) in the C environment.

    What os.environ changed since the start lies elsewhere by then, so this runs before that.
    """
    if sys.platform != "linux":
        return
    block = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
    index = 0
    while block and (address := block[index]):
        entry = ctypes.string_at(address)
        if entry.startswith(name + b"="):
            ctypes.memset(address + len(name) + 1, 0, len(entry) - len(name) - 1)
        index += 1


def not_dumpable() -> None:
    """No core file, and no other process of this user may read our memory (Linux)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE) failed")


def raise_file_limit() -> int:
    """As many open files as the hard limit allows; the new soft limit is returned."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 1_048_576)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return soft


def notify_systemd(state: str) -> bool:
    """Tell systemd, if it started us (Type=notify): "READY=1", "STOPPING=1" …; whether it was
    told. Never raises: a manager that is gone is no reason to stop serving."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
    ):
        sender.sendto(state.encode(), address)
        return True
    return False
