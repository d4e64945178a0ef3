"""What calls cost that went out while the daemon was away: a folder of files, one a call.

A file is written before the call is sent, with the most that it may cost, and again at its end with
what it used; each time whole, under another name first. So a script that is killed in between
leaves a charge and not a hole. The daemon takes them in when it is back, each exactly once, as the
id in the file is the call's id in the ledger for good. Prompts and answers are not in it, nor is a
credential that an address has in it.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agentwatch.errors import SettingsError
from agentwatch.paths import find_paths, private_folder, write_private
from agentwatch.sdk.terms import Terms

if TYPE_CHECKING:
    from agentwatch.sdk.session import Session

logger = logging.getLogger("agentwatch")

VERSION = 1


class Spool:
    """The folder of one home."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of(cls, terms: Terms) -> Spool:
        """The spool beside the ledger that these terms are charged to."""
        return cls(find_paths(os.environ).spool)

    def begin(self, session: Session, ask: Mapping[str, Any], base: str = "") -> Entry:
        """A call is about to be sent: `ask` is what was read of it, `base` the client's base URL
        where that is not its provider's public one."""
        record = {
            "version": VERSION,
            "id": f"f{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}",
            "at": time.time(),
            "pid": os.getpid(),
            "session_id": session.id,
            "terms": session.account,
            "ask": dict(ask),
            "base": _plain(base),
        }
        entry = Entry(self._folder, record)
        entry.write()
        return entry

    def held_elsewhere(
        self, session: Session, wanted: Mapping[str, Any], seen: Mapping[str, Any]
    ) -> None:
        """A call that the caller made itself is over, and this was seen of it."""
        entry = self.begin(session, {"wanted": dict(wanted)})
        entry.end(seen)


class Entry:
    """One call's file."""

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self._path = folder / f"{record['id']}.json"
        self._record = record
        self._began = time.monotonic()

    def end(self, seen: Mapping[str, Any]) -> None:
        """The call is over, and this was seen of it."""
        self._record |= {"seen": dict(seen), "seconds": time.monotonic() - self._began}
        self.write()

    def drop(self) -> None:
        """Nothing was billed for certain."""
        self._path.unlink(missing_ok=True)

    def write(self) -> None:
        """Whole, or not at all. A disk that takes nothing is told, and the call goes all the same:
        the caller asked for that."""
        try:
            private_folder(self._path.parent.parent)
            private_folder(self._path.parent)
            write_private(self._path, json.dumps(self._record).encode())
        except (OSError, SettingsError) as error:
            logger.error("what an ungoverned call costs can't be kept: %s", error)


def _plain(base: str) -> str:
    """An address without what may be secret in it."""
    parts = urlsplit(base)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
