"""The compiled catalogue on disk, so that a start need not import the price library.

A file is the SHA-256 of its body and the body. It is taken only where it is whole, ours, and made
of the same versions for the dates that it is asked for; else it is made again. It saves time and
nothing else: whatever goes wrong with it is no error.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from pathlib import Path

import msgspec

from agentwatch.core.price_book import Catalogue

_PREFIX = "prices-"


def read_cached(folder: Path, key: str, now: float) -> Catalogue | None:
    """The catalogue of this key, where a good one is there that holds at `now`; else None."""
    try:
        body = _body(_file(folder, key))
        catalogue = msgspec.json.decode(body, type=Catalogue) if body is not None else None
    except (OSError, ValueError, RecursionError):
        return None
    if catalogue is None or now < catalogue.from_at:
        return None
    return None if catalogue.stale_at is not None and now >= catalogue.stale_at else catalogue


def write_cached(folder: Path, key: str, catalogue: Catalogue) -> None:
    """Put the catalogue in place of all that were there; a folder that can't be written is left."""
    body = msgspec.json.encode(catalogue)
    target = _file(folder, key)
    with contextlib.suppress(OSError):
        # the home above it too, where this is what makes it: mkdir(parents) would leave it open
        for each in (folder.parent, folder):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(target, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        for other in folder.glob(f"{_PREFIX}*.json"):
            if other != target:
                other.unlink(missing_ok=True)


def _file(folder: Path, key: str) -> Path:
    return folder / f"{_PREFIX}{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def _body(file: Path) -> bytes | None:
    """The body of a file that is whole and that nobody else could have written."""
    with file.open("rb") as opened:
        status = os.fstat(opened.fileno())
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
            return None
        digest, _, body = opened.read().partition(b"\n")
    return body if hashlib.sha256(body).hexdigest().encode() == digest else None


def _replace(target: Path, content: bytes) -> None:
    # mkstemp makes the file 0600
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".prices-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
        temporary.replace(target)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
