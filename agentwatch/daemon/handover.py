"""What the supervisor hands to each process that serves: the keys, and the files of the
configuration as they were when the daemon was started.

A process that serves is started again whenever it dies, and an agent of the same user can see to
that. Were the files read anew each time, an agent could edit a price to zero, or the address that
the key is sent to, and make it so. `agentwatch restart` and `down` with `up` take changes in.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

#: the most that a pipe of an unprivileged process can hold (Linux, pipe-max-size)
PIPE_BYTES = 1 << 20


class Handover(Struct, frozen=True):
    """`keys` by provider, `files` by path; a file that is not in it was not there. `read_at`: when
    the files were read, in seconds since 1970."""

    keys: Mapping[str, str]
    files: Mapping[str, bytes] = {}
    read_at: float = 0.0

    def __repr__(self) -> str:
        return f"Handover(keys of {sorted(self.keys)}, files {sorted(self.files)})"

    def read(self, path: Path) -> bytes:
        """A file's content as it was handed over. Raises FileNotFoundError."""
        try:
            return self.files[str(path)]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "not there at the start", str(path)) from None

    def to_pipe(self) -> int:
        """The end of a pipe from which this can be read once: never argv, never a variable."""
        reader, writer = os.pipe()
        try:
            content = msgspec.json.encode(self)
            if hasattr(fcntl, "F_SETPIPE_SZ") and len(content) > 60_000:
                fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            os.set_blocking(writer, False)
            if os.write(writer, content) != len(content):
                raise OSError(errno.E2BIG, "the configuration does not fit into a pipe")
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        return reader

    @classmethod
    def from_pipe(cls, descriptor: int) -> Handover:
        """What was written by `to_pipe`; the descriptor is closed."""
        with os.fdopen(descriptor, "rb") as pipe:
            return msgspec.json.decode(pipe.read() or b'{"keys":{}}', type=cls)
