"""The keys that the daemon goes by: what it was handed, systemd credentials, the key file.

First match wins, per provider: handed over by the supervisor (it took them out of its
environment), then `$CREDENTIALS_DIRECTORY/<provider>`, then the key file. The file is read again
when it changed; what can't be read leaves the last good keys in force, and is logged.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from agentwatch.errors import AgentWatchError, UsageError
from agentwatch.keyfile import KeyFile, KeyRing, check_provider_key, digest
from agentwatch.upstreams import PROVIDERS

logger = logging.getLogger(__name__)

#: how often the file is looked at, at most
RECHECK_S = 1.0

#: the name under which AGENTWATCH_API_KEY is known
ENVIRONMENT_KEY = "environment"

#: what is sent to a provider that asks for no key
NO_KEY = "none"

_CREDENTIAL_MAX_BYTES = 16_384


class Keys:
    """Looks up provider keys and knows AgentWatch keys.

    `handed` is {"openai": …, "agentwatch": …}; `clock` tells seconds of any epoch. `names` are the
    providers, `keyless` those of them that ask for no key. Looking up
    costs one stat a second at most; where `refresh` is called at least that often (in a thread),
    looking up never touches the disk.
    """

    def __init__(
        self,
        key_file: Path,
        handed: Mapping[str, str] | None = None,
        credentials_dir: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        names: Sequence[str] = PROVIDERS,
        keyless: Collection[str] = (),
    ) -> None:
        self._names = names
        self._keyless = keyless
        self._file = KeyFile(key_file)
        self._clock = clock
        self._handed = _usable(handed or {}, "environment")
        self._credentials = _usable(
            _read_credentials(credentials_dir, names), "systemd credentials"
        )
        self._ring = KeyRing()
        self._seen: tuple[int, ...] | None = None
        self._checked_at: float | None = None
        self.refresh()

    def __repr__(self) -> str:
        return f"Keys(providers={self.providers()})"

    def provider(self, name: str) -> str | None:
        """This provider's key; None where nobody gave one."""
        self._refresh_if_due()
        for source in (self._handed, self._credentials):
            if name in source:
                return source[name]
        kept = self._ring.providers.get(name)
        if kept is None and name in self._keyless:
            return NO_KEY
        return kept.value if kept else None

    def providers(self) -> list[str]:
        """The providers that there is a key for."""
        return [name for name in self._names if self.provider(name) is not None]

    def agentwatch_key(self, presented: str) -> str | None:
        """The name of the AgentWatch key that was presented; None: it is none of ours.

        Takes the same time for every answer.
        """
        self._refresh_if_due()
        shown = digest(presented).encode()
        found: str | None = None
        for name, known in self._digests():
            if hmac.compare_digest(shown, known.encode("ascii", "replace")):
                found = name
        return found

    def refresh(self) -> bool:
        """Read the file again if it changed; True if it did. Touches the disk."""
        self._checked_at = self._clock()
        seen = self._stat()
        if seen == self._seen:
            return False
        # taken before the file is read: a change in between is seen the next time
        self._seen = seen
        try:
            self._ring = self._file.read()
        except AgentWatchError as error:
            logger.error("the key file is not usable, the last good keys stay: %s", error)
            return False
        return True

    def values(self) -> list[str]:
        """Every secret that is known here, to be kept out of the log."""
        known = [*self._handed.values(), *self._credentials.values()]
        return known + [key.value for key in self._ring.providers.values()]

    def _refresh_if_due(self) -> None:
        if self._checked_at is None or self._clock() - self._checked_at >= RECHECK_S:
            self.refresh()

    def _stat(self) -> tuple[int, ...] | None:
        try:
            found = self._file.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _digests(self) -> list[tuple[str, str]]:
        known = [(name, key.sha256) for name, key in self._ring.agentwatch.items()]
        sources = (self._credentials, self._handed)
        given = [source["agentwatch"] for source in sources if "agentwatch" in source]
        return known + [(ENVIRONMENT_KEY, digest(key)) for key in given]


def _usable(found: Mapping[str, str], where: str) -> dict[str, str]:
    """Without what can be no key: a session's token in a provider's variable (a daemon that was
    started inside a wrapped session), an empty variable, a file that is not text."""
    usable = {}
    for name, value in found.items():
        try:
            usable[name] = _checked(name, value)
        except UsageError as error:
            logger.warning("the key of %s in the %s is not used: %s", name, where, error)
    return usable


def _checked(name: str, value: str) -> str:
    if name != "agentwatch":
        return check_provider_key(value)
    value = value.strip()
    if not 16 <= len(value) <= 4096 or not value.isascii() or not value.isprintable():
        raise UsageError("it must be 16 to 4096 plain characters, as nobody may guess it")
    return value


def _read_credentials(folder: Path | None, names: Sequence[str]) -> dict[str, str]:
    if folder is None:
        return {}
    found = {}
    for name in (*names, "agentwatch"):
        try:
            with (folder / name).open("rb") as file:
                found[name] = file.read(_CREDENTIAL_MAX_BYTES).decode("ascii", "replace")
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.warning("the systemd credential %s can't be read: %s", name, error.strerror)
    return found
